// The embedded store: one LMDB table that is a log of writes, and in memory the newest state of each key.
// Revisions are handed out at once, writes are committed in groups, and nothing is seen before it is on disk. A group
// that cannot be written, on a full disk for example, never happened: its writers are told and reading goes on.
import { mkdir } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import {
  type Backend,
  CompactedError,
  FutureRevisionError,
  type RangeOptions,
  type RangeResult,
  type StoredEntry,
  type StoreEvent,
  type StoreListener,
  StoreWriteError,
  type Write,
} from '../backend.ts';
import { plainValues, type ValueSealer } from '../encryption/value-sealer.ts';
import { objectBytes, withRevision } from '../object-bytes.ts';
import { rangeAt } from '../range-at.ts';
import { lockDataDir } from './data-dir-lock.ts';
import { encodeRecord } from './log-record.ts';
import { type Log, type OpenedRecord, openLog, readLog, readLogHeaders } from './open-log.ts';

/** Of the newest revision whose history is gone. */
export const compactedMark = 'compacted';
/** Of the log, looked at by compaction before others have their turn. */
const revisionsPerSlice = 500;
const maxRecordsAtStart = 100_000;
const historyKeptAtStart = 10_000;

/** Writes that become durable together. */
interface WriteGroup {
  events: StoreEvent[];
  outcome: PromiseWithResolvers<void>;
}

function entryOf(revision: number, { key, value, isStale }: OpenedRecord): StoredEntry {
  return { key, revision, value, ...(isStale ? { isStale } : {}) };
}

class LmdbBackend implements Backend {
  readonly isShared = false;
  readonly #dir: string;
  readonly #log: Log;
  readonly #unlock: () => Promise<void>;
  /** The newest state of each key, writes under way included. */
  readonly #head = new Map<string, StoredEntry>();
  readonly #listeners = new Set<StoreListener>();
  #headRevision: number;
  #durableRevision: number;
  #compactedRevision: number;
  /** What no longer is in the log because of compaction. */
  #removedTo: number;
  /** Collects writes while another group is being written. */
  #pending: WriteGroup | undefined;
  #writing: Promise<void> | undefined;
  #failure: Error | undefined;
  /** Records found when the log was opened. */
  readonly recordCount: number;

  constructor(dir: string, log: Log, unlock: () => Promise<void>) {
    this.#dir = dir;
    this.#log = log;
    this.#unlock = unlock;
    this.#compactedRevision = log.marks.get(compactedMark) ?? 0;
    this.#removedTo = this.#compactedRevision;
    let last = this.#compactedRevision;
    let count = 0;
    for (const [revision, record] of readLog(log, 1)) {
      last = Math.max(last, revision);
      count += 1;
      if (record.type === 'delete') this.#head.delete(record.key);
      else this.#head.set(record.key, entryOf(revision, record));
    }
    this.recordCount = count;
    this.#headRevision = last;
    this.#durableRevision = last;
  }

