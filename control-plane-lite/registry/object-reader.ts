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

/** The object of a stored value. Every call gives a fresh copy that the caller may change. */
export type ObjectParser = (entry: StoredEntry) => KubeObject;

export const parseEntry: ObjectParser = (entry) => JSON.parse(entry.value.toString()) as KubeObject;

/** Parses each value once, for as long as somebody holds the entry. */
function createCachingParser(): ObjectParser {
  const parsed = new WeakMap<StoredEntry, KubeObject>();
  return (entry) => {
    let object = parsed.get(entry);
    if (object === undefined) {
      object = parseEntry(entry);
      parsed.set(entry, object);
    }
    return object;
  };
}

export function createObjectReader(cache: WatchCache, table: ResourceTable): ObjectReader {
  const parse = createCachingParser();
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
