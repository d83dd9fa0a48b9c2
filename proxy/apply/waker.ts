// A wait that ends at a signal, at a time, or at a call.
import type { Clock } from '#kube/process/clock.ts';

export interface Waker {
  /** Ends the wait, or the next one when nobody waits. */
  wake(): void;
  wait(delayMs: number, signal: AbortSignal): Promise<void>;
}

export function createWaker(clock: Clock): Waker {
  let pending = false;
  let resolve: (() => void) | undefined;
  return {
    wake: () => {
      pending = true;
      resolve?.();
    },
    wait: async (delayMs, signal) => {
      if (!pending && !signal.aborted) {
        const { promise, resolve: done } = Promise.withResolvers<void>();
        resolve = done;
        const end = (): void => done();
        const timer = clock.after(delayMs, end);
        signal.addEventListener('abort', end, { once: true });
        await promise;
        timer.cancel();
        signal.removeEventListener('abort', end);
        resolve = undefined;
      }
      pending = false;
    },
  };
}
