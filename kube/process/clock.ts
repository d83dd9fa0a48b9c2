// Time as a dependency: production code never reads the global clock or timers directly.
import { setTimeout as sleepFor } from 'node:timers/promises';

/** A timer that can be cancelled. */
export interface Timer {
  cancel(): void;
}

/** Wall time for timestamps, monotonic time for durations, and timers. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds from an arbitrary origin, never going back. */
  monotonicMs(): number;
  /** Resolves after `delayMs`; rejects with the signal's reason when aborted. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls `callback` once after `delayMs`. */
  after(delayMs: number, callback: () => void): Timer;
}

/** The clock of the machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (delayMs, signal) => {
    await sleepFor(delayMs, undefined, signal === undefined ? {} : { signal });
  },
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};
