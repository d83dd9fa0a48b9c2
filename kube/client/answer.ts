// Turns an HTTP answer that is not 2xx into a StatusError.
import type { Status } from '../api/generated/meta-v1.ts';
import { StatusError } from '../errors/status-error.ts';

const reasonByCode: Record<number, string> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  406: 'NotAcceptable',
  409: 'Conflict',
  410: 'Gone',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

function isStatus(value: unknown): value is Status {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'Status';
}

/** The error for an answer. A body that is no Status (a proxy's page, plain text) becomes its message. */
export function errorOfAnswer(request: string, code: number, body: string, retryAfterSeconds?: number): StatusError {
  let decoded: unknown;
  try {
    decoded = JSON.parse(body);
  } catch {
    decoded = undefined;
  }
  if (isStatus(decoded)) return new StatusError({ ...decoded, code: decoded.code ?? code });
  const text = body.trim().slice(0, 1000);
  return new StatusError({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    code,
    reason: reasonByCode[code] ?? (code >= 500 ? 'InternalError' : 'Unknown'),
    message: `${request}: the server answered ${code}${text === '' ? '' : `: ${text}`}`,
    ...(retryAfterSeconds === undefined ? {} : { details: { retryAfterSeconds } }),
  });
}
