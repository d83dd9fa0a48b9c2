// An ordered set of keys: lists walk it, a namespace is a contiguous run of it.

/** Keys in ascending order. Insertions and removals move memory, lookups halve. */
export class SortedKeys {
  readonly #keys: string[] = [];

  /** Index of the first key that is not below `key`. */
  lowerBound(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  add(key: string): void {
    const last = this.#keys.at(-1);
    if (last === undefined || last < key) {
      this.#keys.push(key);
      return;
    }
    const at = this.lowerBound(key);
    if (this.#keys[at] !== key) this.#keys.splice(at, 0, key);
  }

  remove(key: string): void {
    const at = this.lowerBound(key);
    if (this.#keys[at] === key) this.#keys.splice(at, 1);
  }

  /** Keys that start with `prefix` and come after `startAfter`, in order. */
  *range(prefix: string, startAfter = ''): Generator<string> {
    let at = this.lowerBound(startAfter > prefix ? startAfter : prefix);
    if (this.#keys[at] === startAfter) at += 1;
    for (; at < this.#keys.length; at += 1) {
      const key = this.#keys[at] ?? '';
      if (!key.startsWith(prefix)) return;
      yield key;
    }
  }
}
