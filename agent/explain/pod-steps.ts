// Which steps of a pod are under way or have failed: told by the code that does them, read by whoever asks what a pod
// is waiting for. Nothing here decides anything.
import type { Clock } from '#kube/process/clock.ts';

/** The steps a node takes for a pod, in the words of `berth explain`. */
export type StepName = 'admission' | 'volume' | 'sandbox' | 'pull' | 'start' | 'hook' | 'termination';

/** One step of one pod or of one of its containers. */
export interface StepKey {
  step: StepName;
  container?: string | undefined;
  /** What the step is about: an image, a hook. */
  subject?: string | undefined;
}

/** A step that has not succeeded yet. Times are wall clock, in milliseconds. */
export interface StepState extends StepKey {
  sinceMs: number;
  running: boolean;
  attempts: number;
  lastError: { message: string; atMs: number } | undefined;
}

export interface PodSteps {
  /** Runs the step and remembers how it goes. Passes on what `work` returns or throws. */
  run<T>(podUid: string, key: StepKey, work: () => Promise<T>): Promise<T>;
  /** The step cannot be begun. */
  failed(podUid: string, key: StepKey, error: unknown): void;
  /** Steps that have not succeeded, those begun first before the others. */
  of(podUid: string): StepState[];
  /** The pod's containers have been stopped, or the pod is gone. */
  forget(podUid: string): void;
}

const nameOf = ({ step, container }: StepKey) => `${step}/${container ?? ''}`;

/** Creates the record. `observe` is told once for each step of a pod how long it took, failed attempts included. */
export function createPodSteps(
  clock: Clock,
  observe: (step: StepName, durationMs: number, podUid: string) => void,
): PodSteps {
  const open = new Map<string, Map<string, StepState>>();
  const told = new Map<string, Set<string>>();

  function stateOf(podUid: string, key: StepKey): StepState {
    const steps = open.get(podUid) ?? new Map<string, StepState>();
    open.set(podUid, steps);
    const name = nameOf(key);
    const state = steps.get(name) ?? {
      ...key,
      sinceMs: clock.now(),
      running: false,
      attempts: 0,
      lastError: undefined,
    };
    steps.set(name, state);
    return state;
  }

  function fail(state: StepState, error: unknown): void {
    state.lastError = { message: error instanceof Error ? error.message : String(error), atMs: clock.now() };
  }

  function done(podUid: string, key: StepKey, state: StepState): void {
    const name = nameOf(key);
    const steps = open.get(podUid);
    if (steps?.get(name) !== state) return;
    steps.delete(name);
    if (steps.size === 0) open.delete(podUid);
    const seen = told.get(podUid) ?? new Set<string>();
    told.set(podUid, seen);
    if (seen.has(name)) return;
    seen.add(name);
    observe(key.step, clock.now() - state.sinceMs, podUid);
  }

  return {
    async run(podUid, key, work) {
      const state = stateOf(podUid, key);
      state.subject = key.subject;
      state.running = true;
      state.attempts += 1;
      try {
        const result = await work();
        done(podUid, key, state);
        return result;
      } catch (error) {
        fail(state, error);
        throw error;
      } finally {
        state.running = false;
      }
    },
    failed: (podUid, key, error) => fail(stateOf(podUid, key), error),
    of: (podUid) => [...(open.get(podUid)?.values() ?? [])].sort((a, b) => a.sinceMs - b.sinceMs),
    forget(podUid) {
      open.delete(podUid);
      told.delete(podUid);
    },
  };
}
