// The embedded store against the suite of stores, and killed in the middle of its writes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { open } from 'lmdb';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { type StoreEvent, StoreWriteError } from '../../../control-plane-lite/storage/backend.ts';
import { openLmdbBackend } from '../../../control-plane-lite/storage/lmdb/lmdb-backend.ts';
import { encodeRecord } from '../../../control-plane-lite/storage/lmdb/log-record.ts';
import { openLog } from '../../../control-plane-lite/storage/lmdb/open-log.ts';
import { serialiseAround } from '../../../control-plane-lite/storage/object-bytes.ts';
import { describeBackend } from './backend-suite.ts';

/** Records are compressed: sizes are of what cannot be. */
const incompressible = (length: number): string => randomBytes(length).toString('base64').slice(0, length);

const makeDir = () => mkdtemp(join(tmpdir(), 'berth-store-'));

describeBackend('LMDB', async () => {
  const dir = await makeDir();
  let backend = await openLmdbBackend(dir);
  return {
    backend,
    reopen: async () => {
      await backend.close();
      backend = await openLmdbBackend(dir);
      return backend;
    },
    dispose: async () => {
      await backend.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
});

it('refuses a data folder that another store has open', async () => {
  const dir = await makeDir();
  const backend = await openLmdbBackend(dir);
  await assert.rejects(openLmdbBackend(dir), /in use by another control plane/);
  await backend.close();
  await (await openLmdbBackend(dir)).close();
  await rm(dir, { recursive: true, force: true });
});

it('loses no acknowledged write when its process is killed', async () => {
  const dir = await makeDir();
  const writer = join(import.meta.dirname, 'write-until-killed.ts');
  for (let round = 0; round < 3; round += 1) {
    const child = spawn(process.execPath, [writer, dir, `/r${round}/`], { stdio: ['ignore', 'pipe', 'inherit'] });
    let acknowledged = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      acknowledged += text;
      if (acknowledged.length > 4000 * (round + 1)) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const keys = acknowledged.split('\n').slice(0, -1);
    assert.ok(keys.length > 100);
    const backend = await openLmdbBackend(dir);
    const held = new Set((await backend.range(`/r${round}/`)).entries.map(({ key }) => key));
    assert.deepEqual(
      keys.filter((key) => !held.has(key)),
      [],
    );
    await backend.close();
  }
  await rm(dir, { recursive: true, force: true });
});

const thing = (fill = '') => ({
  type: 'put' as const,
  ...serialiseAround({ apiVersion: 'v1', kind: 'Thing', metadata: { name: 'x', annotations: { fill } } }),
});

it('refuses writes on a full disk, goes on reading, and writes again when there is room', async () => {
  const dir = await makeDir();
  await execOrThrow(systemExec, 'mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', dir]);
  try {
    let backend = await openLmdbBackend(dir);
    await backend.transact('/a/first', () => thing());
    const told: StoreEvent[] = [];
    backend.subscribe((events) => told.push(...events));
    let failure: unknown;
    const acknowledged: string[] = [];
    for (let round = 0; round < 100 && failure === undefined; round += 1) {
      const keys = Array.from({ length: 40 }, (_, i) => `/a/${round}-${i}`);
      const outcomes = await Promise.allSettled(
        keys.map((key) => backend.transact(key, () => thing(incompressible(2000)))),
      );
      for (const [i, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled') acknowledged.push(keys[i] ?? '');
        else failure = outcome.reason;
      }
    }
    assert.ok(failure instanceof StoreWriteError);
    assert.match(failure.message, /cannot be written .*full disk/);
    assert.ok(backend.failure !== undefined);
    const held = (await backend.range('/a/')).entries.map(({ key }) => key);
    assert.deepEqual(
      acknowledged.filter((key) => !held.includes(key)),
      [],
    );
    assert.equal(told.length, held.length - 1, 'what never happened was told to nobody');
    assert.equal((await backend.get('/a/first'))?.key, '/a/first');
    await execOrThrow(systemExec, 'mount', ['-o', 'remount,size=32m', dir]);
    const entry = await backend.transact('/a/after', () => thing());
    assert.equal(entry?.revision, backend.revision);
    assert.equal(backend.failure, undefined);
    await backend.close();
    backend = await openLmdbBackend(dir);
    assert.deepEqual((await backend.range('/a/')).entries.map(({ key }) => key).sort(), [...held, '/a/after'].sort());
    await backend.close();
  } finally {
    await execOrThrow(systemExec, 'umount', ['-l', dir]);
    await rm(dir, { recursive: true, force: true });
  }
});

it('compacts in pieces while others write, keeps what is there now and reuses the space', async () => {
  const dir = await makeDir();
  let backend = await openLmdbBackend(dir);
  const sizes: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    await Promise.all(
      Array.from({ length: 2000 }, (_, i) => backend.transact(`/a/${i % 50}`, () => thing(incompressible(500)))),
    );
    await backend.transact(`/a/gone-${round}`, () => thing());
    await backend.transact(`/a/gone-${round}`, () => ({ type: 'delete' }));
    let isCompacted = false;
    const compacting = backend.compact(backend.revision).then(() => {
      isCompacted = true;
    });
    let beside = 0;
    for (; !isCompacted; beside += 1) await backend.transact('/a/beside', () => thing());
    await compacting;
    assert.ok(beside > 1, 'no write got through while history was compacted');
    sizes.push((await stat(join(dir, 'store', 'data.mdb'))).size);
  }
  assert.ok((sizes.at(-1) ?? 0) <= 2 * (sizes[1] ?? 0), `the file grows for ever: ${sizes}`);
  const now = await backend.range('/a/');
  assert.equal(now.entries.length, 51);
  await backend.close();
  backend = await openLmdbBackend(dir);
  assert.deepEqual(await backend.range('/a/'), now);
  await backend.close();
  await rm(dir, { recursive: true, force: true });
});

it('says plainly which store is damaged or of another version, and keeps its files to its owner', async () => {
  const dir = await makeDir();
  const backend = await openLmdbBackend(dir);
  await Promise.all(
    Array.from({ length: 200 }, (_, i) => backend.transact(`/a/${i}`, () => thing(incompressible(1000)))),
  );
  await backend.close();
  const file = join(dir, 'store', 'data.mdb');
  assert.equal((await stat(file)).mode & 0o077, 0);
  const good = await readFile(file);
  const damaged: Record<string, Buffer> = {
    'are left of': good.subarray(0, good.length / 2),
    'bytes are left': good.subarray(0, 100),
    'not that of a store': Buffer.from('hello '.repeat(2000)),
  };
  for (const [reason, bytes] of Object.entries(damaged)) {
    await writeFile(file, bytes);
    await assert.rejects(openLmdbBackend(dir), (error: Error) => {
      assert.match(error.message, new RegExp(`the store ${dir}/store is damaged .*${reason}.*berth restore`));
      return true;
    });
  }
  await writeFile(file, good);
  const { root, marks } = openLog(dir);
  await marks.put('format', 99);
  await root.flushed;
  await root.close();
  await assert.rejects(openLmdbBackend(dir), /has format 99, this program reads format 2/);
  await rm(dir, { recursive: true, force: true });
});

it('reads a store from before records were compressed, and goes on writing it', async () => {
  const dir = await makeDir();
  const path = join(dir, 'store');
  const root = open<Buffer, string>({ path, maxDbs: 4 });
  const records = root.openDB<Buffer, number>({ name: 'log', encoding: 'binary' });
  const value = (revision: number) =>
    Buffer.from(JSON.stringify({ metadata: { resourceVersion: `${revision}` }, text: 'x'.repeat(3000) }));
  for (let at = 1; at <= 20; at += 1) {
    const key = `/a/${at % 10}`;
    const previousRevision = Math.max(0, at - 10);
    await records.put(at, encodeRecord({ type: 'put', previousRevision, key, value: value(at) }));
  }
  await root.openDB<number, string>({ name: 'marks', encoding: 'json' }).put('format', 1);
  await root.flushed;
  await root.close();
  let backend = await openLmdbBackend(dir);
  assert.equal(backend.revision, 20);
  assert.deepEqual((await backend.get('/a/3'))?.value, value(13));
  const [event] = await backend.history(15);
  assert.deepEqual([event?.entry.value, event?.previous?.value], [value(16), value(6)]);
  await backend.transact('/a/new', () => thing('x'.repeat(3000)));
  await backend.close();
  backend = await openLmdbBackend(dir);
  const { entries } = await backend.range('/a/');
  assert.equal(entries.length, 11);
  await backend.compact(21);
  assert.deepEqual((await backend.range('/a/')).entries, entries);
  await backend.close();
  await rm(dir, { recursive: true, force: true });
});
