// How many requests are served at once where priority and fairness is switched off: one limit for reads, one for writes.
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import { isLongRunning } from '../http/long-running.ts';
import type { RequestLimit } from './request-limit.ts';

export interface InFlightLimits {
  readOnly: number;
  mutating: number;
}

/** What a client is told that is to come back. */
export function tooManyRequests(): StatusError {
  const details = { retryAfterSeconds: 1 };
  return failure(429, 'TooManyRequests', 'Too many requests, please try again later.', details);
}

export function createInFlightLimit(limits: InFlightLimits): RequestLimit {
  const inFlight = { readOnly: 0, mutating: 0 };
  return {
    enter: ({ info, request, user }) => {
      const isUncounted = isLongRunning(info) || !info.isResource || user.groups.includes('system:masters');
      if (isUncounted) return () => undefined;
      const kind = request.method === 'GET' || request.method === 'HEAD' ? 'readOnly' : 'mutating';
      if (limits[kind] > 0 && inFlight[kind] >= limits[kind]) throw tooManyRequests();
      inFlight[kind] += 1;
      let isIn = true;
      return () => {
        if (isIn) inFlight[kind] -= 1;
        isIn = false;
      };
    },
  };
}
