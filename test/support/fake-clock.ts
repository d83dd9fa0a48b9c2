// A clock that stands still until a test moves it.
import type { Clock, Timer } from '#kube/process/clock.ts';

export interface FakeClock extends Clock {
  /** Moves time, firing due timers in order; pending promise callbacks run after each. */
  advance(ms: number): Promise<void>;
  /** Timers that have not fired. */
  readonly pending: number;
}

interface Entry {
  dueMs: number;
  order: number;
  fire: () => void;
}

/** Lets every promise that is already settled run its callbacks. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Starts at `startMs` since the epoch; monotonic time starts at 0. */
export function createFakeClock(startMs = Date.parse('2026-01-01T00:00:00Z')): FakeClock {
  let elapsedMs = 0;
  let order = 0;
  const entries = new Set<Entry>();

  function after(delayMs: number, callback: () => void): Timer {
    order += 1;
    const entry: Entry = { dueMs: elapsedMs + Math.max(0, delayMs), order, fire: callback };
    entries.add(entry);
    return { cancel: () => void entries.delete(entry) };
  }

  function nextDue(limitMs: number): Entry | undefined {
    return [...entries]
      .filter((entry) => entry.dueMs <= limitMs)
      .sort((a, b) => a.dueMs - b.dueMs || a.order - b.order)[0];
  }

  return {
    now: () => startMs + elapsedMs,
    monotonicMs: () => elapsedMs,
    after,
    sleep(delayMs, signal) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      if (signal?.aborted === true) {
        reject(signal.reason);
        return promise;
      }
      const timer = after(delayMs, () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      });
      const abort = () => {
        timer.cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', abort, { once: true });
      return promise;
    },
    async advance(ms) {
      const untilMs = elapsedMs + ms;
      await settle();
      for (let entry = nextDue(untilMs); entry !== undefined; entry = nextDue(untilMs)) {
        entries.delete(entry);
        elapsedMs = Math.max(elapsedMs, entry.dueMs);
        entry.fire();
        await settle();
      }
      elapsedMs = untilMs;
    },
    get pending() {
      return entries.size;
    },
  };
}
