// An informer: a reflector that feeds a store, and the handlers that are told of every change.
import type { Logger } from 'pino';
import { type KubeObject, objectKey, type Resource } from '../api/resource.ts';
import type { ApiClient } from '../client/types.ts';
import type { Clock } from '../process/clock.ts';
import { runReflector } from './reflector.ts';
import type { ReflectorEffect } from './reflector-machine.ts';
import { createStore, type StoreChange } from './store.ts';
import type { IndexFunction, Informer, InformerHandlers } from './types.ts';

export interface InformerOptions<T extends KubeObject> {
  client: ApiClient;
  resource: Resource<T>;
  /** All namespaces where absent. */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  indexes?: Record<string, IndexFunction<T>>;
  clock: Clock;
  logger: Logger;
  /** Ask for a streaming list first; true where absent. */
  streaming?: boolean;
  random?: () => number;
  /** What is stored of each object; for caches that need little of it. */
  transform?: (object: T) => T;
}

/** Creates an informer; `run` starts it. Managed fields are dropped from stored objects: nobody here reads them. */
export function createInformer<T extends KubeObject>(options: InformerOptions<T>): Informer<T> {
  const { client, resource, clock, random = Math.random, streaming = true } = options;
  const logger = options.logger.child({ resource: resource.plural });
  const store = createStore<T>(options.indexes);
  const subscribers: InformerHandlers<T>[] = [];
  const firstList = Promise.withResolvers<void>();
  let hasSynced = false;
  let resourceVersion = '';

  function tell({ previous, current }: StoreChange<T>): void {
    for (const handlers of subscribers) {
      if (current === undefined) {
        if (previous !== undefined) handlers.deleted?.(previous);
      } else if (previous === undefined) {
        handlers.added?.(current);
      } else if (previous.metadata.uid !== current.metadata.uid) {
        // Deleted and created again under the same name while nobody watched.
        handlers.deleted?.(previous);
        handlers.added?.(current);
      } else {
        handlers.updated?.(previous, current);
      }
    }
  }

  function trimmed(object: T): T {
    if (object.metadata.managedFields !== undefined) object.metadata.managedFields = undefined;
    return options.transform === undefined ? object : options.transform(object);
  }

  function apply(effect: ReflectorEffect<T>): void {
    resourceVersion = effect.resourceVersion;
    switch (effect.type) {
      case 'replace':
        for (const change of store.replace(effect.items.map(trimmed))) tell(change);
        hasSynced = true;
        firstList.resolve();
        return;
      case 'set': {
        const current = trimmed(effect.object);
        tell({ previous: store.set(current), current });
        return;
      }
      case 'delete': {
        store.delete(objectKey(effect.object));
        tell({ previous: trimmed(effect.object), current: undefined });
        return;
      }
      case 'advance':
        return;
      default:
        effect satisfies never;
    }
  }

  return {
    subscribe(handlers) {
      subscribers.push(handlers);
      for (const object of store.list()) handlers.added?.(object);
    },
    run: async (signal) => {
      const { namespace, labelSelector, fieldSelector } = options;
      const scope = { namespace, labelSelector, fieldSelector };
      await runReflector({ client, resource, ...scope, streaming, clock, logger, random, apply }, signal);
    },
    synced: firstList.promise,
    get hasSynced() {
      return hasSynced;
    },
    get resourceVersion() {
      return resourceVersion;
    },
    get: store.get,
    list: store.list,
    byNamespace: store.byNamespace,
    byIndex: store.byIndex,
    get size() {
      return store.size;
    },
  };
}
