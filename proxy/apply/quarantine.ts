// Services whose rules the kernel refused: each is tried again by itself, later and later, and at once when it changes.
import { type BackoffOptions, backoffDelayMs } from '#kube/queue/backoff.ts';

export const quarantineBackoff: BackoffOptions = { initialMs: 1000, maxMs: 5 * 60_000 };

export interface Quarantine {
  /** Notes a refusal; returns the milliseconds until the next try. */
  refuse(key: string, nowMs: number): number;
  /** The service was applied or is gone. */
  release(key: string): void;
  has(key: string): boolean;
  /** Those whose time has come. */
  due(nowMs: number): string[];
  /** When the next one's time comes; infinity for none. */
  readonly nextMs: number;
  readonly keys: readonly string[];
}

export function createQuarantine(): Quarantine {
  const entries = new Map<string, { failures: number; atMs: number }>();
  return {
    refuse: (key, nowMs) => {
      const failures = (entries.get(key)?.failures ?? 0) + 1;
      const delayMs = backoffDelayMs(failures, quarantineBackoff);
      entries.set(key, { failures, atMs: nowMs + delayMs });
      return delayMs;
    },
    release: (key) => {
      entries.delete(key);
    },
    has: (key) => entries.has(key),
    due: (nowMs) => [...entries].filter(([, { atMs }]) => atMs <= nowMs).map(([key]) => key),
    get nextMs() {
      return Math.min(Number.POSITIVE_INFINITY, ...[...entries.values()].map(({ atMs }) => atMs));
    },
    get keys() {
      return [...entries.keys()];
    },
  };
}
