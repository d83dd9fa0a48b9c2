// Ends a connection on which nothing happened for too long.
import type { Clock } from '#kube/process/clock.ts';

export interface IdleTimer {
  /** Something happened. */
  touch(): void;
  stop(): void;
}

/** Calls `expired` once, when `idleMs` have passed since the last touch. Zero means never. */
export function createIdleTimer(clock: Clock, idleMs: number, expired: () => void): IdleTimer {
  let lastMs = clock.monotonicMs();
  const check = (): void => {
    const leftMs = lastMs + idleMs - clock.monotonicMs();
    if (leftMs > 0) timer = clock.after(leftMs, check);
    else expired();
  };
  let timer = idleMs > 0 ? clock.after(idleMs, check) : undefined;
  return {
    touch: () => {
      lastMs = clock.monotonicMs();
    },
    stop: () => timer?.cancel(),
  };
}
