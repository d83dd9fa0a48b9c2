// Who watches a resource. Those who want one value of one field, as each agent wants the pods of its node, are asked
// about changes with that value only: thousands of them cost a change no more than one.
import type { Attributes } from './attributes.ts';

/** A field that every object of a selection has with this value. */
export interface ExactField {
  field: string;
  value: string;
}

export interface Watchers<W, E> {
  add(watcher: W, exact: ExactField | undefined): void;
  delete(watcher: W, exact: ExactField | undefined): void;
  readonly size: number;
  /** The watchers whom some of the events may concern, with those events. */
  concerned(events: readonly E[], attributesOf: (event: E) => readonly Attributes[]): Iterable<[W, readonly E[]]>;
}

/** Nobody watches yet. */
export function createWatchers<W, E>(): Watchers<W, E> {
  const wide = new Set<W>();
  /** By field, then by value. */
  const narrow = new Map<string, Map<string, Set<W>>>();
  let narrowCount = 0;

  return {
    add(watcher, exact) {
      if (exact === undefined) {
        wide.add(watcher);
        return;
      }
      const values = narrow.get(exact.field) ?? new Map<string, Set<W>>();
      narrow.set(exact.field, values);
      const watchers = values.get(exact.value) ?? new Set<W>();
      values.set(exact.value, watchers);
      watchers.add(watcher);
      narrowCount += 1;
    },
    delete(watcher, exact) {
      if (exact === undefined) {
        wide.delete(watcher);
        return;
      }
      const values = narrow.get(exact.field);
      const watchers = values?.get(exact.value);
      if (watchers?.delete(watcher) !== true) return;
      narrowCount -= 1;
      if (watchers.size === 0) values?.delete(exact.value);
      if (values?.size === 0) narrow.delete(exact.field);
    },
    get size() {
      return wide.size + narrowCount;
    },
    *concerned(events, attributesOf) {
      for (const watcher of wide) yield [watcher, events];
      if (narrow.size === 0) return;
      const found = new Map<Set<W>, E[]>();
      for (const event of events) {
        const states = attributesOf(event);
        for (const [field, values] of narrow) {
          for (const value of new Set(states.map(({ fields }) => fields[field] ?? ''))) {
            const watchers = values.get(value);
            if (watchers === undefined) continue;
            const theirs = found.get(watchers);
            if (theirs === undefined) found.set(watchers, [event]);
            else theirs.push(event);
          }
        }
      }
      for (const [watchers, theirs] of found) for (const watcher of watchers) yield [watcher, theirs];
    },
  };
}
