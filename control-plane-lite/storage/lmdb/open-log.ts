// The files of the embedded store: a log of revisions and a small table of marks.
import { closeSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { type OpenedValue, plainValues, type ValueSealer } from '../encryption/value-sealer.ts';
import { decodeHeader, decodeRecord, type LogRecord } from './log-record.ts';

/** The open log. Keys are revisions, ascending. */
export interface Log {
  root: RootDatabase<Buffer, string>;
  records: Database<Buffer, number>;
  marks: Database<number, string>;
  sealer: ValueSealer;
}

/** Of the records and marks; changed when an older program would misread them. */
const formatVersion = 2;
/** Its records are as today's, none of them compressed. */
const plainVersion = 1;
const formatMark = 'format';
const advice = 'put it aside and use `berth restore` with a backup, or start with an empty folder';

/** The store's file cannot be used; the message says why and what to do. */
export class DamagedStoreError extends Error {
  readonly code = 'DAMAGED_STORE';

  constructor(path: string, reason: string, cause?: unknown) {
    super(`the store ${path} is damaged (${reason}): ${advice}`, { cause });
    this.name = 'DamagedStoreError';
  }
}

/** The first page of a file of LMDB: where it says what it is, and what it says there. */
const magicOffset = 24;
const magic = 0xbeefc0de;
const pageBytes = 4096;

/** LMDB takes the process with it when it opens a file that is none of its own. */
function checkHeader(file: string, path: string): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0) return;
  if (size < pageBytes) throw new DamagedStoreError(path, `only ${size} bytes are left`);
  const fd = openSync(file, 'r');
  try {
    const page = Buffer.alloc(pageBytes);
    readSync(fd, page, 0, pageBytes, 0);
    if (page.readUInt32LE(magicOffset) !== magic)
      throw new DamagedStoreError(path, 'its first page is not that of a store');
  } finally {
    closeSync(fd);
  }
}

/** A page that the file does not have would be a signal that ends the process. */
function checkSize(root: RootDatabase<Buffer, string>, file: string, path: string): void {
  // The package's types know only some of what is answered.
  const { lastPageNumber, pageSize } = root.getStats() as { lastPageNumber: number; pageSize: number };
  const needed = (lastPageNumber + 1) * pageSize;
  const { size } = statSync(file);
  // A new file has only one of its two first pages.
  if (lastPageNumber > 1 && size < needed) throw new DamagedStoreError(path, `${size} bytes are left of ${needed}`);
}

function checkFormat(marks: Log['marks'], path: string, readOnly: boolean): void {
  const found = marks.get(formatMark);
  if ((found === undefined || found === plainVersion) && !readOnly) marks.putSync(formatMark, formatVersion);
  if (found === undefined || found === plainVersion || found === formatVersion) return;
  throw new Error(
    `the store ${path} has format ${found}, this program reads format ${formatVersion}: use the version that wrote it`,
  );
}

/** By LZ4, in the thread that writes: a third of the pages, on disk and in memory. */
const compression = { threshold: 400 };

export interface OpenLogOptions {
  /** Beside the process that writes it. */
  readOnly?: boolean;
  /** Values as they are where absent. */
  sealer?: ValueSealer;
}

/** Opens or creates the log in `dir`. Throws with the reason when it cannot, DamagedStoreError where that is the store. */
export function openLog(dir: string, { readOnly = false, sealer = plainValues }: OpenLogOptions = {}): Log {
  const path = join(dir, 'store');
  const file = join(path, 'data.mdb');
  checkHeader(file, path);
  let root: RootDatabase<Buffer, string> | undefined;
  try {
    if (!readOnly) mkdirSync(path, { recursive: true, mode: 0o700 });
    // The package's types leave out the mode of the files.
    const options = { path, maxDbs: 4, mapSize: 1 << 30, remapChunks: false, permissionsMode: 0o600, readOnly };
    root = open<Buffer, string>(options);
    checkSize(root, file, path);
    const records = root.openDB<Buffer, number>({ name: 'log', encoding: 'binary', compression });
    const marks = root.openDB<number, string>({ name: 'marks', encoding: 'json' });
    checkFormat(marks, path, readOnly);
    return { root, records, marks, sealer };
  } catch (error) {
    void root?.close();
    const reason = error instanceof Error ? error.message : String(error);
    if (/^MDB_(INVALID|CORRUPTED|VERSION_MISMATCH|PAGE_NOTFOUND)/.test(reason))
      throw new DamagedStoreError(path, reason, error);
    throw error;
  }
}

/** What the records of these revisions say beside their values. */
export function* readLogHeaders(
  log: Log,
  from: number,
  to: number,
): Generator<[number, Omit<LogRecord, 'key' | 'value'>]> {
  for (const { key, value } of log.records.getRange({ start: from, end: to + 1 })) yield [key, decodeHeader(value)];
}

/** A record with its value opened. */
export type OpenedRecord = LogRecord & OpenedValue;

/** Records with `from` <= revision <= `to`, in order. Values are copies that outlive the read. */
export function* readLog(log: Log, from: number, to = Number.MAX_SAFE_INTEGER): Generator<[number, OpenedRecord]> {
  for (const { key, value } of log.records.getRange({ start: from, end: to + 1 })) {
    // In memory of their own, as `objectBytes` makes them.
    const copy = Buffer.allocUnsafeSlow(value.length);
    value.copy(copy);
    const record = decodeRecord(copy);
    yield [key, { ...record, ...log.sealer.open(record.key, record.value) }];
  }
}
