// Exponential delays per key, measured from the event that failed (client-go's flowcontrol.Backoff).
import type { Clock } from '#kube/process/clock.ts';

/** The delay a key has now. */
export interface KeyDelay {
  untilMs: number;
  delayMs: number;
}

export interface KeyBackoff {
  /** Undefined when the key need not wait, counting from its failure at `eventMs` (wall clock). */
  waiting(key: string, eventMs: number): KeyDelay | undefined;
  /** The key is tried again now: its next wait is twice as long, unless it has been well for a long time. */
  advance(key: string, eventMs: number): void;
  reset(key: string): void;
  /** Forgets every key that starts so. */
  forget(prefix: string): void;
}

interface Entry {
  delayMs: number;
  updatedMs: number;
}

/** After so long without a failure the next one starts over. */
const goodAfterMs = 600_000;

/** Delays from `initialMs` to `maxMs`. */
export function createKeyBackoff(clock: Clock, initialMs: number, maxMs: number): KeyBackoff {
  const entries = new Map<string, Entry>();
  const expired = (entry: Entry, eventMs: number) => eventMs - entry.updatedMs > goodAfterMs;
  return {
    waiting(key, eventMs) {
      const entry = entries.get(key);
      if (entry === undefined || expired(entry, eventMs)) return undefined;
      const untilMs = eventMs + entry.delayMs;
      return clock.now() < untilMs ? { untilMs, delayMs: entry.delayMs } : undefined;
    },
    advance(key, eventMs) {
      const entry = entries.get(key);
      const fresh = entry === undefined || expired(entry, eventMs);
      const delayMs = fresh ? Math.min(initialMs, maxMs) : Math.min(entry.delayMs * 2, maxMs);
      entries.set(key, { delayMs, updatedMs: clock.now() });
    },
    reset: (key) => void entries.delete(key),
    forget(prefix) {
      for (const key of entries.keys()) if (key.startsWith(prefix)) entries.delete(key);
    },
  };
}
