// Lets the pages of proxied servers lead through the proxy: absolute paths in HTML and in redirects get its path in
// front of them.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { type Duplex, Transform } from 'node:stream';
import { createDeflate, createGunzip, createGzip, createInflate } from 'node:zlib';
import { createHtmlRewriter } from './rewrite-html.ts';

export interface ProxiedPlace {
  /** The path of the proxy, without a slash at its end. */
  prefix: string;
  /** Hosts that mean the proxied server itself, ports included. */
  hosts: readonly string[];
}

/** A URL as the client must ask for it; as it is where it leads elsewhere or is relative. Pure. */
export function rewriteUrl(url: string, { prefix, hosts }: ProxiedPlace): string {
  const absolute = /^(?:https?:)?\/\/([^/?#]*)(.*)$/is.exec(url);
  if (absolute !== null && !hosts.includes(absolute[1] ?? '')) return url;
  const path = absolute === null ? url : absolute[2] || '/';
  if (!path.startsWith('/')) return url;
  return path === prefix || path.startsWith(`${prefix}/`) ? path : `${prefix}${path}`;
}

/** The headers of an answer with its redirect changed. Pure. */
export function rewriteHeaders(headers: IncomingHttpHeaders, place: ProxiedPlace): IncomingHttpHeaders {
  if ((headers.location ?? '') === '') return headers;
  return { ...headers, location: rewriteUrl(headers.location ?? '', place) };
}

/** What a page goes through on its way; undefined for answers that are left alone. */
export function pageRewriting(answer: IncomingMessage, place: ProxiedPlace): Duplex[] | undefined {
  const { headers } = answer;
  if ((headers.location ?? '') !== '') return undefined;
  if ((headers['content-type'] ?? '').split(';')[0]?.trim() !== 'text/html') return undefined;
  const rewriter = createHtmlRewriter((url) => rewriteUrl(url, place));
  const transform = new Transform({
    transform: (piece: Buffer, _encoding, done) => done(null, rewriter.push(piece)),
    flush: (done) => done(null, rewriter.end()),
  });
  switch (headers['content-encoding'] ?? '') {
    case '':
    case 'identity':
      return [transform];
    case 'gzip':
      return [createGunzip(), transform, createGzip()];
    case 'deflate':
      return [createInflate(), transform, createDeflate()];
    default:
      return undefined;
  }
}
