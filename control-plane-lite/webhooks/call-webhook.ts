// Calls a webhook over TLS: a URL, or a service of the cluster at one of its endpoints. The words of its failures are
// those of the reference's client, because people and tests look for them.
import { Agent, request as httpsRequest } from 'node:https';
import { failure, isNotFound, StatusError } from '#kube/errors/status-error.ts';
import { serviceEndpoint } from '../apiserver/proxy/backend-address.ts';
import type { ObjectReader } from '../registry/object-reader.ts';

/** Where a webhook is, as its configuration says. */
export interface WebhookClientConfig {
  url?: string;
  service?: { namespace: string; name: string; path?: string; port?: number };
  /** PEM in base64; absent: the system's authorities. */
  caBundle?: string;
}

/** Posts JSON and answers with the JSON that came back. Rejects with WebhookCallError or StatusError. */
export type CallWebhook = (config: WebhookClientConfig, body: object, timeoutMs: number) => Promise<unknown>;

/** A webhook that could not be asked. */
export class WebhookCallError extends Error {}

const maxAnswerBytes = 8 * 1024 * 1024;
const unknownAuthority = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_GET_ISSUER_CERT',
]);

interface Place {
  /** As failures show it. */
  shown: URL;
  host: string;
  port: number;
  serverName: string;
}

function placeOf(config: WebhookClientConfig, objects: ObjectReader, timeoutMs: number, random: number): Place {
  const { service } = config;
  const base =
    service === undefined
      ? (config.url ?? '')
      : `https://${service.name}.${service.namespace}.svc:${service.port ?? 443}/${(service.path ?? '').replace(/^\//, '')}`;
  const shown = URL.parse(base);
  if (shown === null || shown.protocol !== 'https:')
    throw new WebhookCallError(`invalid webhook URL ${JSON.stringify(base)}`);
  shown.searchParams.set('timeout', `${timeoutMs / 1000}s`);
  const hostname = shown.hostname.replace(/^\[|\]$/g, '');
  if (service === undefined) {
    return { shown, host: hostname, port: Number(shown.port || 443), serverName: hostname };
  }
  try {
    const endpoint = serviceEndpoint(
      objects,
      service.namespace,
      { name: service.name, port: String(service.port ?? 443) },
      random,
    );
    return { shown, host: endpoint.address, port: endpoint.port, serverName: hostname };
  } catch (error) {
    const why = isNotFound(error)
      ? `service ${JSON.stringify(service.name)} not found`
      : error instanceof Error
        ? error.message
        : String(error);
    throw new WebhookCallError(`Post ${JSON.stringify(describe(shown, service.port))}: ${why}`);
  }
}

/** The address with its port, which URL leaves out where it is the usual one. */
function describe(shown: URL, servicePort?: number): string {
  const isService = shown.hostname.endsWith('.svc');
  if (!isService || shown.port !== '') return shown.href;
  return shown.href.replace(shown.host, `${shown.hostname}:${servicePort ?? 443}`);
}

function explain(error: NodeJS.ErrnoException, place: Place, isLate: boolean): string {
  if (isLate) return 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)';
  const code = error.code ?? '';
  if (unknownAuthority.has(code))
    return 'tls: failed to verify certificate: x509: certificate signed by unknown authority';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `tls: failed to verify certificate: x509: certificate is not valid for ${place.serverName}`;
  }
  if (code === 'CERT_HAS_EXPIRED')
    return 'tls: failed to verify certificate: x509: certificate has expired or is not yet valid';
  if (code === 'ECONNREFUSED') return `dial tcp ${place.host}:${place.port}: connect: connection refused`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `dial tcp: lookup ${place.host}: no such host`;
  if (code === 'ECONNRESET') return 'EOF';
  return error.message;
}

interface Answer {
  code: number;
  text: string;
}

/** Connections are kept for the next call; those of other authorities or names are others. */
function post(
  place: Place,
  config: WebhookClientConfig,
  body: string,
  timeoutMs: number,
  agent: Agent,
): Promise<Answer> {
  const signal = AbortSignal.timeout(timeoutMs);
  const { shown } = place;
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      // The other side closed a kept connection just now: the call has not reached anybody.
      if (outgoing.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET' && !signal.aborted) {
        resolve(post(place, config, body, timeoutMs, new Agent()));
        return;
      }
      const why = explain(error as NodeJS.ErrnoException, place, signal.aborted);
      reject(
        new WebhookCallError(`Post ${JSON.stringify(describe(shown, config.service?.port))}: ${why}`, { cause: error }),
      );
    };
    const ca =
      config.caBundle === undefined || config.caBundle === ''
        ? undefined
        : Buffer.from(config.caBundle, 'base64').toString();
    const outgoing = httpsRequest(
      {
        host: place.host,
        port: place.port,
        servername: /^[\d.]+$|:/.test(place.serverName) ? '' : place.serverName,
        path: `${shown.pathname}${shown.search}`,
        method: 'POST',
        headers: {
          Host: shown.host,
          Accept: 'application/json, */*',
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(body),
          'User-Agent': 'kube-apiserver-admission',
        },
        ...(ca === undefined ? {} : { ca }),
        agent,
        signal,
      },
      (answer) => {
        const parts: Buffer[] = [];
        let size = 0;
        answer.on('data', (part: Buffer) => {
          size += part.length;
          if (size > maxAnswerBytes) answer.destroy(new Error('the answer is too large'));
          else parts.push(part);
        });
        answer.on('end', () => resolve({ code: answer.statusCode ?? 500, text: Buffer.concat(parts).toString() }));
        answer.on('error', fail);
      },
    );
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}

/** What the reference's client makes of an answer that is no success. */
function refusal({ code, text }: Answer): Error {
  const words: Record<number, string> = {
    400: 'the server rejected our request for an unknown reason',
    401: 'the server has asked for the client to provide credentials',
    403: 'forbidden',
    404: 'the server could not find the requested resource',
    405: 'the server does not allow this method on the requested resource',
    500: `an error on the server (${JSON.stringify(text.slice(0, 200))}) has prevented the request from succeeding`,
    503: 'the server is currently unable to handle the request',
  };
  return new WebhookCallError(
    words[code] ?? `the server responded with the status code ${code} but did not return more information`,
  );
}

/** Puts the caller together; services are looked up in the cluster's own objects. */
export function createWebhookCaller(objects: ObjectReader, random: () => number): CallWebhook {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 8 });
  return async (config, body, timeoutMs) => {
    if ((config.url ?? '') === '' && config.service === undefined) {
      throw new WebhookCallError('either clientConfig.url or clientConfig.service must be set');
    }
    const place = placeOf(config, objects, timeoutMs, random());
    const answer = await post(place, config, JSON.stringify(body), timeoutMs, agent);
    if (answer.code < 200 || answer.code >= 300) throw refusal(answer);
    try {
      return JSON.parse(answer.text) as unknown;
    } catch (error) {
      throw new WebhookCallError(`the answer is not JSON: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  };
}

/** An internal error of the server. */
export function internalError(message: string): StatusError {
  const { status } = failure(500, 'InternalError', `Internal error occurred: ${message}`);
  return new StatusError({ ...status, details: { causes: [{ message }] } });
}
