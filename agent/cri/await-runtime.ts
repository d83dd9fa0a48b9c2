// A runtime that starts beside the agent, or again, is waited for a little: at boot, and when both were killed.
import type { Clock } from '#kube/process/clock.ts';
import type { RuntimeService } from './runtime-service.ts';

const periodMs = 250;

export interface AwaitRuntimeOptions {
  clock: Clock;
  /** How long to wait, in milliseconds. */
  limitMs: number;
  /** Called once, with why, when the runtime does not answer at once. */
  waiting(error: Error): void;
}

/** The runtime's version as soon as it answers. Throws what its last call failed with when the time is over. */
export async function awaitRuntime(
  runtime: Pick<RuntimeService, 'version'>,
  { clock, limitMs, waiting }: AwaitRuntimeOptions,
  signal: AbortSignal,
): ReturnType<RuntimeService['version']> {
  const late = new AbortController();
  const timer = clock.after(limitMs, () => late.abort(new Error(`no answer in ${limitMs / 1000} seconds`)));
  const either = AbortSignal.any([signal, late.signal]);
  try {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await runtime.version(either);
      } catch (error) {
        signal.throwIfAborted();
        if (late.signal.aborted) throw error;
        if (attempt === 1) waiting(error as Error);
        await clock.sleep(periodMs, either).catch(() => {
          signal.throwIfAborted();
          throw error;
        });
      }
    }
  } finally {
    timer.cancel();
  }
}
