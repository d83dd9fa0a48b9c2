// HTTP requests of probes and hooks: to the pod's address, certificates not verified, redirects followed within the
// same host only (pkg/probe/http).
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Container, HTTPGetAction } from '#kube/api/generated/core-v1.ts';
import { systemClock } from '#kube/process/clock.ts';

const maxPort = 65_535;

const maxBodyBytes = 10 * 1024;
const maxRedirects = 10;

/** Where a request goes. */
export interface HttpTarget {
  url: URL;
  /** Names in lower case; a name may have several values. */
  headers: Record<string, string[]>;
}

/** An answer: `body` is cut off at 10 KiB. Redirects to other hosts are not followed. */
export interface HttpAnswer {
  status: number;
  statusText: string;
  body: string;
}

/** Makes one GET request. Rejects when there is no answer in time. */
export type HttpGet = (target: HttpTarget, timeoutMs: number, signal: AbortSignal) => Promise<HttpAnswer>;

/** The number behind a port's number or name. Throws when the container has no such port. */
export function resolvePort(port: number | string, container: Container): number {
  const named = (container.ports ?? []).find((item) => item.name === port)?.containerPort;
  const resolved = named ?? (/^\d+$/.test(String(port)) ? Number(port) : typeof port === 'number' ? port : undefined);
  if (resolved === undefined) throw new Error(`couldn't find port: ${JSON.stringify(port)} in ${container.name}`);
  if (resolved < 1 || resolved > maxPort) throw new Error(`invalid port number: ${resolved}`);
  return resolved;
}

/** The action's own headers and, where it says nothing of them, the usual ones. An empty Accept sends none. */
function headersOf({ httpHeaders }: HTTPGetAction, userAgent: string): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (const { name, value } of httpHeaders ?? []) {
    const key = name.toLowerCase();
    headers[key] = [...(headers[key] ?? []), value];
  }
  headers['user-agent'] ??= [userAgent];
  headers['accept'] ??= ['*/*'];
  if (headers['accept'][0] === '') delete headers['accept'];
  headers['connection'] = ['close'];
  return headers;
}

/** The request of an httpGet action. */
export function httpTarget(
  action: HTTPGetAction,
  container: Container,
  podHost: string,
  userAgent = 'kube-probe/1.36',
): HttpTarget {
  const host = action.host !== undefined && action.host !== '' ? action.host : podHost;
  const scheme = (action.scheme ?? 'HTTP').toLowerCase();
  const authority = `${host.includes(':') ? `[${host}]` : host}:${resolvePort(action.port, container)}`;
  const path = action.path ?? '/';
  const url = new URL(`${scheme}://${authority}${path.startsWith('/') ? path : `/${path}`}`);
  return { url, headers: headersOf(action, userAgent) };
}

/** The beginning of the body, decoded. */
function readBody(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const finish = () => {
      response.destroy();
      resolve(Buffer.concat(chunks).subarray(0, maxBodyBytes).toString('utf8'));
    };
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= maxBodyBytes) finish();
    });
    response.once('end', finish);
    response.once('error', reject);
  });
}

function get({ url, headers }: HttpTarget, made: (request: ClientRequest) => void): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // Servers that end lines with a bare line feed pass a kubelet's probe, so they pass here.
    // Some names, such as host, are heeded only as single values.
    const single = Object.entries(headers).map(([name, values]) => [name, values.length === 1 ? values[0] : values]);
    const options = {
      method: 'GET',
      headers: Object.fromEntries(single),
      agent: false as const,
      insecureHTTPParser: true,
    };
    const request =
      url.protocol === 'https:'
        ? httpsRequest(url, { ...options, rejectUnauthorized: false })
        : httpRequest(url, options);
    request.once('response', resolve);
    request.on('error', reject);
    made(request);
    request.end();
  });
}

/** The answer did not come in time. */
class HttpTimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

/** Requests over the network of this machine. */
export const systemHttpGet: HttpGet = async (target, timeoutMs, signal) => {
  let current: ClientRequest | undefined;
  let failure: Error | undefined;
  const stop = (error: Error) => {
    failure ??= error;
    current?.destroy(failure);
  };
  const made = (request: ClientRequest) => {
    current = request;
    if (failure !== undefined) request.destroy(failure);
  };
  signal.throwIfAborted();
  const aborted = () => stop(signal.reason);
  signal.addEventListener('abort', aborted, { once: true });
  const timer = systemClock.after(timeoutMs, () => stop(new HttpTimeoutError(`no answer in ${timeoutMs} ms`)));
  try {
    let { url } = target;
    for (let redirects = 0; ; redirects += 1) {
      const response = await get({ url, headers: target.headers }, made);
      const status = response.statusCode ?? 0;
      const { location } = response.headers;
      const body = await readBody(response);
      const next = status >= 300 && status < 400 && location !== undefined ? new URL(location, url) : undefined;
      if (next === undefined || next.hostname !== url.hostname) {
        return { status, statusText: response.statusMessage ?? '', body };
      }
      if (redirects >= maxRedirects) throw new Error(`stopped after ${maxRedirects} redirects`);
      url = next;
    }
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', aborted);
  }
};