  get revision(): number {
    return this.#durableRevision;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  get compactedRevision(): number {
    return this.#compactedRevision;
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    await this.#settled();
    return this.#head.get(key);
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<RangeResult> {
    await this.#settled();
    const revision = options.revision ?? this.#durableRevision;
    const undo = revision === this.#durableRevision ? [] : this.#readHistory(revision, prefix);
    return rangeAt(this.#head.values(), undo, prefix, revision, options);
  }

  async transact(key: string, decide: (current: StoredEntry | undefined) => Write): Promise<StoredEntry | undefined> {
    const previous = this.#head.get(key);
    const write = decide(previous);
    if (write.type === 'none' || (write.type === 'delete' && previous === undefined)) {
      await this.#settled();
      return previous;
    }
    const revision = this.#headRevision + 1;
    const value =
      write.type === 'put'
        ? objectBytes(write.head, revision, write.tail)
        : withRevision(previous?.value ?? Buffer.alloc(0), revision);
    const memo = write.type === 'put' ? write.memo : previous?.memo;
    const entry: StoredEntry = { key, revision, value, ...(memo === undefined ? {} : { memo }) };
    this.#headRevision = revision;
    if (write.type === 'put') this.#head.set(key, entry);
    else this.#head.delete(key);
    this.#pending ??= { events: [], outcome: Promise.withResolvers() };
    const { events, outcome } = this.#pending;
    events.push({ type: write.type, revision, entry, previous });
    this.#writing ??= this.#writeGroups();
    await outcome.promise;
    return entry;
  }

  async history(afterRevision: number, prefix = ''): Promise<StoreEvent[]> {
    await this.#settled();
    return this.#readHistory(afterRevision, prefix);
  }

  subscribe(listener: StoreListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async compact(revision: number): Promise<void> {
    await this.#settled();
    // Not read any more from now on, however long the removal takes.
    this.#compactedRevision = Math.max(this.#compactedRevision, Math.min(revision, this.#durableRevision));
    const target = this.#compactedRevision;
    while (this.#removedTo < target) {
      const end = Math.min(target, this.#removedTo + revisionsPerSlice);
      const removals = this.#obsoleteIn(this.#removedTo + 1, end).map((old) => this.#log.records.remove(old));
      // In one transaction: what is marked as compacted is compacted.
      await committed(this.#log, [...removals, this.#log.marks.put(compactedMark, end)]);
      this.#removedTo = Math.max(this.#removedTo, end);
      // Requests are served between the slices.
      await setImmediate();
    }
    await this.#log.root.flushed;
  }

  async close(): Promise<void> {
    await this.#settled();
    await this.#log.root.flushed;
    await this.#log.root.close();
    await this.#unlock();
  }

  #readHistory(afterRevision: number, prefix: string): StoreEvent[] {
    if (afterRevision < this.#compactedRevision) throw new CompactedError(afterRevision, this.#compactedRevision);
    if (afterRevision > this.#durableRevision) throw new FutureRevisionError(afterRevision, this.#durableRevision);
    const events: StoreEvent[] = [];
    for (const [revision, record] of readLog(this.#log, afterRevision + 1, this.#durableRevision)) {
      if (!record.key.startsWith(prefix)) continue;
      const entry = entryOf(revision, record);
      events.push({ type: record.type, revision, entry, previous: this.#entryAt(record.previousRevision) });
    }
    return events;
  }

  /** Records that nobody needs who reads after `to`: what the ones from `from` on replaced, and deletions. */
  #obsoleteIn(from: number, to: number): number[] {
    const obsolete: number[] = [];
    for (const [at, { type, previousRevision }] of readLogHeaders(this.#log, from, to)) {
      if (previousRevision > 0) obsolete.push(previousRevision);
      if (type === 'delete') obsolete.push(at);
    }
    return obsolete;
  }

  #entryAt(revision: number): StoredEntry | undefined {
    if (revision === 0) return undefined;
    for (const [, record] of readLog(this.#log, revision, revision)) {
      return entryOf(revision, record);
    }
    return undefined;
  }

  /** Waits until everything decided so far is durable, or has failed. */
  async #settled(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  async #writeGroups(): Promise<void> {
    await null;
    for (let group = this.#pending; group !== undefined; group = this.#pending) {
      this.#pending = undefined;
      await this.#writeGroup(group);
    }
    this.#writing = undefined;
  }

  /** Writes one group: all that was pending when it starts. */
  async #writeGroup({ events, outcome }: WriteGroup): Promise<void> {
    try {
      await this.#put(events);
      this.#failure = undefined;
      this.#durableRevision = events.at(-1)?.revision ?? this.#durableRevision;
      outcome.resolve();
    } catch (error) {
      const failure = new StoreWriteError(this.#dir, error);
      this.#failure = failure;
      const written = this.#writtenOf(events);
      this.#durableRevision = written.at(-1)?.revision ?? this.#durableRevision;
      const waiting = this.#pending;
      this.#pending = undefined;
      this.#undo([...events.slice(written.length), ...(waiting?.events ?? [])]);
      outcome.reject(failure);
      waiting?.outcome.promise.catch(() => undefined);
      waiting?.outcome.reject(failure);
      events = written;
    }
    if (events.length > 0) for (const listener of this.#listeners) listener(events);
  }

  async #put(events: readonly StoreEvent[]): Promise<void> {
    const writes = events.map(({ type, revision, entry, previous }) =>
      this.#log.records.put(
        revision,
        encodeRecord({
          type,
          previousRevision: previous?.revision ?? 0,
          key: entry.key,
          value: this.#log.sealer.seal(entry.key, entry.value),
        }),
      ),
    );
    await committed(this.#log, writes);
    await this.#log.root.flushed;
  }

  /** How many of the events are in the log in spite of a failure: a group may be written in more than one piece. */
  #writtenOf(events: readonly StoreEvent[]): StoreEvent[] {
    const end = events.findIndex(({ revision }) => !this.#log.records.doesExist(revision));
    return events.slice(0, end < 0 ? events.length : end);
  }

  /** Takes the newest writes back in memory. */
  #undo(events: readonly StoreEvent[]): void {
    for (const { entry, previous } of events.toReversed()) {
      if (previous === undefined) this.#head.delete(entry.key);
      else this.#head.set(entry.key, previous);
    }
    this.#headRevision = this.#durableRevision;
  }
}

/** Resolves when all are committed. Throws LMDB's own error. */
async function committed({ root }: Log, writes: readonly Promise<unknown>[]): Promise<void> {
  // For the start of a batch the package has a promise of its own, made later; its failure would be nobody's.
  void setImmediate()
    .then(() => root.committed)
    .catch(() => undefined);
  const outcomes = await Promise.allSettled(writes);
  const failed = outcomes.find((each) => each.status === 'rejected');
  if (failed === undefined) return;
  const { commitError } = failed.reason as { commitError?: Promise<never> };
  throw await Promise.resolve(commitError ?? failed.reason).catch((error: unknown) => error);
}

/** Opens the embedded store in `dir`, alone. Throws when another process has it or it cannot be written. */
export async function openLmdbBackend(dir: string, sealer: ValueSealer = plainValues): Promise<Backend> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const unlock = await lockDataDir(dir);
  try {
    const backend = new LmdbBackend(dir, openLog(dir, { sealer }), unlock);
    // A control plane that never ran long enough to compact must not grow for ever.
    if (backend.recordCount > maxRecordsAtStart) await backend.compact(backend.revision - historyKeptAtStart);
    return backend;
  } catch (error) {
    await unlock();
    throw error;
  }
}
