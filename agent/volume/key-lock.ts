// One at a time for each key: operations on one volume of the node never overlap.

/** Runs `work` when everything earlier with the same key has ended. */
export type KeyLock = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/** Creates a lock; keys that nobody waits for take no space. */
export function createKeyLock(): KeyLock {
  const last = new Map<string, Promise<unknown>>();
  return async (key, work) => {
    const before = last.get(key);
    const turn = (before ?? Promise.resolve()).then(work, work);
    const settled = turn.catch(() => undefined);
    last.set(key, settled);
    try {
      return await turn;
    } finally {
      if (last.get(key) === settled) last.delete(key);
    }
  };
}
