// All objects of one resource as bytes, the recent changes to them, and who watches. Reads never touch the disk
// unless they go back further than memory does.
import { type Backend, CompactedError, FutureRevisionError, type StoredEntry, type StoreEvent } from '../backend.ts';
import { withRevision } from '../object-bytes.ts';
import { rangeAt } from '../range-at.ts';
import { type Attributes, type AttributesReader, attributesOf } from './attributes.ts';
import { SortedKeys } from './sorted-keys.ts';
import { createWatchers, type ExactField } from './watchers.ts';

/** Whether an object belongs to a list or watch. Absent: all do. */
export type Match = ((attributes: Attributes) => boolean) & {
  /** What all that belong have in common, where that is known: watches are told apart by it. */
  readonly exact?: ExactField | undefined;
};

export interface CacheListOptions {
  prefix: string;
  match?: Match | undefined;
  /** Exactly this revision; absent: now. */
  revision?: number | undefined;
  limit?: number | undefined;
  startAfter?: string | undefined;
}

export interface CacheList {
  revision: number;
  entries: StoredEntry[];
  more: boolean;
  /** Objects after the last one of this page; only when nothing filters. */
  remaining: number | undefined;
}

export interface WatchNotice {
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  entry: StoredEntry;
  /** What the change replaced. */
  previous?: StoredEntry | undefined;
}

export type WatchListener = (notices: readonly WatchNotice[], revision: number) => void;

/** The objects that a watch is about. */
export interface Selection {
  prefix: string;
  match: Match | undefined;
}

interface Watcher extends Selection {
  listener: WatchListener;
}

const ringCapacity = 8192;

/** One resource of the watch cache. */
export class ResourceCache {
  readonly #prefix: string;
  readonly #read: AttributesReader;
  readonly #backend: Backend;
  readonly #entries = new Map<string, StoredEntry>();
  readonly #keys = new SortedKeys();
  readonly #watchers = createWatchers<Watcher, StoreEvent>();
  readonly #left = new WeakMap<StoreEvent, StoredEntry>();
  #ring: StoreEvent[] = [];
  /** The ring holds every change after this revision. */
  #ringFloor = 0;
  #revision = 0;

  constructor(prefix: string, read: AttributesReader, backend: Backend) {
    this.#prefix = prefix;
    this.#read = read;
    this.#backend = backend;
  }

  /** Revision of the newest state of the whole store that this cache reflects. */
  get revision(): number {
    return this.#revision;
  }

  get size(): number {
    return this.#entries.size;
  }

  get watcherCount(): number {
    return this.#watchers.size;
  }

  load(entry: StoredEntry): void {
    this.#entries.set(entry.key, entry);
    this.#keys.add(entry.key);
  }

  start(revision: number): void {
    this.#revision = revision;
    this.#ringFloor = revision;
  }

  get(key: string): StoredEntry | undefined {
    return this.#entries.get(key);
  }

  /** Every entry of a prefix, in key order. */
  *walk(prefix = this.#prefix): Generator<StoredEntry> {
    for (const key of this.#keys.range(prefix)) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) yield entry;
    }
  }

  /** What selectors look at, of an object at hand. */
  read(object: Record<string, unknown>): Attributes {
    return this.#read(object);
  }

