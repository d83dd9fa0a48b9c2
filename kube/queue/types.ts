// The contract of the work queue: the one owner of retries for the keys of a component.

/** Deduplicating queue of keys: a key is handed to one worker at a time and added again if it changed meanwhile. */
export interface WorkQueue<K> {
  add(key: K): void;
  addAfter(key: K, delayMs: number): void;
  /** Adds after the key's own exponential backoff. */
  addRateLimited(key: K): void;
  /** Resets the key's backoff. */
  forget(key: K): void;
  retries(key: K): number;
  /** Milliseconds until the key comes back by itself; undefined when nothing but a change will bring it back. */
  dueInMs(key: K): number | undefined;
  readonly length: number;
  /**
   * Runs `concurrency` workers until the signal is aborted, then drains. A handler that throws is
   * logged and its key is added again rate limited; one that returns resets the backoff;
   * one that returns `{ requeueAfterMs }` is also added again after that time.
   */
  run(
    handler: (key: K, signal: AbortSignal) => Promise<void | { requeueAfterMs: number }>,
    options: { concurrency: number; signal: AbortSignal },
  ): Promise<void>;
}
