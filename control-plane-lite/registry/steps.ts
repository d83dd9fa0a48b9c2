// Work that may have to wait for somebody else in the middle (a webhook, a conversion) and usually does not. As long as
// nothing waits it runs at once, inside the store's transaction; what has to wait goes on outside of it.
import { failure } from '#kube/errors/status-error.ts';
import type { Backend, StoredEntry, Write } from '../storage/backend.ts';

/** Begins what is waited for, and resolves when it is there. */
export type Wait = () => Promise<void>;

/** Each thing yielded is waited for before the next step is taken. */
export type Steps<T> = Generator<Wait, T, undefined>;

/** Takes the steps that are left, after waiting for `first`. */
export async function finishSteps<T>(steps: Steps<T>, first?: Wait): Promise<T> {
  let wait = first;
  for (;;) {
    let step: IteratorResult<Wait, T>;
    try {
      await wait?.();
      step = steps.next();
    } catch (error) {
      step = steps.throw(error);
    }
    if (step.done === true) return step.value;
    wait = step.value;
  }
}

/** Takes steps at once up to the first that waits; answers with what is to be waited for, if anything. */
export function waitFor(steps: Steps<void>): Wait | undefined {
  const step = steps.next();
  return step.done === true ? undefined : () => finishSteps(steps, step.value);
}

/** A plan for what to write, and how to give back what it took when it is not written. */
export interface PlannedWrite {
  write: Write;
  undo(): void;
}

const maxAttempts = 20;

/**
 * Plans and writes in one transaction. A plan that waits is kept only if the object is still the same afterwards;
 * otherwise it is made anew. What the plan throws is thrown.
 */
export async function transactPlanned(
  backend: Pick<Backend, 'transact'>,
  key: string,
  plan: (current: StoredEntry | undefined) => Steps<PlannedWrite>,
): Promise<StoredEntry | undefined> {
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    let undo = (): void => undefined;
    let waiting: { steps: Steps<PlannedWrite>; wait: Wait; revision: number | undefined } | undefined;
    let isStale = false;
    const take = (planned: PlannedWrite): Write => {
      undo = planned.undo;
      return planned.write;
    };
    try {
      const entry = await backend.transact(key, (current) => {
        undo();
        undo = () => undefined;
        const steps = plan(current);
        const step = steps.next();
        if (step.done === true) return take(step.value);
        waiting = { steps, wait: step.value, revision: current?.revision };
        return { type: 'none' };
      });
      if (waiting === undefined) return entry;
      const { steps, wait, revision } = waiting;
      const planned = await finishSteps(steps, wait);
      undo = planned.undo;
      const written = await backend.transact(key, (current) => {
        isStale = current?.revision !== revision;
        return isStale ? { type: 'none' } : planned.write;
      });
      if (!isStale) return written;
      undo();
    } catch (error) {
      undo();
      throw error;
    }
  }
  const message =
    'the object changed each time while others were asked about the change; please apply your changes to the latest version and try again';
  throw failure(409, 'Conflict', message);
}
