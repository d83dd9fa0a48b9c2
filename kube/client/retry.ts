// Decides whether a call is tried again: on 429 and 5xx where the server says when, on a connection that
// could not be made, and on one that broke under a call that changes nothing. And whether the next call goes to another
// server.

const maxAttempts = 10;
const unreachable = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
/** The server's certificate was refused: nothing was sent. */
const distrusted = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_)/;
const broken = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'ETIMEDOUT']);
/** It took the request and never answered. */
const silent = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']);
/** Answers of a server, or of what stands before it, that cannot serve now. */
const unavailable = new Set([502, 503, 504]);

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

/** Whether a server should be left for the next one, whatever becomes of this call; for calls that follow too. */
export function leavesServer({ answer, failure }: Pick<Attempt, 'answer' | 'failure'>): boolean {
  if (answer !== undefined) return unavailable.has(answer.code);
  const code = codeOf(failure);
  const isLost = unreachable.has(code) || broken.has(code) || silent.has(code) || distrusted.test(code);
  return isLost || (failure instanceof Error && failure.name === 'TimeoutError');
}

/** How to go on after an attempt; undefined: its outcome stands. */
export function planRetry({ method, attempts, servers, answer, failure }: Attempt): Retry | undefined {
  if (attempts >= maxAttempts) return undefined;
  if (answer !== undefined) {
    if (answer.code !== 429 && answer.code < 500) return undefined;
    const seconds = retryAfterSeconds(answer.headers);
    const goesOn = method === 'GET' && unavailable.has(answer.code) && attempts < servers;
    if (goesOn) return { delayMs: 0 };
    return seconds === undefined ? undefined : { delayMs: seconds * 1000 };
  }
  const code = codeOf(failure);
  if (unreachable.has(code) || distrusted.test(code)) return attempts < servers ? { delayMs: 0 } : undefined;
  if (broken.has(code) && method === 'GET') return { delayMs: attempts > 1 ? 100 : 0 };
  return undefined;
}
