// The files of the embedded store: a log of revisions and a small table of marks.
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { decodeRecord, type LogRecord } from './log-record.ts';

/** The open log. Keys are revisions, ascending. */
export interface Log {
  root: RootDatabase<Buffer, string>;
  records: Database<Buffer, number>;
  marks: Database<number, string>;
}

/** Opens or creates the log in `dir`. Throws with the reason when it cannot. */
export function openLog(dir: string): Log {
  const root = open<Buffer, string>({ path: join(dir, 'store'), maxDbs: 4, mapSize: 1 << 30, remapChunks: false });
  return {
    root,
    records: root.openDB<Buffer, number>({ name: 'log', encoding: 'binary' }),
    marks: root.openDB<number, string>({ name: 'marks', encoding: 'json' }),
  };
}

/** Records with `from` <= revision <= `to`, in order. Values are copies that outlive the read. */
export function* readLog(log: Log, from: number, to = Number.MAX_SAFE_INTEGER): Generator<[number, LogRecord]> {
  for (const { key, value } of log.records.getRange({ start: from, end: to + 1 })) {
    // In memory of their own, as `objectBytes` makes them.
    const copy = Buffer.allocUnsafeSlow(value.length);
    value.copy(copy);
    yield [key, decodeRecord(copy)];
  }
}
