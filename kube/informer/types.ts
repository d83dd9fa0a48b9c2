// The contract of informers: a local, indexed, eventually consistent copy of one resource.
import type { KubeObject } from '../api/resource.ts';

/** Reads from the local copy. Objects are shared: callers never modify them. */
export interface Lister<T extends KubeObject> {
  /** By `namespace/name`, or `name` for cluster-scoped objects. */
  get(key: string): T | undefined;
  list(): T[];
  byNamespace(namespace: string): T[];
  /** Objects whose index function returned `value`. Throws for an index that was not declared. */
  byIndex(index: string, value: string): T[];
  readonly size: number;
}

export type IndexFunction<T> = (object: T) => string[];

export interface InformerHandlers<T extends KubeObject> {
  added?(object: T): void;
  updated?(previous: T, object: T): void;
  /** The last state known; a deletion missed by a broken watch is found by the next list. */
  deleted?(object: T): void;
}

/** One list-watch feeding one store. `run` resolves when the signal is aborted and the watch is closed. */
export interface Informer<T extends KubeObject> extends Lister<T> {
  /** Handlers see every object already stored as added. They must not throw. */
  subscribe(handlers: InformerHandlers<T>): void;
  run(signal: AbortSignal): Promise<void>;
  /** Resolves when the first list is in the store. */
  readonly synced: Promise<void>;
  readonly hasSynced: boolean;
  /** The resourceVersion of the newest state seen. */
  readonly resourceVersion: string;
}
