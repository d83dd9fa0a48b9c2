// Work that is done as a whole whenever something has changed: one run at a time, and one more for all that was asked for
// while it ran.

export interface CoalescedRun {
  /** Asks for a run after the present turn; any number of asks until then are one. */
  soon(): void;
  /** Asks for a run at once. Resolves when none is under way and none is due. */
  now(): Promise<void>;
  /** Lets a run that is under way end, and begins no other. */
  stop(): void;
}

/** `failed` is told what a run has thrown; the next change asks for the next run. */
export function createCoalescedRun(work: () => Promise<void>, failed: (error: unknown) => void): CoalescedRun {
  let isDue = false;
  let isComing = false;
  let isStopped = false;
  let running: Promise<void> | undefined;

  async function runAll(): Promise<void> {
    while (isDue && !isStopped) {
      isDue = false;
      try {
        await work();
      } catch (error) {
        failed(error);
      }
    }
    running = undefined;
  }

  function now(): Promise<void> {
    isDue = true;
    running ??= runAll();
    return running;
  }

  return {
    now,
    soon: () => {
      if (isComing) return;
      isComing = true;
      setImmediate(() => {
        isComing = false;
        void now();
      });
    },
    stop: () => {
      isStopped = true;
    },
  };
}
