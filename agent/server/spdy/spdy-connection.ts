// The client's side of a SPDY/3.1 connection to a runtime's streaming server: streams opened, data both ways.
// Flow control is the connection's own: those servers know no windows.
import type { Duplex } from 'node:stream';
import { createFrameReader, createHeaderWriter, dataFrames, pingFrame, synStreamFrame } from './spdy-frames.ts';

export interface SpdyStream {
  /** False when the connection is full: write again after `drained`. */
  write(data: Buffer): boolean;
  /** Nothing more will be written. */
  end(): void;
  /** Resolves when the server has ended or reset its side, or the connection is closed. */
  readonly ended: Promise<void>;
}

export interface SpdyConnection {
  /** Opens a stream; what the server sends in it goes to `received`. */
  openStream(headers: Readonly<Record<string, string>>, received: (data: Buffer) => void): SpdyStream;
  /** Resolves when the connection is closed, by either side. */
  readonly closed: Promise<void>;
  /** Calls back whenever what was written has gone out. */
  onDrain(callback: () => void): void;
  /** Stops and restarts reading from the server. */
  pause(): void;
  resume(): void;
  destroy(): void;
}

/** Takes over an upgraded connection; `head` is what came with the upgrade's answer. */
export function createSpdyConnection(socket: Duplex, head: Buffer): SpdyConnection {
  const readFrames = createFrameReader();
  const headerBlock = createHeaderWriter();
  const closed = Promise.withResolvers<void>();
  const streams = new Map<number, { received(data: Buffer): void; ended(): void }>();
  let nextId = 1;

  const finish = (streamId: number): void => {
    streams.get(streamId)?.ended();
    streams.delete(streamId);
  };
  const receive = (chunk: Buffer): void => {
    for (const frame of readFrames(chunk)) {
      switch (frame.type) {
        case 'data':
          if (frame.data.length > 0) streams.get(frame.streamId)?.received(frame.data);
          if (frame.fin) finish(frame.streamId);
          break;
        case 'reply':
          if (frame.fin) finish(frame.streamId);
          break;
        case 'reset':
          finish(frame.streamId);
          break;
        case 'ping':
          // The server's own have even numbers, and want an answer.
          if (frame.id % 2 === 0) socket.write(pingFrame(frame.id));
          break;
        case 'goAway':
        case 'other':
          break;
        default:
          frame satisfies never;
      }
    }
  };
  const read = (chunk: Buffer): void => {
    try {
      receive(chunk);
    } catch (error) {
      socket.destroy(error as Error);
    }
  };
  socket.on('data', read);
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.destroy());
  socket.on('close', () => {
    for (const streamId of [...streams.keys()]) finish(streamId);
    closed.resolve();
  });
  if (head.length > 0) read(head);

  return {
    openStream(headers, received) {
      const streamId = nextId;
      nextId += 2;
      const ended = Promise.withResolvers<void>();
      streams.set(streamId, { received, ended: ended.resolve });
      socket.write(synStreamFrame(streamId, headerBlock(headers)));
      let open = true;
      const send = (data: Buffer, fin: boolean): boolean => {
        if (!open || socket.destroyed || (data.length === 0 && !fin)) return true;
        if (fin) open = false;
        return (
          dataFrames(streamId, data, fin)
            .map((part) => socket.write(part))
            .at(-1) ?? true
        );
      };
      return {
        write: (data) => send(data, false),
        end: () => void send(Buffer.alloc(0), true),
        ended: ended.promise,
      };
    },
    closed: closed.promise,
    onDrain: (callback) => void socket.on('drain', callback),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    destroy: () => void socket.destroy(),
  };
}
