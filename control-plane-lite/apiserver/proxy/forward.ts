// Passing a request on to another server and its answer back, upgrades included. Bytes are copied, not understood:
// SPDY and WebSocket alike go through, with the subprotocols that client and backend agree on.
import { type IncomingMessage, type OutgoingHttpHeaders, request as requestHttp, type ServerResponse } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import { type ProxiedPlace, pageRewriting, rewriteHeaders } from './rewrite-answer.ts';

/** Where to send a request, and what to prove there who is asking. */
export interface ProxyTarget {
  url: URL;
  tls?: {
    certPem: string;
    keyPem: string;
    caPem: string | undefined;
    /** The name that the backend's certificate is for; absent: the URL's. */
    serverName?: string;
  };
  /** Added to the request. */
  headers?: OutgoingHttpHeaders;
  method?: string;
}

const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

// What a client says to the API server is not the backend's business.
const withheld = new Set(['authorization', 'host', 'expect']);

const isWithheld = (name: string): boolean =>
  hopByHop.has(name) || withheld.has(name) || name.startsWith('impersonate-') || name.startsWith('x-remote-');

function forwardedHeaders(request: IncomingMessage, target: ProxyTarget, isUpgrade: boolean): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (!isWithheld(name) && value !== undefined) headers[name] = value;
  }
  const protocols = request.headers['sec-websocket-protocol'];
  if (protocols !== undefined) {
    const kept = protocols.split(',').filter((each) => !each.trim().startsWith('base64url.bearer.'));
    headers['sec-websocket-protocol'] = kept.join(',');
  }
  if (isUpgrade) {
    headers['connection'] = 'Upgrade';
    headers['upgrade'] = request.headers.upgrade;
  }
  return { ...headers, ...target.headers };
}

/** The answer when the backend cannot be reached. */
export function unreachable(target: ProxyTarget, error: Error): StatusError {
  return failure(503, 'ServiceUnavailable', `error trying to reach service: ${error.message} (${target.url.host})`);
}

function open(request: IncomingMessage, target: ProxyTarget, isUpgrade: boolean, signal: AbortSignal) {
  const { url, tls } = target;
  const options = {
    method: target.method ?? request.method ?? 'GET',
    headers: forwardedHeaders(request, target, isUpgrade),
    signal,
    agent: false,
  } as const;
  if (url.protocol === 'http:') return requestHttp(url, options);
  return requestHttps(url, {
    ...options,
    ...(tls === undefined
      ? { rejectUnauthorized: false }
      : {
          cert: tls.certPem,
          key: tls.keyPem,
          rejectUnauthorized: tls.caPem !== undefined,
          ...(tls.caPem === undefined ? {} : { ca: tls.caPem }),
          ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
        }),
  });
}

/**
 * Sends the request and hands the backend's answer over as it arrives. Rejects with StatusError 503 when the
 * backend cannot be reached.
 */
export function requestBackend(
  request: IncomingMessage,
  target: ProxyTarget,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = open(request, target, false, signal);
    outgoing.once('response', resolve);
    outgoing.once('error', (error) => reject(unreachable(target, error)));
    request.pipe(outgoing);
  });
}

/** Copies a backend's answer to the client until either ends. With a place, its links lead through the proxy. */
export async function copyAnswer(
  answer: IncomingMessage,
  response: ServerResponse,
  place?: ProxiedPlace,
): Promise<void> {
  const hasBody = response.req.method !== 'HEAD';
  const steps = place === undefined || !hasBody ? undefined : pageRewriting(answer, place);
  const all = place === undefined ? answer.headers : rewriteHeaders(answer.headers, place);
  const headers = Object.entries(all).filter(
    ([name]) => !hopByHop.has(name) && !(steps !== undefined && name === 'content-length'),
  );
  response.writeHead(answer.statusCode ?? 502, Object.fromEntries(headers) as OutgoingHttpHeaders);
  response.flushHeaders();
  try {
    await pipeline([answer, ...(steps ?? []), response]);
  } catch {
    // One side went away in the middle of a stream: there is nobody left to tell.
    response.destroy();
  }
}

function rawHead(answer: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage ?? ''}`];
  for (let at = 0; at < answer.rawHeaders.length; at += 2) {
    lines.push(`${answer.rawHeaders[at]}: ${answer.rawHeaders[at + 1]}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** Joins two sockets until both are closed; when one breaks or closes, or the signal comes, so does the other. */
function join(client: Duplex, backend: Duplex, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      signal.removeEventListener('abort', end);
      client.destroy();
      backend.destroy();
      resolve();
    };
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
    for (const socket of [client, backend]) {
      socket.on('error', end);
      socket.on('close', end);
    }
    client.pipe(backend);
    backend.pipe(client);
  });
}

/**
 * Passes an upgrade on and joins the two connections. Resolves when they are closed, or with the answer of a
 * backend that does not upgrade. Rejects with StatusError 503 when the backend cannot be reached.
 */
export function forwardUpgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  target: ProxyTarget,
  signal: AbortSignal,
): Promise<IncomingMessage | undefined> {
  return new Promise((resolve, reject) => {
    const outgoing = open(request, target, true, signal);
    outgoing.once('response', resolve);
    outgoing.once('error', (error) => reject(unreachable(target, error)));
    outgoing.once('upgrade', (answer, backend, backendHead) => {
      socket.write(rawHead(answer));
      if (backendHead.length > 0) socket.write(backendHead);
      if (head.length > 0) backend.write(head);
      void join(socket, backend, signal).then(() => resolve(undefined));
    });
    socket.once('close', () => outgoing.destroy());
    outgoing.end();
  });
}
