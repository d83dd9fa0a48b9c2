// Turns for requests that keep the processor busy: one at a time, and the event loop runs in between, so that a short
// request never waits for more than one of them. Levels take turns, whatever the length of their lines.

export interface Turns {
  /** Resolves when it is the caller's turn: it does its work at once. */
  wait(level: string): Promise<void>;
  readonly waiting: number;
}

/** `afterOtherWork` calls back when the event loop has been round. */
export function createTurns(afterOtherWork: (next: () => void) => void): Turns {
  const lines = new Map<string, (() => void)[]>();
  let isRunning = false;
  let waiting = 0;
  const next = () => {
    const [first] = lines;
    if (first === undefined) {
      isRunning = false;
      return;
    }
    const [level, line] = first;
    const start = line.shift();
    lines.delete(level);
    if (line.length > 0) lines.set(level, line);
    waiting -= 1;
    start?.();
    afterOtherWork(next);
  };
  return {
    wait: (level) =>
      new Promise((resolve) => {
        waiting += 1;
        const line = lines.get(level);
        if (line === undefined) lines.set(level, [resolve]);
        else line.push(resolve);
        if (isRunning) return;
        isRunning = true;
        afterOtherWork(next);
      }),
    get waiting() {
      return waiting;
    },
  };
}
