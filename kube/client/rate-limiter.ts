// A token bucket: callers wait their turn in order of arrival.
import type { Clock } from '../process/clock.ts';

export interface RateLimiter {
  /** Resolves when the caller may go on; rejects with the signal's reason when aborted. */
  take(signal?: AbortSignal): Promise<void>;
}

/** Lets `burst` calls through at once and `qps` a second after that. */
export function createRateLimiter(clock: Clock, qps: number, burst: number): RateLimiter {
  let tokens = burst;
  let countedAtMs = clock.monotonicMs();
  return {
    async take(signal) {
      const nowMs = clock.monotonicMs();
      tokens = Math.min(burst, tokens + ((nowMs - countedAtMs) / 1000) * qps);
      countedAtMs = nowMs;
      tokens -= 1;
      if (tokens < 0) await clock.sleep((-tokens / qps) * 1000, signal);
    },
  };
}
