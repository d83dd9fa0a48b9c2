// Bounds how many heavy calls the runtime gets at once: beyond a few they only slow each other down.
import type { RuntimeService } from './runtime-service.ts';

/** Runs functions, at most `limit` of them at a time, in order of arrival. */
export function createLimiter(limit: number): <T>(run: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (run) => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await run();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}

/** The same service with creation, start and removal bounded. Waits for containers to stop are not counted. */
export function limitCalls(runtime: RuntimeService, limit: number): RuntimeService {
  const bounded = createLimiter(limit);
  return {
    ...runtime,
    runPodSandbox: (...args) => bounded(() => runtime.runPodSandbox(...args)),
    stopPodSandbox: (...args) => bounded(() => runtime.stopPodSandbox(...args)),
    removePodSandbox: (...args) => bounded(() => runtime.removePodSandbox(...args)),
    createContainer: (...args) => bounded(() => runtime.createContainer(...args)),
    startContainer: (...args) => bounded(() => runtime.startContainer(...args)),
    removeContainer: (...args) => bounded(() => runtime.removeContainer(...args)),
  };
}
