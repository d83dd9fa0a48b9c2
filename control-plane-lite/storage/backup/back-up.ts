// A backup of the embedded store, taken beside the control plane that writes it, and a store made of one.
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';
import { storedValues } from '../encryption/value-sealer.ts';
import { lockDataDir } from '../lmdb/data-dir-lock.ts';
import { compactedMark } from '../lmdb/lmdb-backend.ts';
import { encodeRecord } from '../lmdb/log-record.ts';
import { openLog, readLog } from '../lmdb/open-log.ts';
import { type ArchivedObject, type ArchiveSummary, readArchive, writeArchive } from './archive.ts';

/**
 * A restored store begins so far after the backup, because its clients may have seen newer revisions than the backup has:
 * none is given out a second time, and what they ask for is refused, so that they list again.
 */
const revisionsSkipped = 1_000_000;
const objectsPerWrite = 1000;

/** What is newest of each object, at one moment, by key. */
function readNewest(dataDir: string): { revision: number; objects: ArchivedObject[] } {
  const log = openLog(dataDir, { readOnly: true, sealer: storedValues });
  try {
    const newest = new Map<string, ArchivedObject>();
    let revision = log.marks.get(compactedMark) ?? 0;
    for (const [at, { type, key, value }] of readLog(log, 1)) {
      revision = Math.max(revision, at);
      if (type === 'delete') newest.delete(key);
      else newest.set(key, { key, revision: at, value });
    }
    const objects = [...newest.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    return { revision, objects };
  } finally {
    void log.root.close();
  }
}

/** Writes a backup of the store in `dataDir` to `path`, reads it again and compares. The store may be in use. */
export async function backUp(dataDir: string, path: string, clock: Clock): Promise<ArchiveSummary> {
  if (!existsSync(join(dataDir, 'store', 'data.mdb'))) throw new Error(`there is no store in ${dataDir}`);
  if (existsSync(path)) throw new Error(`${path} exists: choose another name`);
  const { revision, objects } = readNewest(dataDir);
  await writeArchive(path, { revision, takenAt: new Date(clock.now()).toISOString() }, objects);
  let index = 0;
  const summary = await readArchive(path, ({ key, revision: at, value }) => {
    const written = objects[index];
    index += 1;
    if (written?.key !== key || written.revision !== at || !written.value.equals(value))
      throw new Error(`${key} was not written as it is`);
  });
  return summary;
}

export interface RestoreOptions {
  /** A store that is there is put aside; refused where absent. */
  replace?: boolean;
}

/**
 * Makes the store in `dataDir` one with the objects of a backup. Answers what was restored and where the store that was
 * there is now. Throws, with that store untouched, when the backup is not whole or the store is in use.
 */
export async function restore(
  path: string,
  dataDir: string,
  clock: Clock,
  { replace = false }: RestoreOptions = {},
): Promise<ArchiveSummary & { putAside: string | undefined }> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const unlock = await lockDataDir(dataDir);
  try {
    const store = join(dataDir, 'store');
    const isThere = existsSync(join(store, 'data.mdb'));
    if (isThere && !replace) throw new Error(`there is a store in ${dataDir}: --force puts it aside`);
    const staging = join(dataDir, 'restoring');
    await rm(staging, { recursive: true, force: true });
    const summary = await fill(path, staging);
    const putAside = isThere ? `${store}.before-${clock.now()}` : undefined;
    if (putAside !== undefined) await rename(store, putAside);
    await rename(join(staging, 'store'), store);
    await rm(staging, { recursive: true, force: true });
    return { ...summary, putAside };
  } finally {
    await unlock();
  }
}

async function fill(path: string, dir: string): Promise<ArchiveSummary> {
  const log = openLog(dir, { sealer: storedValues });
  try {
    const objects: ArchivedObject[] = [];
    const summary = await readArchive(path, (object) => objects.push(object));
    objects.sort((a, b) => a.revision - b.revision);
    for (let at = 0; at < objects.length; at += objectsPerWrite) {
      const writes = objects
        .slice(at, at + objectsPerWrite)
        .map(({ key, revision, value }) =>
          log.records.put(revision, encodeRecord({ type: 'put', previousRevision: 0, key, value })),
        );
      await Promise.all(writes);
    }
    await log.marks.put(compactedMark, summary.revision + revisionsSkipped);
    await log.root.flushed;
    return summary;
  } finally {
    await log.root.close();
  }
}
