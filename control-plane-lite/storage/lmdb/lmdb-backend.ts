// The embedded store: one LMDB table that is a log of writes, and in memory the newest state of each key.
// Revisions are handed out at once, writes are committed in groups, and nothing is seen before it is on disk.
import { mkdir } from 'node:fs/promises';
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
import { objectBytes, withRevision } from '../object-bytes.ts';
import { rangeAt } from '../range-at.ts';
import { lockDataDir } from './data-dir-lock.ts';
import { encodeRecord } from './log-record.ts';
import { type Log, openLog, readLog } from './open-log.ts';

const compactedMark = 'compacted';
const removalsPerTurn = 2000;
const maxRecordsAtStart = 100_000;
const historyKeptAtStart = 10_000;

class LmdbBackend implements Backend {
  readonly #log: Log;
  readonly #unlock: () => Promise<void>;
  /** The newest state of each key, writes under way included. */
  readonly #head = new Map<string, StoredEntry>();
  readonly #listeners = new Set<StoreListener>();
  #headRevision: number;
  #durableRevision: number;
  #compactedRevision: number;
  #pending: StoreEvent[] = [];
  #commit: Promise<void> | undefined;
  #failure: Error | undefined;
  /** Records found when the log was opened. */
  readonly recordCount: number;

  constructor(log: Log, unlock: () => Promise<void>) {
    this.#log = log;
    this.#unlock = unlock;
    this.#compactedRevision = log.marks.get(compactedMark) ?? 0;
    let last = this.#compactedRevision;
    let count = 0;
    for (const [revision, record] of readLog(log, 1)) {
      last = Math.max(last, revision);
      count += 1;
      if (record.type === 'delete') this.#head.delete(record.key);
      else this.#head.set(record.key, { key: record.key, revision, value: record.value });
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
    if (this.#failure !== undefined) throw this.#failure;
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
    this.#pending.push({ type: write.type, revision, entry, previous });
    await this.#committed(revision);
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
    const target = Math.min(revision, this.#durableRevision);
    if (target <= this.#compactedRevision) return;
    const obsolete = this.#obsoleteAt(target);
    this.#compactedRevision = target;
    await this.#log.marks.put(compactedMark, target);
    for (let at = 0; at < obsolete.length; at += removalsPerTurn) {
      const removals = obsolete.slice(at, at + removalsPerTurn).map((old) => this.#log.records.remove(old));
      await Promise.all(removals);
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
      const entry = { key: record.key, revision, value: record.value };
      events.push({ type: record.type, revision, entry, previous: this.#entryAt(record.previousRevision) });
    }
    return events;
  }

  /** Records that no reader of `revision` or later needs: each key keeps its newest state up to there. */
  #obsoleteAt(revision: number): number[] {
    const obsolete: number[] = [];
    const newest = new Map<string, number>();
    for (const [at, record] of readLog(this.#log, 1, revision)) {
      const older = newest.get(record.key);
      if (older !== undefined) obsolete.push(older);
      if (record.type === 'put') {
        newest.set(record.key, at);
      } else {
        newest.delete(record.key);
        obsolete.push(at);
      }
    }
    return obsolete;
  }

  #entryAt(revision: number): StoredEntry | undefined {
    if (revision === 0) return undefined;
    for (const [, record] of readLog(this.#log, revision, revision)) {
      return { key: record.key, revision, value: record.value };
    }
    return undefined;
  }

  /** Waits until everything decided so far is durable. */
  async #settled(): Promise<void> {
    if (this.#durableRevision < this.#headRevision) await this.#committed(this.#headRevision);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #committed(revision: number): Promise<void> {
    while (this.#durableRevision < revision) {
      this.#commit ??= this.#commitPending();
      await this.#commit;
      if (this.#failure !== undefined) throw this.#failure;
    }
  }

  /** Writes one group: all that is pending when it starts. A failed write ends the store: memory and disk differ. */
  async #commitPending(): Promise<void> {
    await null;
    const events = this.#pending;
    this.#pending = [];
    try {
      const writes = events.map(({ type, revision, entry, previous }) =>
        this.#log.records.put(
          revision,
          encodeRecord({ type, previousRevision: previous?.revision ?? 0, key: entry.key, value: entry.value }),
        ),
      );
      await writes.at(-1);
      await this.#log.root.flushed;
    } catch (error) {
      this.#failure = new Error('the store can no longer write: restart the control plane', { cause: error });
      return;
    }
    this.#commit = undefined;
    this.#durableRevision = events.at(-1)?.revision ?? this.#durableRevision;
    for (const listener of this.#listeners) listener(events);
  }
}

/** Opens the embedded store in `dir`, alone. Throws when another process has it or it cannot be written. */
export async function openLmdbBackend(dir: string): Promise<Backend> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const unlock = await lockDataDir(dir);
  try {
    const backend = new LmdbBackend(openLog(dir), unlock);
    // A control plane that never ran long enough to compact must not grow for ever.
    if (backend.recordCount > maxRecordsAtStart) await backend.compact(backend.revision - historyKeptAtStart);
    return backend;
  } catch (error) {
    await unlock();
    throw error;
  }
}
