// Exponential delays, with jitter where many clients would otherwise move in step.

export interface BackoffOptions {
  initialMs: number;
  maxMs: number;
  /** Growth from one delay to the next; 2 where absent. */
  factor?: number;
  /** Up to this fraction is added at random; none where absent. */
  jitter?: number;
  /** Uniform in [0, 1); injected for tests. */
  random?: () => number;
}

/** The delay after `failures` failures in a row (1 gives the initial delay, 0 none). */
export function backoffDelayMs(failures: number, options: BackoffOptions): number {
  if (failures <= 0) return 0;
  const { initialMs, maxMs, factor = 2, jitter = 0, random = Math.random } = options;
  const base = Math.min(maxMs, initialMs * factor ** Math.min(failures - 1, 100));
  return base * (1 + jitter * random());
}
