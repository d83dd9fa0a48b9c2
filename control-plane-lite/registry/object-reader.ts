// Parsed objects for the server's own use (admission, authorization, strategies): parsed once per stored value.
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { StoredEntry } from '../storage/backend.ts';
import type { WatchCache } from '../storage/cache/watch-cache.ts';
import type { ResourceTable } from './resource-table.ts';

/** Reads of durable state. Objects are shared: callers never modify them. */
export interface ObjectReader {
  get<T extends KubeObject>(resource: Resource<T>, namespace: string, name: string): T | undefined;
  /** Absent namespace: all of them. */
  list<T extends KubeObject>(resource: Resource<T>, namespace?: string): T[];
}

/** The parsed object of a stored value, kept as long as the value is. */
export type ObjectParser = (entry: StoredEntry) => KubeObject;

export function createObjectParser(): ObjectParser {
  const parsed = new WeakMap<StoredEntry, KubeObject>();
  return (entry) => {
    let object = parsed.get(entry);
    if (object === undefined) {
      object = JSON.parse(entry.value.toString()) as KubeObject;
      parsed.set(entry, object);
    }
    return object;
  };
}

export function createObjectReader(cache: WatchCache, table: ResourceTable, parse: ObjectParser): ObjectReader {
  const prefixOf = (resource: Resource) => table.get(resource).storagePrefix;
  return {
    get: <T extends KubeObject>(resource: Resource<T>, namespace: string, name: string) => {
      const prefix = prefixOf(resource);
      const entry = cache.resource(prefix).get(objectKeyIn(prefix, namespace, name));
      return entry === undefined ? undefined : (parse(entry) as T);
    },
    list: <T extends KubeObject>(resource: Resource<T>, namespace = '') => {
      const prefix = prefixOf(resource);
      const within = namespace === '' ? prefix : `${prefix}${namespace}/`;
      return [...cache.resource(prefix).walk(within)].map((entry) => parse(entry) as T);
    },
  };
}

/** The key of an object; namespace is empty for cluster-scoped kinds. */
export function objectKeyIn(prefix: string, namespace: string, name: string): string {
  return namespace === '' ? `${prefix}${name}` : `${prefix}${namespace}/${name}`;
}