  attributes(entry: StoredEntry): Attributes {
    return attributesOf(entry, this.#read);
  }

  /** Takes in durable changes of this resource and tells the watchers. `revision` is that of the whole group. */
  apply(events: readonly StoreEvent[], revision: number): void {
    for (const event of events) {
      const { key } = event.entry;
      if (event.type === 'delete') {
        this.#entries.delete(key);
        this.#keys.remove(key);
      } else {
        if (!this.#entries.has(key)) this.#keys.add(key);
        this.#entries.set(key, event.entry);
      }
      this.#ring.push(event);
    }
    if (this.#ring.length > 2 * ringCapacity) {
      this.#ringFloor = this.#ring[this.#ring.length - ringCapacity - 1]?.revision ?? this.#ringFloor;
      this.#ring = this.#ring.slice(-ringCapacity);
    }
    this.#revision = revision;
    if (events.length === 0) return;
    const states = ({ entry, previous }: StoreEvent) =>
      previous === undefined ? [this.attributes(entry)] : [this.attributes(entry), this.attributes(previous)];
    for (const [watcher, theirs] of this.#watchers.concerned(events, states)) {
      const notices = this.#noticesFor(watcher, theirs);
      if (notices.length > 0) watcher.listener(notices, revision);
    }
  }

  advance(revision: number): void {
    this.#revision = revision;
  }

  /** Drops remembered changes up to a revision; they can still be read from the store until it compacts them. */
  trim(revision: number): void {
    const keep = this.#ring.findIndex((event) => event.revision > revision);
    this.#ring = keep < 0 ? [] : this.#ring.slice(keep);
    this.#ringFloor = Math.max(this.#ringFloor, revision);
  }

  /** The object as the store has it now, writes of others included. */
  async getNewest(key: string): Promise<StoredEntry | undefined> {
    return this.#backend.isShared ? await this.#backend.get(key) : this.get(key);
  }

  /** The list as the store has it now, writes of others included. */
  async listNewest(options: Omit<CacheListOptions, 'revision'>): Promise<CacheList> {
    if (!this.#backend.isShared) return await this.list(options);
    const { prefix, startAfter } = options;
    const { revision, entries } = await this.#backend.range(prefix, { startAfter });
    return this.#page(entries, revision, options);
  }

  /** Throws CompactedError or FutureRevisionError for a revision that cannot be answered. */
  async list(options: CacheListOptions): Promise<CacheList> {
    const { prefix, startAfter = '' } = options;
    const revision = options.revision ?? this.#revision;
    if (revision > this.#revision) throw new FutureRevisionError(revision, this.#revision);
    const source =
      revision === this.#revision
        ? this.#walkAfter(prefix, startAfter)
        : rangeAt(this.walk(prefix), await this.#changesAfter(revision), prefix, revision, { startAfter }).entries;
    return this.#page(source, revision, options);
  }

  #page(source: Iterable<StoredEntry>, revision: number, { match, limit = 0 }: CacheListOptions): CacheList {
    const entries: StoredEntry[] = [];
    let more = false;
    let remaining = 0;
    for (const entry of source) {
      if (match !== undefined && !match(this.attributes(entry))) continue;
      if (limit > 0 && entries.length === limit) {
        more = true;
        remaining += 1;
        if (match !== undefined) break;
        continue;
      }
      entries.push(entry);
    }
    return { revision, entries, more, remaining: more && match === undefined ? remaining : undefined };
  }

  /**
   * Hands the changes after `afterRevision` that already happened to `begin`. What `begin` follows from then on
   * it misses nothing of. Throws CompactedError or FutureRevisionError.
   */
  async resume(selection: Selection, afterRevision: number, begin: WatchListener): Promise<void> {
    const before = await this.#changesAfter(afterRevision);
    const seen = before.at(-1)?.revision ?? afterRevision;
    const missed = [...before, ...this.#ring.filter((event) => event.revision > seen)];
    begin(this.#noticesFor(selection, missed), this.#revision);
  }

  /** Tells `listener` each change from now on, as it becomes durable. Returns how to stop. */
  follow(selection: Selection, listener: WatchListener): () => void {
    const watcher: Watcher = { ...selection, listener };
    const exact = selection.match?.exact;
    this.#watchers.add(watcher, exact);
    return () => this.#watchers.delete(watcher, exact);
  }

  *#walkAfter(prefix: string, startAfter: string): Generator<StoredEntry> {
    for (const key of this.#keys.range(prefix, startAfter)) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) yield entry;
    }
  }

  async #changesAfter(revision: number): Promise<StoreEvent[]> {
    if (revision < this.#ringFloor) return await this.#backend.history(revision, this.#prefix);
    if (revision < this.#backend.compactedRevision) throw new CompactedError(revision, this.#backend.compactedRevision);
    let low = 0;
    let high = this.#ring.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ring[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#ring.slice(low);
  }

  #noticesFor(watcher: Selection, events: readonly StoreEvent[]): WatchNotice[] {
    const notices: WatchNotice[] = [];
    for (const event of events) {
      const { type, entry, previous } = event;
      if (!entry.key.startsWith(watcher.prefix)) continue;
      const { match } = watcher;
      const was = previous !== undefined && (match === undefined || match(this.attributes(previous)));
      const is = type === 'put' && (match === undefined || match(this.attributes(entry)));
      if (is) notices.push({ type: was ? 'MODIFIED' : 'ADDED', entry, previous });
      else if (was) {
        const gone = type === 'put' ? this.#asItLeft(event, previous) : entry;
        notices.push({ type: 'DELETED', entry: gone, previous });
      }
    }
    return notices;
  }

  /** Who watches a selection that an object has left is shown the object as it belonged to it. */
  #asItLeft(event: StoreEvent, previous: StoredEntry): StoredEntry {
    let entry = this.#left.get(event);
    if (entry === undefined) {
      entry = withNewRevision(previous, event.revision);
      this.#left.set(event, entry);
    }
    return entry;
  }
}

/** The same state, as of another revision. */
export function withNewRevision(entry: StoredEntry, revision: number): StoredEntry {
  return { key: entry.key, revision, value: withRevision(entry.value, revision), memo: entry.memo };
}
