// port-forward over WebSocket: the client speaks SPDY/3.1 inside binary messages, the runtime speaks it on a plain
// connection. The bytes are passed on.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { acceptWebSocket } from '#kube/websocket/accept-websocket.ts';
import { bytesOf, createFlow } from '#kube/websocket/websocket-flow.ts';
import { upgradeToSpdy } from '../spdy/upgrade-to-spdy.ts';
import { createIdleTimer } from './idle-timer.ts';
import type { WebSocketStreamOptions } from './serve-remote-command.ts';

const tunnelPrefix = 'SPDY/3.1+';

/** The stream protocols that are offered inside of a tunnel; none: this is no tunnel. */
export function tunnelledProtocols(offered: readonly string[]): string[] {
  return offered.flatMap((name) => (name.startsWith(tunnelPrefix) ? [name.slice(tunnelPrefix.length)] : []));
}

/** Resolves when the handshake is done; rejects when the runtime refuses, before the client has got an answer. */
export async function servePortForwardTunnel(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  location: URL,
  protocols: readonly string[],
  options: WebSocketStreamOptions,
): Promise<void> {
  const runtime = await upgradeToSpdy(location, protocols);
  const { socket: spdy, protocol } = runtime;
  const giveUp = () => void spdy.destroy();
  socket.once('close', giveUp);
  if (socket.destroyed) return giveUp();
  const websocket = await acceptWebSocket(request, socket, head, `${tunnelPrefix}${protocol}`);
  const idle = createIdleTimer(options.clock, options.idleTimeoutMs, () => websocket.terminate());
  const send = createFlow(websocket, spdy);
  const receive = (data: Buffer): void => {
    idle.touch();
    if (data.length > 0) send(data);
  };
  receive(runtime.head);
  spdy.on('data', receive);
  spdy.on('error', giveUp);
  spdy.on('close', () => websocket.close(1000));
  spdy.on('drain', () => websocket.resume());
  websocket.on('message', (message) => {
    idle.touch();
    if (!spdy.write(bytesOf(message))) websocket.pause();
  });
  websocket.on('error', () => websocket.terminate());
  websocket.on('close', () => {
    idle.stop();
    giveUp();
  });
}
