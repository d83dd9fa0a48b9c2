// ConfigMaps and Secrets that pods on this node refer to: one watch per object, as the node authorizer allows, kept
// while a pod needs it.
import type { Logger } from 'pino';
import type { ConfigMap, Secret } from '#kube/api/generated/core-v1.ts';
import { configmaps, secrets } from '#kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';

/** Idle watches are kept so long for the next pod that needs the object. */
const lingerMs = 30_000;

export interface ObjectCacheOptions {
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  /** An object changed that these pods use. */
  changed: (podUids: string[]) => void;
}

/** Reads objects on behalf of pods. Undefined: the object does not exist. */
export interface ObjectCache {
  configMap(podUid: string, namespace: string, name: string, signal?: AbortSignal): Promise<ConfigMap | undefined>;
  secret(podUid: string, namespace: string, name: string, signal?: AbortSignal): Promise<Secret | undefined>;
  /** The pod needs nothing any more. */
  release(podUid: string): void;
  /** Ends all watches. */
  close(): Promise<void>;
}

interface Watched<T extends KubeObject> {
  informer: Informer<T>;
  users: Set<string>;
  stop: AbortController;
  done: Promise<void>;
}

/** The watches of one kind. */
function watchKind<T extends KubeObject>(resource: Resource<T>, options: ObjectCacheOptions) {
  const { client, clock, logger } = options;
  const watched = new Map<string, Watched<T>>();

  function open(namespace: string, name: string): Watched<T> {
    const users = new Set<string>();
    const stop = new AbortController();
    const fieldSelector = `metadata.name=${name}`;
    const informer = createInformer({ client, resource, namespace, fieldSelector, clock, logger });
    const notify = () => {
      if (informer.hasSynced) options.changed([...users]);
    };
    informer.subscribe({ added: notify, updated: notify, deleted: notify });
    return { informer, users, stop, done: informer.run(stop.signal) };
  }

  async function get(podUid: string, namespace: string, name: string, signal?: AbortSignal): Promise<T | undefined> {
    const key = `${namespace}/${name}`;
    let entry = watched.get(key);
    if (entry === undefined) {
      entry = open(namespace, name);
      watched.set(key, entry);
    }
    entry.users.add(podUid);
    if (!entry.informer.hasSynced) await firstOf(entry.informer.synced, signal);
    return entry.informer.get(key);
  }

  function release(podUid: string): void {
    for (const [key, entry] of watched) {
      if (!entry.users.delete(podUid) || entry.users.size > 0) continue;
      clock.after(lingerMs, () => {
        if (entry.users.size > 0 || watched.get(key) !== entry) return;
        watched.delete(key);
        entry.stop.abort();
      });
    }
  }

  async function close(): Promise<void> {
    const all = [...watched.values()];
    watched.clear();
    for (const entry of all) entry.stop.abort();
    await Promise.all(all.map((entry) => entry.done));
  }

  return { get, release, close };
}

async function firstOf(synced: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return synced;
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([synced, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Creates the cache; watches begin with the first read. */
export function createObjectCache(options: ObjectCacheOptions): ObjectCache {
  const configMapWatches = watchKind(configmaps, options);
  const secretWatches = watchKind(secrets, options);
  return {
    configMap: configMapWatches.get,
    secret: secretWatches.get,
    release(podUid) {
      configMapWatches.release(podUid);
      secretWatches.release(podUid);
    },
    async close() {
      await Promise.all([configMapWatches.close(), secretWatches.close()]);
    },
  };
}
