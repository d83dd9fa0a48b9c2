// Answers remembered for a while, the oldest dropped first when there are too many.
import type { Clock } from '#kube/process/clock.ts';

const maxEntries = 4096;

export interface ExpiringCache<V> {
  get(key: string): V | undefined;
  set(key: string, value: V, lifetimeMs: number): void;
}

/** Creates an empty cache. */
export function createExpiringCache<V>(clock: Clock): ExpiringCache<V> {
  const entries = new Map<string, { value: V; untilMs: number }>();
  return {
    get(key) {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      if (clock.monotonicMs() < entry.untilMs) return entry.value;
      entries.delete(key);
      return undefined;
    },
    set(key, value, lifetimeMs) {
      if (lifetimeMs <= 0) return;
      entries.delete(key);
      entries.set(key, { value, untilMs: clock.monotonicMs() + lifetimeMs });
      const [oldest] = entries.keys();
      if (entries.size > maxEntries && oldest !== undefined) entries.delete(oldest);
    },
  };
}
