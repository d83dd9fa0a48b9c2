// How often images may be pulled: registryPullQPS and registryBurst. A pull beyond that fails and backs off.
import type { Clock } from '#kube/process/clock.ts';

/** Answers whether a pull may start now, and counts it. No limit where `perSecond` is zero or less. */
export function createPullRate(clock: Clock, perSecond: number, burst: number): () => boolean {
  if (perSecond <= 0) return () => true;
  let tokens = burst;
  let countedMs = clock.monotonicMs();
  return () => {
    const now = clock.monotonicMs();
    tokens = Math.min(burst, tokens + ((now - countedMs) / 1000) * perSecond);
    countedMs = now;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}
