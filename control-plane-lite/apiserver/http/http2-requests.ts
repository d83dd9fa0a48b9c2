// Requests over HTTP/2, shaped as the handlers know them from HTTP/1.1: no pseudo headers, and the connection itself as
// the socket, so that its client certificate is read once and not for every stream.
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';

/** As many as the reference lets one client have in flight on a connection. */
const maxConcurrentStreams = 250;
const initialWindowBytes = 256 * 1024;
/** Answers that wait for a slow client count here, long lists too. */
const maxSessionMemoryMb = 128;

const idleMs = 90_000;

export interface Http2Requests {
  /** Takes over a connection whose client chose HTTP/2. */
  take(socket: TLSSocket): void;
  /** Lets what is being answered finish, and takes nothing new. */
  drain(): void;
  /** Cuts every connection. */
  cut(): void;
  readonly size: number;
}

function withoutPseudo(request: Http2ServerRequest): IncomingMessage['headers'] {
  const headers: IncomingMessage['headers'] = {};
  for (const [name, value] of Object.entries(request.headers)) if (!name.startsWith(':')) headers[name] = value;
  headers.host ??= request.authority;
  return headers;
}

function shape(request: Http2ServerRequest, socket: TLSSocket): IncomingMessage {
  const headers = withoutPseudo(request);
  const given = request.rawHeaders;
  const rawHeaders = given.filter((_, index) => given[index - (index % 2)]?.startsWith(':') === false);
  Object.defineProperties(request, {
    headers: { value: headers },
    rawHeaders: { value: rawHeaders },
    socket: { value: socket },
  });
  // The compatibility layer of Node has the rest of the members that handlers use.
  return request as unknown as IncomingMessage;
}

function shapeResponse(response: Http2ServerResponse): ServerResponse {
  Object.defineProperty(response, 'destroyed', { get: () => response.stream?.destroyed !== false });
  return response as unknown as ServerResponse;
}

/** A connection on which nothing is asked for a while is closed, as one of HTTP/1.1 is. */
function closeWhenIdle(session: ServerHttp2Session): void {
  let streams = 0;
  session.on('stream', (stream) => {
    streams += 1;
    stream.once('close', () => {
      streams -= 1;
    });
  });
  session.setTimeout(idleMs, () => {
    if (streams === 0) session.close();
  });
}

/** `handle` never rejects. */
export function createHttp2Requests(
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
  maxHeaderBytes: number,
): Http2Requests {
  const sessions = new Map<ServerHttp2Session, TLSSocket>();
  let taking: TLSSocket | undefined;
  const server: Http2SecureServer = createSecureServer(
    {
      maxSessionMemory: maxSessionMemoryMb,
      settings: { maxConcurrentStreams, initialWindowSize: initialWindowBytes, maxHeaderListSize: maxHeaderBytes },
    },
    (request, response) => {
      const session = request.stream.session as ServerHttp2Session | undefined;
      const socket = session === undefined ? undefined : sessions.get(session);
      if (socket === undefined) {
        response.stream?.destroy();
        return;
      }
      void handle(shape(request, socket), shapeResponse(response));
    },
  );
  server.on('session', (session) => {
    if (taking !== undefined) sessions.set(session, taking);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => session.destroy());
    closeWhenIdle(session);
  });
  const open = () => [...sessions.keys()];
  return {
    take: (socket) => {
      taking = socket;
      server.emit('secureConnection', socket);
      taking = undefined;
    },
    drain: () => {
      for (const session of open()) session.close();
    },
    cut: () => {
      for (const session of open()) session.destroy();
    },
    get size() {
      return sessions.size;
    },
  };
}
