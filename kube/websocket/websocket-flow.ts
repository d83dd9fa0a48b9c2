// Sends to a WebSocket without letting what it cannot take pile up: the source is paused meanwhile.
import type { WebSocket } from 'ws';

/** What the messages come from. */
export interface FlowSource {
  pause(): void;
  resume(): void;
}

const highWaterBytes = 1024 * 1024;

/** Messages to a connection that is closing are dropped. */
export function createFlow(websocket: WebSocket, source: FlowSource): (message: Buffer | string) => void {
  let paused = false;
  return (message) => {
    if (websocket.readyState !== websocket.OPEN) return;
    websocket.send(message, { binary: typeof message !== 'string' }, () => {
      if (!paused || websocket.bufferedAmount > highWaterBytes / 2) return;
      paused = false;
      source.resume();
    });
    if (paused || websocket.bufferedAmount <= highWaterBytes) return;
    paused = true;
    source.pause();
  };
}

/** The bytes of a message, in whatever form it came. */
export function bytesOf(message: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Buffer.isBuffer(message)) return message;
  return Array.isArray(message) ? Buffer.concat(message) : Buffer.from(message);
}
