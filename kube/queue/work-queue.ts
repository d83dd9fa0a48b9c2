// The work queue: keys in order of arrival, each with one worker at a time and one backoff.
import type { Logger } from 'pino';
import { isConflict, isNotFound } from '../errors/status-error.ts';
import type { Clock, Timer } from '../process/clock.ts';
import { backoffDelayMs } from './backoff.ts';
import type { WorkQueue } from './types.ts';

/** Told of everything that happens to keys, for metrics. */
export interface QueueObserver {
  added(depth: number): void;
  started(depth: number, waitedMs: number): void;
  finished(tookMs: number): void;
  retried(): void;
}

export interface WorkQueueOptions {
  clock: Clock;
  logger: Logger;
  /** First delay after a failure; 5 ms as upstream. */
  baseDelayMs?: number;
  /** Longest delay; 1000 s as upstream. */
  maxDelayMs?: number;
  observer?: QueueObserver | undefined;
}

/** Timers of the runtime end here; a key that comes back early is looked at once more, no harm done. */
const longestTimerMs = 2 ** 31 - 1;

/** Creates a queue. Keys are compared as a Map compares them. */
export function createWorkQueue<K>(options: WorkQueueOptions): WorkQueue<K> {
  const { clock, logger, baseDelayMs = 5, maxDelayMs = 1_000_000, observer } = options;
  /** Waiting keys in order, with the time they were added. */
  const waiting = new Map<K, number>();
  const running = new Set<K>();
  /** Keys that changed while their worker ran. */
  const changed = new Set<K>();
  const failures = new Map<K, number>();
  const delayed = new Map<K, { timer: Timer; dueMs: number }>();
  let stopped = false;
  let pump = () => undefined as void;

  function add(key: K): void {
    if (running.has(key)) {
      changed.add(key);
      return;
    }
    if (waiting.has(key)) return;
    waiting.set(key, clock.monotonicMs());
    observer?.added(waiting.size);
    pump();
  }

  function addAfter(key: K, delayMs: number): void {
    if (delayMs <= 0) {
      add(key);
      return;
    }
    if (stopped) return;
    const waitMs = Math.min(delayMs, longestTimerMs);
    const dueMs = clock.monotonicMs() + waitMs;
    const earlier = delayed.get(key);
    if (earlier !== undefined) {
      if (earlier.dueMs <= dueMs) return;
      earlier.timer.cancel();
    }
    const timer = clock.after(waitMs, () => {
      delayed.delete(key);
      add(key);
    });
    delayed.set(key, { timer, dueMs });
  }

  function addRateLimited(key: K): void {
    const count = (failures.get(key) ?? 0) + 1;
    failures.set(key, count);
    observer?.retried();
    addAfter(key, backoffDelayMs(count, { initialMs: baseDelayMs, maxMs: maxDelayMs }));
  }

  return {
    add,
    addAfter,
    addRateLimited,
    forget: (key) => {
      failures.delete(key);
    },
    retries: (key) => failures.get(key) ?? 0,
    dueInMs(key) {
      if (waiting.has(key) || changed.has(key)) return 0;
      const entry = delayed.get(key);
      return entry === undefined ? undefined : Math.max(0, entry.dueMs - clock.monotonicMs());
    },
    get length() {
      return waiting.size;
    },
    async run(handler, { concurrency, signal }) {
      const drained = Promise.withResolvers<void>();

      async function work(key: K): Promise<void> {
        const startedMs = clock.monotonicMs();
        try {
          const result = await handler(key, signal);
          failures.delete(key);
          if (result !== undefined) addAfter(key, result.requeueAfterMs);
        } catch (error) {
          if (!signal.aborted) {
            if (isConflict(error) || isNotFound(error)) logger.debug({ err: error, key }, 'lost a race, will retry');
            else logger.warn({ err: error, key }, 'sync failed, will retry');
            addRateLimited(key);
          }
        } finally {
          observer?.finished(clock.monotonicMs() - startedMs);
          running.delete(key);
          if (changed.delete(key)) add(key);
        }
        pump();
      }

      pump = () => {
        if (signal.aborted) {
          if (running.size === 0) drained.resolve();
          return;
        }
        for (const [key, addedMs] of waiting) {
          if (running.size >= concurrency) return;
          waiting.delete(key);
          running.add(key);
          observer?.started(waiting.size, clock.monotonicMs() - addedMs);
          void work(key);
        }
      };

      const stop = () => {
        stopped = true;
        for (const { timer } of delayed.values()) timer.cancel();
        delayed.clear();
        pump();
      };
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
      else pump();
      await drained.promise;
      signal.removeEventListener('abort', stop);
    },
  };
}
