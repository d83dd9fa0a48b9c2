// A request is answered within its deadline, or told that it was not (k8s.io/apiserver: filters/request_deadline.go).
import type { Logger } from 'pino';
import { failure } from '#kube/errors/status-error.ts';
import { parseDurationMs } from '#kube/process/flags.ts';
import { badRequest } from '../../registry/status-errors.ts';
import type { Exchange } from './exchange.ts';
import { isLongRunning } from './long-running.ts';
import { sendError } from './send-error.ts';

function deadlineMs({ info }: Exchange, longestMs: number): number {
  const text = info.query.get('timeout') ?? '';
  if (text === '') return longestMs;
  let asked: number;
  try {
    asked = parseDurationMs(text);
  } catch {
    throw badRequest(`invalid timeout specified in the request URL - time: invalid duration ${JSON.stringify(text)}`);
  }
  return asked <= 0 ? longestMs : Math.min(asked, longestMs);
}

/**
 * Starts the clock of a request; `longestMs` is the most that it may ask for, and what it gets when it does not ask. Call  the answer when it is served. Throws StatusError 400 for a timeout that is none.
 */
export function beginDeadline(exchange: Exchange, longestMs: number, logger: Logger): () => void {
  if (isLongRunning(exchange.info)) return () => undefined;
  const timer = setTimeout(
    () => {
      const message = 'Timeout: request did not complete within the allotted timeout';
      sendError(exchange, failure(504, 'Timeout', message, {}), logger);
    },
    deadlineMs(exchange, longestMs),
  );
  return () => clearTimeout(timer);
}
