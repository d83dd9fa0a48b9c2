// The store on etcd: keys and values as a stock API server keeps them, so that either can take over from the other.
// Writes are compare-and-swap; everything that happens comes back through one watch, whose events are kept for a while.
// Older history is asked of etcd, until it has compacted it.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import {
  type Backend,
  CompactedError,
  FutureRevisionError,
  type RangeOptions,
  type RangeResult,
  type StoredEntry,
  type StoreEvent,
  type StoreListener,
  type Write,
} from '../backend.ts';
import { plainValues, type ValueSealer } from '../encryption/value-sealer.ts';
import { serialiseAround, withRevision } from '../object-bytes.ts';
import type { EtcdClient, KeyValue, WatchedEvent } from './etcd-client.ts';
import { fetchHistory } from './fetch-history.ts';
import { type DecodeStored, readStored } from './stored-form.ts';

/** Everything below it is followed. */
const root = '/';
const historyLimit = 20_000;
/** Written where nothing has happened yet, so that a watch from the past comes to an end. */
const markKey = '/registry/ranges/history-mark';
/** Who is further behind lists again. */
const maxFetched = 100_000;
const reconnectMs = 500;
const maxAttempts = 100;
/** gRPC's OUT_OF_RANGE: etcd's answer for a revision that is compacted or has not happened. */
const outOfRange = 11;

/** The first key after all keys with the prefix. */
function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  for (let at = end.length - 1; at >= 0; at -= 1) {
    const byte = end[at] ?? 0xff;
    if (byte === 0xff) continue;
    end[at] = byte + 1;
    return end.subarray(0, at + 1);
  }
  return Buffer.from([0]);
}

class EtcdBackend implements Backend {
  readonly isShared = true;
  readonly #client: EtcdClient;
  readonly #logger: Logger;
  readonly #prefix: string;
  readonly #sealer: ValueSealer;
  readonly #decode: DecodeStored | undefined;
  readonly #listeners = new Set<StoreListener>();
  #history: StoreEvent[] = [];
  #historyFloor: number;
  #revision: number;
  #compactedRevision = 0;
  #fetching: Promise<void> = Promise.resolve();
  #stopWatch: () => void = () => undefined;
  #waiters: { revision: number; resolve: () => void }[] = [];
  #isClosed = false;
  #failure: Error | undefined;

  constructor(
    client: EtcdClient,
    logger: Logger,
    revision: number,
    { prefix = '', sealer = plainValues, decode }: EtcdOptions,
  ) {
    this.#client = client;
    this.#logger = logger;
    this.#prefix = prefix;
    this.#sealer = sealer;
    this.#decode = decode;
    this.#revision = revision;
    this.#historyFloor = revision;
  }

  get revision(): number {
    return this.#revision;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  get compactedRevision(): number {
    return this.#compactedRevision;
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    const { kvs } = await this.#client.range({ key: this.#key(key) });
    const [found] = kvs;
    return found === undefined ? undefined : this.#entry(found);
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<RangeResult> {
    const { revision, limit = 0, startAfter } = options;
    const from = startAfter === undefined || startAfter === '' ? prefix : `${startAfter}\0`;
    try {
      const answer = await this.#client.range({
        key: this.#key(from),
        rangeEnd: prefixEnd(this.#prefix + prefix),
        limit,
        ...(revision === undefined ? {} : { revision }),
      });
      const entries = answer.kvs.map((kv) => this.#entry(kv));
      return { revision: revision ?? answer.revision, entries, more: answer.more };
    } catch (error) {
      throw this.#rangeError(error, revision ?? 0);
    }
  }

  async transact(key: string, decide: (current: StoredEntry | undefined) => Write): Promise<StoredEntry | undefined> {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const current = await this.get(key);
      const write = decide(current);
      if (write.type === 'none' || (write.type === 'delete' && current === undefined)) return current;
      const value = write.type === 'put' ? Buffer.from(`${write.head}${write.tail}`) : undefined;
      const sealed = value && this.#sealer.seal(this.#prefix + key, value);
      const { succeeded, revision } = await this.#client.replace(this.#key(key), current?.revision ?? 0, sealed);
      if (!succeeded) continue;
      await this.#seen(revision);
      const bytes = value ?? current?.value ?? Buffer.alloc(0);
      return { key, revision, value: withRevision(bytes, revision) };
    }
    throw new Error(`could not write ${key}: others changed it ${maxAttempts} times in a row`);
  }

