// Backups taken beside a store that is being written, stores made of them, and the move to etcd.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import type { Backend } from '../../../control-plane-lite/storage/backend.ts';
import { CompactedError } from '../../../control-plane-lite/storage/backend.ts';
import { backUp, restore } from '../../../control-plane-lite/storage/backup/back-up.ts';
import { migrateStore } from '../../../control-plane-lite/storage/backup/migrate-store.ts';
import { openEtcdBackend } from '../../../control-plane-lite/storage/etcd/etcd-backend.ts';
import { openLmdbBackend } from '../../../control-plane-lite/storage/lmdb/lmdb-backend.ts';
import { serialiseAround } from '../../../control-plane-lite/storage/object-bytes.ts';
import { etcdUnavailable, startEtcd } from '../../support/start-etcd.ts';

const put = (value: string) => ({
  type: 'put' as const,
  ...serialiseAround({ apiVersion: 'v1', kind: 'Thing', metadata: { name: 'x' }, ...{ value } }),
});
const contentOf = async (backend: Backend): Promise<[string, string][]> =>
  (await backend.range('/registry/')).entries.map(({ key, value }) => [key, JSON.parse(value.toString()).value]);

describe('the store as a file', () => {
  let root = '';
  let number = 0;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'berth-backup-'));
  });
  after(() => rm(root, { recursive: true, force: true }));
  const place = (): string => join(root, `${number++}`);

  async function filled(count = 50): Promise<string> {
    const dir = place();
    const backend = await openLmdbBackend(dir);
    await Promise.all(
      Array.from({ length: count }, (_, i) => backend.transact(`/registry/configmaps/a/${i}`, () => put(`value ${i}`))),
    );
    await backend.transact('/registry/configmaps/a/0', () => put('changed'));
    await backend.transact('/registry/configmaps/a/1', () => ({ type: 'delete' }));
    await backend.close();
    return dir;
  }

  it('is a whole moment of a store that is being written, and makes the same store again', async () => {
    const dir = place();
    const backend = await openLmdbBackend(dir);
    let isOver = false;
    let written = 0;
    const writing = (async () => {
      for (; !isOver; written += 1) {
        // The two always are of one round, or one apart.
        await backend.transact('/registry/a', () => put(`${written}`));
        await backend.transact('/registry/b', () => put(`${written}`));
      }
    })();
    while (written < 20) await new Promise((resolve) => setImmediate(resolve));
    const file = place();
    const summary = await backUp(dir, file, systemClock);
    isOver = true;
    await writing;
    assert.equal(summary.objects, 2);
    assert.ok(summary.revision <= backend.revision);
    await backend.close();
    assert.equal((await stat(file)).mode & 0o077, 0);

    const again = place();
    await restore(file, again, systemClock);
    const restored = await openLmdbBackend(again);
    const [[, a] = [], [, b] = []] = await contentOf(restored);
    assert.ok(Number(a) - Number(b) === 0 || Number(a) - Number(b) === 1, `${a} and ${b}`);
    await restored.close();
  });

  it('gives no revision out twice, and sends clients of later ones back to the list', async () => {
    const dir = await filled();
    const file = place();
    const { revision } = await backUp(dir, file, systemClock);
    const original = await openLmdbBackend(dir);
    const content = await contentOf(original);
    await original.close();
    const again = place();
    await restore(file, again, systemClock);
    const backend = await openLmdbBackend(again);
    assert.deepEqual(await contentOf(backend), content);
    assert.ok(backend.revision > revision);
    await assert.rejects(backend.history(revision), CompactedError);
    await assert.rejects(backend.history(revision + 500), CompactedError);
    const entry = await backend.transact('/registry/new', () => put('new'));
    assert.ok((entry?.revision ?? 0) > revision + 1000);
    await backend.close();
  });

  it('replaces a store only where told to, keeps what was there, and never that of a running control plane', async () => {
    const dir = await filled();
    const file = place();
    await backUp(dir, file, systemClock);
    await assert.rejects(restore(file, dir, systemClock), /--force/);
    const backend = await openLmdbBackend(dir);
    await assert.rejects(restore(file, dir, systemClock, { replace: true }), /in use by another control plane/);
    await backend.transact('/registry/later', () => put('later'));
    await backend.close();
    const { putAside } = await restore(file, dir, systemClock, { replace: true });
    assert.ok(putAside !== undefined && existsSync(join(putAside, 'data.mdb')));
    const restored = await openLmdbBackend(dir);
    assert.equal(await restored.get('/registry/later'), undefined);
    await restored.close();
    await assert.rejects(backUp(dir, file, systemClock), /exists/);
    await assert.rejects(backUp(place(), place(), systemClock), /there is no store/);
  });

  it('is refused when it is cut, changed or something else, with nothing touched', async () => {
    const dir = await filled();
    const file = place();
    await backUp(dir, file, systemClock);
    const bytes = await readFile(file);
    const lines = gunzipSync(bytes).toString().trimEnd().split('\n');
    const zipped = (some: readonly string[]) => gzipSync(`${some.join('\n')}\n`);
    const value = Buffer.from('{"other":1}').toString('base64');
    const damaged: [string, Buffer][] = [
      ['unexpected end', bytes.subarray(0, bytes.length - 40)],
      ['its end is missing', zipped(lines.slice(0, -1))],
      ['not those that were written', zipped(lines.toSpliced(3, 1))],
      [
        'not those that were written',
        zipped(lines.with(3, JSON.stringify({ key: '/registry/x', revision: 9, value }))),
      ],
      ['goes on after its end', zipped([...lines, ...lines.slice(1, 2)])],
      ['does not begin as one', zipped(['{"format":"berth-backup/9"}', ...lines.slice(1)])],
      ['incorrect header', Buffer.from('hello')],
    ];
    for (const [reason, content] of damaged) {
      const broken = place();
      await writeFile(broken, content);
      const target = place();
      await assert.rejects(restore(broken, target, systemClock), (error: Error) => {
        assert.match(error.message, new RegExp(`is not a whole backup: .*${reason}`));
        return true;
      });
      assert.equal(existsSync(join(target, 'store')), false);
    }
    const [target, broken] = [await filled(3), place()];
    await writeFile(broken, bytes.subarray(0, bytes.length - 40));
    await assert.rejects(restore(broken, target, systemClock, { replace: true }));
    const backend = await openLmdbBackend(target);
    assert.equal((await contentOf(backend)).length, 2);
    await backend.close();
    assert.deepEqual(
      (await readdir(target)).filter((name) => name.startsWith('store')),
      ['store'],
    );
  });

  it('moves to etcd whole, sealed anew, again after an interruption, and not among objects of others', {
    skip: etcdUnavailable ?? false,
  }, async () => {
    await using etcd = await startEtcd();
    const encryptionFile = place();
    const key = Buffer.alloc(32, 5).toString('base64');
    const providers = [{ aesgcm: { keys: [{ name: 'k', secret: key }] } }, { identity: {} }];
    await writeFile(
      encryptionFile,
      JSON.stringify({
        apiVersion: 'apiserver.config.k8s.io/v1',
        kind: 'EncryptionConfiguration',
        resources: [{ resources: ['secrets'], providers }],
      }),
    );
    const dir = await filled(1200);
    const before = await openLmdbBackend(dir);
    await before.transact('/registry/secrets/a/s', () => put('hunter2'));
    const content = await contentOf(before);
    const options = {
      dataDir: dir,
      store: {
        kind: 'etcd' as const,
        endpoints: etcd.urls,
        caFile: undefined,
        certFile: undefined,
        keyFile: undefined,
      },
      encryptionFile,
    };
    await assert.rejects(migrateStore(options), /in use by another control plane/);
    await before.close();
    assert.deepEqual(await migrateStore(options), { objects: content.length, alreadyThere: 0 });
    const client = etcd.connect();
    using closing = new DisposableStack();
    closing.defer(() => client.close());
    const raw = await client.range({ key: Buffer.from('/registry/secrets/a/s') });
    assert.match(raw.kvs[0]?.value.toString('latin1') ?? '', /^k8s:enc:aesgcm:v1:k:/);
    const plain = await client.range({ key: Buffer.from('/registry/configmaps/a/2') });
    assert.equal(JSON.parse(plain.kvs[0]?.value.toString() ?? '{}').metadata.resourceVersion, '');
    await client.replace(
      Buffer.from('/registry/configmaps/a/7'),
      await revisionOf('/registry/configmaps/a/7'),
      undefined,
    );
    assert.deepEqual(await migrateStore(options), { objects: content.length, alreadyThere: content.length - 1 });

    const { loadEncryption } = await import('../../../control-plane-lite/storage/encryption/encryption-config.ts');
    const { storagePrefixesOf } = await import('../../../control-plane-lite/registry/storage-prefix.ts');
    const sealer = loadEncryption(encryptionFile, storagePrefixesOf);
    const onEtcd = await openEtcdBackend(etcd.connect(), pino({ level: 'silent' }), { sealer });
    assert.deepEqual(await contentOf(onEtcd), content);
    await onEtcd.close();
    await client.replace(Buffer.from('/registry/pods/a/foreign'), 0, Buffer.from('{}'));
    await assert.rejects(
      migrateStore(options),
      /objects of another cluster already, such as \/registry\/pods\/a\/foreign/,
    );

    async function revisionOf(key: string): Promise<number> {
      return (await client.range({ key: Buffer.from(key) })).kvs[0]?.modRevision ?? 0;
    }
  });
});
