// Where the events of a watch go: an answer that goes on, or the messages of a WebSocket.
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { acceptWebSocket, HandshakeError, offeredProtocols } from '#kube/websocket/accept-websocket.ts';
import { badRequest } from '../../registry/status-errors.ts';
import { addRequestHeaders, type Exchange, warningHeaders } from '../http/exchange.ts';
import { protobufMediaType } from '../http/negotiate.ts';

export interface WatchSink {
  /** Begins the stream: from here on, failures travel in it. `farewell` is the last event for a client that is cut off. */
  begin(contentType: string, farewell: Buffer): Promise<void> | void;
  /** Whole events. A client that reads far slower than the cluster changes is cut off, and is told so at the end. */
  write(frames: Buffer): void;
  /** Resolves when the client has read most of what was written, or has left. */
  drained(): Promise<void>;
  end(): void;
  /** No event is taken any more. */
  readonly isClosed: boolean;
  onClose(listener: () => void): void;
}

/** A client that is so far behind is cut off, and goes on from what it has read. */
const maxBufferedBytes = 16 * 1024 * 1024;
/** So long it may take to read what is left for it. */
const farewellMs = 30_000;

/** More than this is not added to what a client has yet to read, where it can wait. */
const enoughWaitingBytes = 1024 * 1024;
/** WebSockets do not tell when they have drained. */
const drainPollMs = 10;

function untilEither(emitter: ServerResponse, ...events: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of events) emitter.off(event, done);
      resolve();
    };
    for (const event of events) emitter.on(event, done);
  });
}

/** Events in the body of the answer. */
export function createResponseSink(exchange: Exchange): WatchSink {
  const { response, warnings } = exchange;
  const closed = Promise.withResolvers<void>();
  let isClosed = response.destroyed;
  let last: Buffer = Buffer.alloc(0);
  const close = () => {
    isClosed = true;
    closed.resolve();
  };
  if (isClosed) close();
  response.on('close', close);
  const cut = () => {
    close();
    response.end(last);
    const timer = setTimeout(() => response.destroy(), farewellMs);
    response.once('close', () => clearTimeout(timer));
  };
  return {
    begin: (contentType, farewell) => {
      last = farewell;
      const headers: OutgoingHttpHeaders = {
        'Content-Type': contentType,
        'Cache-Control': 'no-cache, private',
        ...(warnings.length > 0 ? { Warning: warningHeaders(warnings) } : {}),
      };
      addRequestHeaders(exchange, headers);
      response.writeHead(200, headers);
      response.flushHeaders();
    },
    write: (frames) => {
      if (isClosed || response.writableEnded) return;
      response.write(frames);
      if (response.writableLength > maxBufferedBytes) cut();
    },
    drained: async () => {
      if (isClosed || response.writableLength < enoughWaitingBytes) return;
      await untilEither(response, 'drain', 'close');
    },
    end: () => {
      if (!isClosed) response.end();
    },
    get isClosed() {
      return isClosed;
    },
    onClose: (listener) => void closed.promise.then(listener),
  };
}

/** The events in some frames: lines of JSON, or protobuf after its length. */
function* eventsOf(frames: Buffer, isBinary: boolean): Generator<Buffer> {
  let at = 0;
  while (at < frames.length) {
    const start = isBinary ? at + 4 : at;
    const end = isBinary ? start + frames.readUInt32BE(at) : frames.indexOf(0x0a, at) + 1 || frames.length;
    yield frames.subarray(start, end);
    at = end;
  }
}

const bearerProtocol = /^base64url\.bearer\./;

/** Events as messages: text for JSON, binary for protobuf (k8s.io/apiserver: endpoints/handlers/watch.go). */
export function createWebSocketSink({ request }: Exchange, socket: Duplex, head: Buffer): WatchSink {
  let isBinary = false;
  let isClosed = false;
  let websocket: Awaited<ReturnType<typeof acceptWebSocket>> | undefined;
  let last: Buffer = Buffer.alloc(0);
  const closed = Promise.withResolvers<void>();
  const cut = (from: NonNullable<typeof websocket>) => {
    isClosed = true;
    closed.resolve();
    from.send(last, { binary: isBinary });
    from.close(1000);
    const timer = setTimeout(() => from.terminate(), farewellMs);
    from.once('close', () => clearTimeout(timer));
  };
  return {
    begin: async (contentType, farewell) => {
      isBinary = contentType.startsWith(protobufMediaType);
      [last = last] = eventsOf(farewell, isBinary);
      const protocol = offeredProtocols(request).find((name) => !bearerProtocol.test(name)) ?? '';
      websocket = await acceptWebSocket(request, socket, head, protocol).catch((error: unknown) => {
        throw error instanceof HandshakeError ? badRequest(error.message) : error;
      });
      websocket.on('error', () => websocket?.terminate());
      websocket.on('close', () => {
        isClosed = true;
        closed.resolve();
      });
    },
    write: (frames) => {
      if (isClosed || websocket === undefined) return;
      for (const event of eventsOf(frames, isBinary)) websocket.send(event, { binary: isBinary });
      if (websocket.bufferedAmount > maxBufferedBytes) cut(websocket);
    },
    drained: async () => {
      while (!isClosed && (websocket?.bufferedAmount ?? 0) >= enoughWaitingBytes) await sleep(drainPollMs);
    },
    end: () => websocket?.close(1000),
    get isClosed() {
      return isClosed;
    },
    onClose: (listener) => void closed.promise.then(listener),
  };
}
