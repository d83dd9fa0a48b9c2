// The local copy behind an informer: objects by key, and the declared indices kept up to date with them.
import { type KubeObject, objectKey } from '../api/resource.ts';
import type { IndexFunction, Lister } from './types.ts';

/** One object's way from what was stored to what is stored; either side may be missing. */
export interface StoreChange<T> {
  previous: T | undefined;
  current: T | undefined;
}

export interface Store<T extends KubeObject> extends Lister<T> {
  /** Stores the object and returns what it replaced. */
  set(object: T): T | undefined;
  /** Removes by key and returns what was stored. */
  delete(key: string): T | undefined;
  /** Makes the store hold exactly `objects`; returns every object that differs from before. */
  replace(objects: readonly T[]): StoreChange<T>[];
}

const namespaceIndex = 'namespace';

interface Index<T> {
  valuesOf: IndexFunction<T>;
  byValue: Map<string, Map<string, T>>;
}

/** Creates an empty store. An index by namespace is always there. */
export function createStore<T extends KubeObject>(indexes: Record<string, IndexFunction<T>> = {}): Store<T> {
  const objects = new Map<string, T>();
  const declared = { ...indexes, [namespaceIndex]: (object: T) => [object.metadata.namespace ?? ''] };
  const indices = new Map<string, Index<T>>(
    Object.entries(declared).map(([name, valuesOf]) => [name, { valuesOf, byValue: new Map() }]),
  );

  function unindex(key: string, object: T): void {
    for (const { valuesOf, byValue } of indices.values()) {
      for (const value of valuesOf(object)) {
        const bucket = byValue.get(value);
        bucket?.delete(key);
        if (bucket?.size === 0) byValue.delete(value);
      }
    }
  }

  function index(key: string, object: T): void {
    for (const { valuesOf, byValue } of indices.values()) {
      for (const value of valuesOf(object)) {
        const bucket = byValue.get(value);
        if (bucket === undefined) byValue.set(value, new Map([[key, object]]));
        else bucket.set(key, object);
      }
    }
  }

  function set(object: T): T | undefined {
    const key = objectKey(object);
    const previous = objects.get(key);
    if (previous !== undefined) unindex(key, previous);
    objects.set(key, object);
    index(key, object);
    return previous;
  }

  function remove(key: string): T | undefined {
    const previous = objects.get(key);
    if (previous === undefined) return undefined;
    unindex(key, previous);
    objects.delete(key);
    return previous;
  }

  function byIndex(name: string, value: string): T[] {
    const found = indices.get(name);
    if (found === undefined) throw new Error(`index ${JSON.stringify(name)} is not declared`);
    const bucket = found.byValue.get(value);
    return bucket === undefined ? [] : [...bucket.values()];
  }

  return {
    set,
    delete: remove,
    replace(next) {
      const changes: StoreChange<T>[] = [];
      const kept = new Set(next.map((object) => objectKey(object)));
      for (const key of [...objects.keys()]) {
        if (!kept.has(key)) changes.push({ previous: remove(key), current: undefined });
      }
      for (const object of next) {
        const previous = objects.get(objectKey(object));
        const same =
          previous !== undefined &&
          previous.metadata.resourceVersion === object.metadata.resourceVersion &&
          previous.metadata.uid === object.metadata.uid;
        if (same) continue;
        set(object);
        changes.push({ previous, current: object });
      }
      return changes;
    },
    get: (key) => objects.get(key),
    list: () => [...objects.values()],
    byNamespace: (namespace) => byIndex(namespaceIndex, namespace),
    byIndex,
    get size() {
      return objects.size;
    },
  };
}
