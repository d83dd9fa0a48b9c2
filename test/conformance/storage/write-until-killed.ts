// Writes to a store without end and prints each key once it is acknowledged. Started and killed by lmdb.test.ts.
import { writeSync } from 'node:fs';
import { openLmdbBackend } from '../../../control-plane-lite/storage/lmdb/lmdb-backend.ts';
import { serialiseAround } from '../../../control-plane-lite/storage/object-bytes.ts';

const [dir = '', prefix = ''] = process.argv.slice(2);
const backend = await openLmdbBackend(dir);
let next = 0;

async function writeForever(): Promise<never> {
  for (;;) {
    const key = `${prefix}${next++}`;
    const text = serialiseAround({ kind: 'Thing', apiVersion: 'v1', metadata: { name: key } });
    await backend.transact(key, () => ({ type: 'put', ...text }));
    writeSync(1, `${key}\n`);
  }
}

await Promise.all(Array.from({ length: 8 }, writeForever));
