// Bounds how many heavy calls the runtime gets at once: beyond a few they only slow each other down.
import type { Clock } from '#kube/process/clock.ts';
import type { RuntimeService } from './runtime-service.ts';

/** After how long a call counts as stuck: it goes on, but its place is given to another. */
export interface Patience {
  clock: Clock;
  ms: number;
}

/** Runs functions, at most `limit` of them at a time, in order of arrival; `first`: before all that are not. */
export function createLimiter(
  limit: number,
  patience?: Patience,
): <T>(run: () => Promise<T>, first?: boolean) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  const waitingFirst: (() => void)[] = [];
  const leave = () => {
    const next = waitingFirst.shift() ?? waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  };
  return async (run, first = false) => {
    if (running >= limit) await new Promise<void>((resolve) => (first ? waitingFirst : waiting).push(resolve));
    else running += 1;
    let left = false;
    const leaveOnce = () => {
      if (!left) leave();
      left = true;
    };
    const timer = patience?.clock.after(patience.ms, leaveOnce);
    try {
      return await run();
    } finally {
      timer?.cancel();
      leaveOnce();
    }
  };
}

/**
 * The same service with creation, start and removal bounded. Waits for containers to stop are not counted. Containers
 * go before sandboxes: of many pods that start at once some are ready early, and their reports do not come in a heap.
 * Calls that hang do not keep others waiting for longer than `patience`.
 */
export function limitCalls(runtime: RuntimeService, limit: number, patience: Patience): RuntimeService {
  const bounded = createLimiter(limit, patience);
  return {
    ...runtime,
    runPodSandbox: (...args) => bounded(() => runtime.runPodSandbox(...args)),
    stopPodSandbox: (...args) => bounded(() => runtime.stopPodSandbox(...args)),
    removePodSandbox: (...args) => bounded(() => runtime.removePodSandbox(...args)),
    createContainer: (...args) => bounded(() => runtime.createContainer(...args), true),
    startContainer: (...args) => bounded(() => runtime.startContainer(...args), true),
    removeContainer: (...args) => bounded(() => runtime.removeContainer(...args)),
  };
}
