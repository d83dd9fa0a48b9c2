// How often rules may be written: not more than once in a period, but two changes in a row go through at once.

const burst = 2;

export interface BurstLimiter {
  /** Milliseconds until the next one may go. */
  delayMs(nowMs: number): number;
  take(nowMs: number): void;
}

export function createBurstLimiter(periodMs: number): BurstLimiter {
  let tokens = burst;
  let atMs = Number.NEGATIVE_INFINITY;
  const refilled = (nowMs: number): number =>
    periodMs === 0 ? burst : Math.min(burst, tokens + (nowMs - atMs) / periodMs);
  return {
    delayMs: (nowMs) => Math.max(0, Math.ceil((1 - refilled(nowMs)) * periodMs)),
    take: (nowMs) => {
      tokens = Math.max(0, refilled(nowMs) - 1);
      atMs = nowMs;
    },
  };
}
