// Decides whether a call is tried again: on 429 and 5xx where the server says when, on a connection that
// could not be made, and on one that broke under a call that changes nothing.

const maxAttempts = 10;
const unreachable = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
const broken = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'ETIMEDOUT']);

/** One finished attempt, as far as the decision needs it. */
export interface Attempt {
  method: string;
  /** How many were made, this one included. */
  attempts: number;
  servers: number;
  answer?: { code: number; headers: Record<string, string | string[] | undefined> } | undefined;
  failure?: unknown;
}

export interface Retry {
  delayMs: number;
  nextServer: boolean;
}

/** Seconds of a Retry-After header; undefined where it is absent or a date. */
export function retryAfterSeconds(headers: Record<string, string | string[] | undefined>): number | undefined {
  const header = headers['retry-after'];
  return typeof header === 'string' && /^\d+$/.test(header) ? Number(header) : undefined;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  return error.cause === undefined ? '' : codeOf(error.cause);
}

/** How to go on after an attempt; undefined: its outcome stands. */
export function planRetry({ method, attempts, servers, answer, failure }: Attempt): Retry | undefined {
  if (attempts >= maxAttempts) return undefined;
  if (answer !== undefined) {
    if (answer.code !== 429 && answer.code < 500) return undefined;
    const seconds = retryAfterSeconds(answer.headers);
    return seconds === undefined ? undefined : { delayMs: seconds * 1000, nextServer: false };
  }
  const code = codeOf(failure);
  if (unreachable.has(code)) return attempts < servers ? { delayMs: 0, nextServer: true } : undefined;
  if (broken.has(code) && method === 'GET') return { delayMs: attempts > 1 ? 100 : 0, nextServer: servers > 1 };
  return undefined;
}
