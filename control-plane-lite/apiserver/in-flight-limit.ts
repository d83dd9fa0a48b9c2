// How many requests are served at once. Beyond that, clients are told to come back: the reference's limits.
import { failure } from '#kube/errors/status-error.ts';
import type { Exchange } from './http/exchange.ts';
import { isLongRunning } from './http/long-running.ts';

const maxReadOnly = 400;
const maxMutating = 200;

export interface InFlightLimit {
  /** Counts a request in; call the answer when it is done. Throws StatusError 429. */
  enter(exchange: Exchange): () => void;
}

export function createInFlightLimit(limits = { readOnly: maxReadOnly, mutating: maxMutating }): InFlightLimit {
  const inFlight = { readOnly: 0, mutating: 0 };
  return {
    enter: ({ info, request, user }) => {
      const isUncounted = isLongRunning(info) || !info.isResource || user.groups.includes('system:masters');
      if (isUncounted) return () => undefined;
      const kind = request.method === 'GET' || request.method === 'HEAD' ? 'readOnly' : 'mutating';
      if (inFlight[kind] >= limits[kind]) {
        const details = { retryAfterSeconds: 1 };
        throw failure(429, 'TooManyRequests', 'Too many requests, please try again later.', details);
      }
      inFlight[kind] += 1;
      return () => {
        inFlight[kind] -= 1;
      };
    },
  };
}
