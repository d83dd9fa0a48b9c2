// The durable state of the whole store in memory, by resource. Every read of the API server is answered from here.
import type { Backend, StoredEntry, StoreEvent } from '../backend.ts';
import type { AttributesReader } from './attributes.ts';
import { ResourceCache } from './resource-cache.ts';

export interface CachedResource {
  /** For example `/registry/pods/`. */
  prefix: string;
  read: AttributesReader;
}

export type ChangeListener = (event: StoreEvent) => void;

/** Resource caches fed by one store. */
export class WatchCache {
  readonly #backend: Backend;
  readonly #caches = new Map<string, ResourceCache>();
  readonly #listeners = new Map<string, ChangeListener[]>();
  #revision = 0;
  readonly #waiters: { revision: number; resolve: () => void }[] = [];

  constructor(backend: Backend, resources: readonly CachedResource[]) {
    this.#backend = backend;
    for (const { prefix, read } of resources) this.#caches.set(prefix, new ResourceCache(prefix, read, backend));
  }

  get revision(): number {
    return this.#revision;
  }

  /** Begins to hold a prefix that was not declared at the start. Resolves when it can be read. */
  async declare({ prefix, read }: CachedResource): Promise<void> {
    if (this.#caches.has(prefix)) return;
    const cache = new ResourceCache(prefix, read, this.#backend);
    cache.start(this.#revision);
    this.#caches.set(prefix, cache);
    const { entries } = await this.#backend.range(prefix);
    for (const entry of entries) if (cache.get(entry.key) === undefined) cache.load(entry);
  }

  /** The cache of a prefix. Throws for a prefix that was not declared. */
  resource(prefix: string): ResourceCache {
    const cache = this.#caches.get(prefix);
    if (cache === undefined) throw new Error(`no resource is stored below ${prefix}`);
    return cache;
  }

  get resources(): Iterable<[string, ResourceCache]> {
    return this.#caches;
  }

  /** Calls back with every durable change below a declared prefix, before any watcher hears of it. */
  onChange(prefix: string, listener: ChangeListener): void {
    this.#listeners.set(prefix, [...(this.#listeners.get(prefix) ?? []), listener]);
  }

  start(revision: number, entries: Iterable<StoredEntry>): void {
    for (const entry of entries) this.#cacheOf(entry.key)?.[1].load(entry);
    for (const cache of this.#caches.values()) cache.start(revision);
    this.#revision = revision;
  }

  apply(events: readonly StoreEvent[]): void {
    const revision = events.at(-1)?.revision ?? this.#revision;
    const grouped = new Map<string, StoreEvent[]>();
    for (const event of events) {
      const found = this.#cacheOf(event.entry.key);
      if (found === undefined) continue;
      const group = grouped.get(found[0]);
      if (group === undefined) grouped.set(found[0], [event]);
      else group.push(event);
    }
    for (const [prefix, group] of grouped) {
      for (const listener of this.#listeners.get(prefix) ?? []) for (const event of group) listener(event);
    }
    this.#revision = revision;
    for (const cache of this.#caches.values()) cache.advance(revision);
    for (const [prefix, group] of grouped) this.#caches.get(prefix)?.apply(group, revision);
    while ((this.#waiters[0]?.revision ?? Number.POSITIVE_INFINITY) <= revision) this.#waiters.shift()?.resolve();
  }

  trim(revision: number): void {
    for (const cache of this.#caches.values()) cache.trim(revision);
  }

  /** Resolves when reads reflect the revision, or when the signal says that nobody waits any more. */
  async reached(revision: number, signal?: AbortSignal): Promise<void> {
    if (this.#revision >= revision) return;
    await new Promise<void>((resolve) => {
      const waiter = { revision, resolve };
      this.#waiters.push(waiter);
      this.#waiters.sort((a, b) => a.revision - b.revision);
      signal?.addEventListener('abort', () => {
        const at = this.#waiters.indexOf(waiter);
        if (at >= 0) this.#waiters.splice(at, 1);
        resolve();
      });
    });
  }

  /** Keys are `/registry/PLURAL/…` or `/registry/GROUP/PLURAL/…`. */
  #cacheOf(key: string): [string, ResourceCache] | undefined {
    const first = key.indexOf('/', 10) + 1;
    for (const end of [first, key.indexOf('/', first) + 1]) {
      const prefix = key.slice(0, end);
      const cache = this.#caches.get(prefix);
      if (cache !== undefined) return [prefix, cache];
    }
    return undefined;
  }
}

/** Fills a cache from the store and keeps it current. Returns how to stop following. */
export async function followBackend(backend: Backend, cache: WatchCache): Promise<() => void> {
  const early: StoreEvent[] = [];
  let isStarted = false;
  const stop = backend.subscribe((events) => {
    if (isStarted) cache.apply(events);
    else early.push(...events);
  });
  const present = await backend.range('/registry/');
  cache.start(present.revision, present.entries);
  isStarted = true;
  const missed = early.filter((event) => event.revision > present.revision);
  if (missed.length > 0) cache.apply(missed);
  return stop;
}
