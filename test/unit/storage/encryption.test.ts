import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { storagePrefixesOf } from '../../../control-plane-lite/registry/storage-prefix.ts';
import { loadEncryption } from '../../../control-plane-lite/storage/encryption/encryption-config.ts';
import { plainValues, type ValueSealer } from '../../../control-plane-lite/storage/encryption/value-sealer.ts';
import { openLmdbBackend } from '../../../control-plane-lite/storage/lmdb/lmdb-backend.ts';
import { serialiseAround } from '../../../control-plane-lite/storage/object-bytes.ts';

const key = (fill: number, bytes = 32) => Buffer.alloc(bytes, fill).toString('base64');
const provider = (kind: string, name: string, secret: string) => ({ [kind]: { keys: [{ name, secret }] } });
const identity = { identity: {} };
const secretKey = '/registry/secrets/default/a';
const plain = Buffer.from('{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}');

describe('values sealed by an EncryptionConfiguration', () => {
  let dir = '';
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'encryption-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  async function load(resources: unknown): Promise<ValueSealer> {
    const path = join(dir, 'encryption.yaml');
    const kind = 'EncryptionConfiguration';
    await writeFile(path, JSON.stringify({ kind, apiVersion: 'apiserver.config.k8s.io/v1', resources }));
    return loadEncryption(path, storagePrefixesOf);
  }
  const forSecrets = (...providers: unknown[]) => load([{ resources: ['secrets'], providers }]);

  for (const kind of ['aesgcm', 'aescbc', 'secretbox']) {
    it(`come back from ${kind}, differ each time, and are nothing without the key or when changed`, async () => {
      const sealer = await forSecrets(provider(kind, 'one', key(1)), identity);
      const stored = sealer.seal(secretKey, plain);
      assert.match(stored.toString('latin1'), new RegExp(`^k8s:enc:${kind}:v1:one:`));
      assert.ok(!stored.includes('hunter') && !stored.includes('Secret'));
      assert.notDeepEqual(sealer.seal(secretKey, plain), stored);
      assert.deepEqual(sealer.open(secretKey, stored), { value: plain, isStale: false });
      const other = await forSecrets(provider(kind, 'one', key(2)));
      assert.throws(() => other.open(secretKey, stored), /cannot read .*was changed, or the key is another one/);
      const renamed = await forSecrets(provider(kind, 'two', key(1)));
      assert.throws(() => renamed.open(secretKey, stored), /a key that is not configured/);
      assert.throws(() => plainValues.open(secretKey, stored), /--encryption-provider-config/);
      const changed = Buffer.from(stored);
      changed.writeUInt8(changed.readUInt8(stored.length - 20) ^ 1, stored.length - 20);
      if (kind !== 'aescbc') assert.throws(() => sealer.open(secretKey, changed));
      assert.throws(() => sealer.open(secretKey, stored.subarray(0, 30)));
    });
  }

  it('open what kube-apiserver has sealed by AES-GCM, at the place where it sealed it only', async () => {
    const nonce = Buffer.alloc(12, 7);
    const cipher = createCipheriv('aes-128-gcm', Buffer.alloc(16, 3), nonce).setAAD(Buffer.from(secretKey));
    const body = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    const stored = Buffer.concat([Buffer.from('k8s:enc:aesgcm:v1:k:'), body]);
    const sealer = await forSecrets(provider('aesgcm', 'k', key(3, 16)));
    assert.deepEqual(sealer.open(secretKey, stored).value, plain);
    assert.throws(() => sealer.open('/registry/secrets/default/b', stored));
  });

  it('are stale when they lie there plain or under an older key', async () => {
    const older = await forSecrets(provider('secretbox', 'old', key(1)));
    const sealer = await forSecrets(provider('aesgcm', 'new', key(2)), provider('secretbox', 'old', key(1)), identity);
    assert.deepEqual(sealer.open(secretKey, older.seal(secretKey, plain)), { value: plain, isStale: true });
    assert.deepEqual(sealer.open(secretKey, plain), { value: plain, isStale: true });
    assert.throws(() => older.open(secretKey, plain), /identity is no provider/);
  });

  it('are those of the resources that are named, the first entry that fits', async () => {
    const cases: [string[], string, boolean][] = [
      [['secrets'], '/registry/secrets/a/b', true],
      [['secrets'], '/registry/configmaps/a/b', false],
      [['deployments.apps'], '/registry/deployments/a/b', true],
      [['*.apps'], '/registry/daemonsets/a/b', true],
      [['*.apps'], '/registry/secrets/a/b', false],
      [['*.'], '/registry/minions/a', true],
      [['*.'], '/registry/deployments/a/b', false],
      [['*.*'], '/registry/example.com/widgets/a/b', true],
      [['widgets.example.com'], '/registry/example.com/widgets/a/b', true],
      [['widgets.example.com'], '/registry/example.com/gadgets/a/b', false],
      [['*.example.com'], '/registry/example.com/gadgets/a/b', true],
    ];
    for (const [resources, at, isSealed] of cases) {
      const sealer = await load([{ resources, providers: [provider('aesgcm', 'k', key(1))] }]);
      assert.equal(sealer.seal(at, plain) !== plain, isSealed, `${resources} ${at}`);
    }
    const first = await load([
      { resources: ['events'], providers: [identity] },
      { resources: ['*.*'], providers: [provider('aesgcm', 'k', key(1))] },
    ]);
    assert.equal(first.seal('/registry/events/a/b', plain), plain);
    assert.notEqual(first.seal(secretKey, plain), plain);
  });

  it('need a configuration without mistakes, and no message shows a key', async () => {
    const short = Buffer.from('much-too-short-key').toString('base64');
    const mistakes: [unknown, RegExp][] = [
      [[{ resources: ['secrets'], providers: [provider('aesgcm', 'k', short)] }], /takes 16, 24, 32 bytes in base64/],
      [[{ resources: ['secrets'], providers: [provider('aesgcm', 'a:b', key(1))] }], /name without colons/],
      [[{ resources: ['secrets'], providers: [{ aesgcm: { keys: [] } }] }], /at least one key/],
      [[{ resources: ['secrets'], providers: [{ kms: { name: 'x' } }] }], /kms are not supported/],
      [[{ resources: ['secrets'], providers: [{}] }], /exactly one kind/],
      [[{ resources: [], providers: [identity] }], /at least one of each/],
      [[{ resources: ['nothings'], providers: [identity] }], /nothings is no resource/],
      [[{ resources: ['secrets'], providers: [{ rot13: {} }] }], /unknown field/],
    ];
    for (const [resources, message] of mistakes) {
      await assert.rejects(load(resources), (error: Error) => {
        assert.match(error.message, message);
        assert.ok(!error.message.includes(short) && !error.message.includes(key(1)));
        return true;
      });
    }
  });

  it('lie sealed in the files of the store, and say that they are stale until they are written again', async () => {
    const place = join(dir, 'store');
    const object = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'a' }, data: { password: 'hunter2' } };
    const put = () => ({ type: 'put' as const, ...serialiseAround(object) });
    const before = await openLmdbBackend(place);
    await before.transact(secretKey, put);
    await before.close();
    const sealer = await forSecrets(provider('secretbox', 'k', key(1)), identity);
    let backend = await openLmdbBackend(place, sealer);
    assert.equal((await backend.get(secretKey))?.isStale, true);
    await backend.transact(secretKey, put);
    assert.equal((await backend.get(secretKey))?.isStale, undefined);
    await backend.transact('/registry/secrets/default/b', put);
    await backend.transact('/registry/secrets/default/b', () => ({ type: 'delete' }));
    const { revision } = backend;
    assert.match((await backend.history(revision - 1))[0]?.entry.value.toString() ?? '', /hunter2/);
    await backend.compact(revision);
    await backend.close();
    backend = await openLmdbBackend(place, sealer);
    const entry = await backend.get(secretKey);
    assert.equal(entry?.isStale, undefined);
    assert.equal(JSON.parse(entry?.value.toString() ?? '{}').data.password, 'hunter2');
    await backend.close();
    await assert.rejects(openLmdbBackend(place), /cannot read .*--encryption-provider-config/);
    const fresh = join(dir, 'fresh');
    backend = await openLmdbBackend(fresh, sealer);
    await backend.transact(secretKey, put);
    await backend.close();
    assert.ok(!(await readFile(join(fresh, 'store', 'data.mdb'))).includes('hunter2'));
  });
});
