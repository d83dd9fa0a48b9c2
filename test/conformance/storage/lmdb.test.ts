// The embedded store against the suite of stores, and killed in the middle of its writes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { openLmdbBackend } from '../../../control-plane-lite/storage/lmdb/lmdb-backend.ts';
import { describeBackend } from './backend-suite.ts';

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
