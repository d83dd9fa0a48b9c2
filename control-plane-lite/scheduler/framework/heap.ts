// A binary heap: the queue of pods and the ranking of nodes.

export interface Heap<T> {
  push(item: T): void;
  /** The first item, left in place. */
  peek(): T | undefined;
  pop(): T | undefined;
  clear(): void;
  readonly size: number;
}

/** `before(a, b)` says whether `a` comes first. */
export function createHeap<T>(before: (a: T, b: T) => boolean): Heap<T> {
  let items: T[] = [];

  function sink(item: T): void {
    const half = items.length >> 1;
    let at = 0;
    while (at < half) {
      let child = 2 * at + 1;
      const right = items[child + 1];
      let least = items[child] as T;
      if (right !== undefined && before(right, least)) {
        child += 1;
        least = right;
      }
      if (!before(least, item)) break;
      items[at] = least;
      at = child;
    }
    items[at] = item;
  }

  return {
    push(item) {
      let at = items.length;
      while (at > 0) {
        const parent = (at - 1) >> 1;
        const above = items[parent] as T;
        if (!before(item, above)) break;
        items[at] = above;
        at = parent;
      }
      items[at] = item;
    },
    peek: () => items[0],
    pop() {
      const first = items[0];
      const last = items.pop();
      if (last !== undefined && items.length > 0) sink(last);
      return first;
    },
    clear() {
      items = [];
    },
    get size() {
      return items.length;
    },
  };
}
