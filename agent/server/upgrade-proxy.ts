// Passes an upgraded connection (SPDY/3.1 or WebSocket) through to the runtime's streaming server, byte by byte.

import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';

/** Headers that are about the connection's first hop or its caller's identity only. */
const dropped = new Set([
  'host',
  'authorization',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-uri',
]);
/** WebSocket subprotocols of port-forward that CRI streaming servers speak. */
const understood = new Set([
  'v4.channel.k8s.io',
  'v4.base64.channel.k8s.io',
  'channel.k8s.io',
  'base64.channel.k8s.io',
  'v3.channel.k8s.io',
  'v2.channel.k8s.io',
  'portforward.k8s.io',
  'v4.portforward.k8s.io',
]);

/** Answers an upgrade request with an ordinary response and ends the connection. */
export function refuseUpgrade(socket: Duplex, status: number, reason: string, text: string): void {
  const body = Buffer.from(text);
  socket.end(
    Buffer.concat([
      Buffer.from(
        `HTTP/1.1 ${status} ${reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`,
      ),
      body,
    ]),
  );
}

/**
 * Why the request cannot be passed on; undefined when it can. Newer WebSocket protocols are refused, upon which
 * clients fall back to SPDY.
 */
export function upgradeProblem(request: IncomingMessage): string | undefined {
  if ((request.headers.upgrade ?? '').toLowerCase() !== 'websocket') return undefined;
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  if (offered.length === 1 && offered[0] === '') return undefined;
  if (offered.some((name) => understood.has(name))) return undefined;
  return `unable to upgrade: the container runtime speaks none of the subprotocols ${offered.join(', ')}`;
}

function requestHead(request: IncomingMessage, target: URL): string {
  const lines = [`${request.method} ${target.pathname}${target.search} HTTP/1.1`, `Host: ${target.host}`];
  const raw = request.rawHeaders;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? '';
    if (!dropped.has(name.toLowerCase())) lines.push(`${name}: ${raw[index + 1] ?? ''}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** Joins the connection to `target` until either side ends, or nothing was sent for `idleTimeoutMs`. */
export function passUpgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  target: URL,
  idleTimeoutMs: number,
): void {
  const upstream = connect({ host: target.hostname.replace(/^\[|\]$/g, ''), port: Number(target.port || 80) });
  const close = () => {
    upstream.destroy();
    socket.destroy();
  };
  upstream.setNoDelay(true);
  if (idleTimeoutMs > 0) upstream.setTimeout(idleTimeoutMs, close);
  upstream.once('connect', () => {
    upstream.write(requestHead(request, target));
    if (head.length > 0) upstream.write(head);
    socket.pipe(upstream);
    upstream.pipe(socket);
  });
  upstream.once('error', () => {
    if (upstream.bytesRead === 0 && !socket.destroyed) {
      refuseUpgrade(socket, 502, 'Bad Gateway', 'the runtime ended the stream');
    } else close();
  });
  socket.once('error', close);
  socket.once('close', () => upstream.destroy());
}