  async history(afterRevision: number, prefix = ''): Promise<StoreEvent[]> {
    if (afterRevision > this.#revision) throw new FutureRevisionError(afterRevision, this.#revision);
    if (afterRevision >= this.#compactedRevision && afterRevision < this.#historyFloor) {
      const fetched = this.#fetching.then(() => this.#reachBack(afterRevision));
      this.#fetching = fetched.catch(() => undefined);
      await fetched;
    }
    const oldest = Math.max(this.#historyFloor, this.#compactedRevision);
    if (afterRevision < oldest) throw new CompactedError(afterRevision, oldest);
    return this.#history.filter(({ revision, entry }) => revision > afterRevision && entry.key.startsWith(prefix));
  }

  subscribe(listener: StoreListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async compact(revision: number): Promise<void> {
    if (revision <= this.#compactedRevision) return;
    try {
      await this.#client.compact(revision);
    } catch (error) {
      // Another API server on the same etcd was faster.
      if ((error as { code?: number }).code !== outOfRange) throw error;
    }
    this.#compactedRevision = revision;
    this.#history = this.#history.filter((event) => event.revision > revision);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopWatch();
    this.#client.close();
  }

  /** Asks etcd for what happened before this store was opened, once for everybody who goes on from then. */
  async #reachBack(afterRevision: number): Promise<void> {
    const floor = this.#historyFloor;
    if (afterRevision >= floor || afterRevision < this.#compactedRevision) return;
    // What follows the floor is known already: its first event is where the past ends.
    if (this.#history.length === 0) {
      const mark = serialiseAround({ apiVersion: 'v1', kind: 'HistoryMark', metadata: {} });
      await this.transact(markKey, () => ({ type: 'put', ...mark }));
    }
    const range = { key: Buffer.from(this.#prefix + root), rangeEnd: prefixEnd(this.#prefix + root) };
    const past = await fetchHistory(this.#client, range, { afterRevision, until: floor, limit: maxFetched });
    if (past.compactedRevision !== undefined) {
      this.#compactedRevision = Math.max(this.#compactedRevision, past.compactedRevision);
      return;
    }
    if (past.events === undefined || this.#historyFloor !== floor) return;
    this.#history = [...past.events.flatMap((event) => this.#event(event) ?? []), ...this.#history];
    this.#historyFloor = afterRevision;
  }

  /** Opens the watch; resolves when etcd has confirmed it. */
  follow(): Promise<void> {
    return new Promise((resolve) => {
      const start = Buffer.from(this.#prefix + root);
      this.#stopWatch = this.#client.watch(start, prefixEnd(this.#prefix + root), this.#revision + 1, {
        created: resolve,
        events: (events, revision) => this.#take(events, revision),
        ended: (error, compactRevision) => {
          resolve();
          if (!this.#isClosed) void this.#reconnect(error, compactRevision);
        },
      });
    });
  }

  async #reconnect(error: Error, compactRevision: number | undefined): Promise<void> {
    if (compactRevision !== undefined) {
      // Changes were missed for good: nothing in memory can be trusted any more.
      this.#failure = new Error('etcd has compacted what was not seen yet: restart the control plane', {
        cause: error,
      });
      this.#logger.fatal({ err: this.#failure, compactRevision }, 'cannot follow etcd any more');
      return;
    }
    this.#logger.warn({ err: error }, 'lost the watch on etcd, will open it again');
    await delay(reconnectMs);
    if (!this.#isClosed) await this.follow();
  }

  #take(watched: readonly WatchedEvent[], revision: number): void {
    const events = watched.flatMap((each) => this.#event(each) ?? []);
    this.#history.push(...events);
    if (this.#history.length > 2 * historyLimit) {
      this.#historyFloor = this.#history[historyLimit - 1]?.revision ?? this.#historyFloor;
      this.#history = this.#history.slice(historyLimit);
    }
    this.#revision = Math.max(this.#revision, events.at(-1)?.revision ?? revision);
    if (events.length > 0) for (const listener of this.#listeners) listener(events);
    const due = this.#waiters.filter((waiter) => waiter.revision <= this.#revision);
    this.#waiters = this.#waiters.filter((waiter) => waiter.revision > this.#revision);
    for (const { resolve } of due) resolve();
  }

  /** Resolves when the write has come back through the watch: then every reader sees it. */
  async #seen(revision: number): Promise<void> {
    if (this.#revision >= revision) return;
    await new Promise<void>((resolve) => this.#waiters.push({ revision, resolve }));
  }

  #key(key: string): Buffer {
    return Buffer.from(this.#prefix + key);
  }

  #entry({ key, modRevision, value: stored }: KeyValue): StoredEntry {
    const text = key.toString();
    const opened = this.#sealer.open(text, stored);
    const { value, isForeign } = readStored(opened.value, modRevision, this.#decode);
    return {
      key: text.slice(this.#prefix.length),
      revision: modRevision,
      value,
      ...(opened.isStale || isForeign ? { isStale: true } : {}),
    };
  }

  #event({ type, kv, prevKv }: WatchedEvent): StoreEvent | undefined {
    const previous = prevKv === undefined ? undefined : this.#entry(prevKv);
    if (type === 'PUT') return { type: 'put', revision: kv.modRevision, entry: this.#entry(kv), previous };
    if (previous === undefined) return undefined;
    const value = withRevision(previous.value, kv.modRevision);
    return {
      type: 'delete',
      revision: kv.modRevision,
      entry: { ...previous, revision: kv.modRevision, value },
      previous,
    };
  }

  #rangeError(error: unknown, revision: number): unknown {
    if ((error as { code?: number }).code !== outOfRange) return error;
    return /compacted/.test(String(error))
      ? new CompactedError(revision, Math.max(this.#compactedRevision, revision))
      : new FutureRevisionError(revision, this.#revision);
  }
}

export interface EtcdOptions {
  /** Goes before every key; none where absent. */
  prefix?: string;
  /** Values as they are where absent. */
  sealer?: ValueSealer;
  /** Reads what a stock API server has written; absent: such values stay as they are. */
  decode?: DecodeStored;
}

/** Connects to etcd and follows it. Throws when etcd does not answer. */
export async function openEtcdBackend(client: EtcdClient, logger: Logger, options: EtcdOptions = {}): Promise<Backend> {
  const { revision } = await client.range({ key: Buffer.from(`${options.prefix ?? ''}${root}`), limit: 1 });
  const backend = new EtcdBackend(client, logger, revision, options);
  await backend.follow();
  return backend;
}
