// The contract of a store: keys with revisions, one total order of writes, history since the last compaction.
// One suite in test/conformance/storage proves every implementation.

/** One key at one revision. `value` is shared by every reader: nobody modifies it. */
export interface StoredEntry {
  readonly key: string;
  /** Revision of the write that made this value; it is also the object's resourceVersion. */
  readonly revision: number;
  /** The object's JSON, resourceVersion included. */
  readonly value: Buffer;
  /** It would be stored in another form today: a write that changes nothing is made all the same. */
  readonly isStale?: true;
  /** What the layer above has worked out about the value (labels, fields); never stored. */
  memo?: unknown;
}

/** A change, in revision order. `previous` is the state that it replaced or removed. */
export interface StoreEvent {
  readonly type: 'put' | 'delete';
  readonly revision: number;
  /** For a deletion: the last state, with the deletion's revision in it. */
  readonly entry: StoredEntry;
  readonly previous: StoredEntry | undefined;
}

/** What a transaction decides. `head` and `tail` are the JSON text before and after the revision's digits. */
export type Write = { type: 'none' } | { type: 'put'; head: string; tail: string; memo?: unknown } | { type: 'delete' };

export interface RangeOptions {
  /** Entries as they were at this revision; absent: now. */
  revision?: number | undefined;
  limit?: number | undefined;
  /** Only keys after this one. */
  startAfter?: string | undefined;
}

export interface RangeResult {
  revision: number;
  entries: StoredEntry[];
  /** Whether `limit` cut the answer. */
  more: boolean;
}

export type StoreListener = (events: readonly StoreEvent[]) => void;

/** A durable, revisioned key-value store. A write is acknowledged only when it cannot be lost any more. */
export interface Backend {
  /** Whether others write to it too: what was told to subscribers may then be older than what `get` and `range` answer. */
  readonly isShared: boolean;
  /** Newest revision that is durable. */
  readonly revision: number;
  /** Why nothing could be written at the last try, or followed any more; undefined while all is well. */
  readonly failure: Error | undefined;
  /** History at or before this revision is gone. */
  readonly compactedRevision: number;
  get(key: string): Promise<StoredEntry | undefined>;
  /** Entries whose key starts with `prefix`, by key. Throws CompactedError. */
  range(prefix: string, options?: RangeOptions): Promise<RangeResult>;
  /**
   * Reads one key, asks `decide` what to write, and writes it atomically. `decide` may be asked again
   * when somebody else was faster; what it throws is thrown. Resolves with the entry written (for a
   * deletion its last state), or the current one when nothing was to be written.
   */
  transact(key: string, decide: (current: StoredEntry | undefined) => Write): Promise<StoredEntry | undefined>;
  /** Durable changes after a revision, oldest first. Throws CompactedError. */
  history(afterRevision: number, prefix?: string): Promise<StoreEvent[]>;
  /** Calls back with every durable change from now on, in order, each once. Returns how to stop. */
  subscribe(listener: StoreListener): () => void;
  /** Forgets history up to and including the revision. Current values stay. */
  compact(revision: number): Promise<void>;
  /** Resolves when all acknowledged and pending writes are durable and the store is closed. */
  close(): Promise<void>;
}

/** The revision asked for was compacted away. */
export class CompactedError extends Error {
  readonly code = 'COMPACTED';
  readonly requested: number;
  readonly compactedRevision: number;

  constructor(requested: number, compactedRevision: number) {
    super(`revision ${requested} has been compacted; the oldest kept is ${compactedRevision + 1}`);
    this.name = 'CompactedError';
    this.requested = requested;
    this.compactedRevision = compactedRevision;
  }
}

/** The revision asked for has not happened yet. */
export class FutureRevisionError extends Error {
  readonly code = 'FUTURE_REVISION';
  readonly requested: number;
  readonly current: number;

  constructor(requested: number, current: number) {
    super(`revision ${requested} has not happened yet; the newest is ${current}`);
    this.name = 'FutureRevisionError';
    this.requested = requested;
    this.current = current;
  }
}

/** The store cannot take a write. Nothing of it happened; what is there can be read. */
export class StoreWriteError extends Error {
  readonly code = 'STORE_WRITE';

  constructor(place: string, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`the store ${place} cannot be written (${reason}): look for a full disk`, { cause });
    this.name = 'StoreWriteError';
  }
}
