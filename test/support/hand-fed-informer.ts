// An informer whose events the test gives.
import { type KubeObject, objectKey } from '#kube/api/resource.ts';
import { createStore } from '#kube/informer/store.ts';
import type { IndexFunction, Informer, InformerHandlers } from '#kube/informer/types.ts';

export interface HandFedInformer<T extends KubeObject> {
  informer: Informer<T>;
  show(object: T): void;
  remove(object: T): void;
}

export function createHandFedInformer<T extends KubeObject>(
  indexes: Record<string, IndexFunction<T>> = {},
): HandFedInformer<T> {
  const store = createStore<T>(indexes);
  const subscribers: InformerHandlers<T>[] = [];
  const informer: Informer<T> = {
    ...store,
    get size() {
      return store.size;
    },
    subscribe(handlers) {
      subscribers.push(handlers);
      for (const object of store.list()) handlers.added?.(object);
    },
    run: async () => undefined,
    synced: Promise.resolve(),
    hasSynced: true,
    resourceVersion: '1',
  };
  return {
    informer,
    show(object) {
      const previous = store.set(object);
      for (const handlers of subscribers) {
        if (previous === undefined) handlers.added?.(object);
        else handlers.updated?.(previous, object);
      }
    },
    remove(object) {
      store.delete(objectKey(object));
      for (const handlers of subscribers) handlers.deleted?.(object);
    },
  };
}
