// Values that hardly ever change, read again only now and then: half of what a scrape would otherwise read.
import type { Clock } from '#kube/process/clock.ts';

const maxAgeMs = 15_000;

/** Remembers what `read` gave for a path, for a quarter of a minute. */
export function createSlowValues<T>(clock: Clock, read: (path: string) => T): (path: string) => T {
  const known = new Map<string, { value: T; readAtMs: number }>();
  let clearedAtMs = clock.monotonicMs();

  function forgetOld(now: number): void {
    for (const [path, { readAtMs }] of known) if (now - readAtMs > 4 * maxAgeMs) known.delete(path);
    clearedAtMs = now;
  }

  return (path) => {
    const now = clock.monotonicMs();
    if (now - clearedAtMs > 4 * maxAgeMs) forgetOld(now);
    const entry = known.get(path);
    if (entry !== undefined && now - entry.readAtMs < maxAgeMs) return entry.value;
    const value = read(path);
    known.set(path, { value, readAtMs: now });
    return value;
  };
}
