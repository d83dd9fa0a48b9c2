// Bounds how many heavy calls the runtime gets at once: beyond a few they only slow each other down.
import type { RuntimeService } from './runtime-service.ts';

/** Runs functions, at most `limit` of them at a time, in order of arrival; `first`: before all that are not. */
export function createLimiter(limit: number): <T>(run: () => Promise<T>, first?: boolean) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  const waitingFirst: (() => void)[] = [];
  return async (run, first = false) => {
    if (running >= limit) await new Promise<void>((resolve) => (first ? waitingFirst : waiting).push(resolve));
    else running += 1;
    try {
      return await run();
    } finally {
      const next = waitingFirst.shift() ?? waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}

/**
 * The same service with creation, start and removal bounded. Waits for containers to stop are not counted. Containers
 * go before sandboxes: of many pods that start at once some are ready early, and their reports do not come in a heap.
 */
export function limitCalls(runtime: RuntimeService, limit: number): RuntimeService {
  const bounded = createLimiter(limit);
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
