// The store on etcd against the suite of stores, with an etcd of the test's own.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import { CompactedError, type StoredEntry, type StoreEvent } from '../../../control-plane-lite/storage/backend.ts';
import { openEtcdBackend } from '../../../control-plane-lite/storage/etcd/etcd-backend.ts';
import { serialiseAround } from '../../../control-plane-lite/storage/object-bytes.ts';
import { type EtcdCluster, etcdUnavailable, startEtcd } from '../../support/start-etcd.ts';
import { describeBackend } from './backend-suite.ts';

const logger = pino({ level: 'silent' });

if (etcdUnavailable === undefined) {
  describe('with an etcd', () => {
    let etcd: EtcdCluster;
    before(async () => {
      etcd = await startEtcd();
    });
    after(async () => etcd?.[Symbol.asyncDispose]());

    let test = 0;
    describeBackend('etcd', async () => {
      // Every test has a key space of its own.
      const prefix = `/test-${test++}`;
      const open = () => openEtcdBackend(etcd.connect(), logger, { prefix });
      let backend = await open();
      return {
        backend,
        reopen: async () => {
          await backend.close();
          backend = await open();
          return backend;
        },
        dispose: () => backend.close(),
      };
    });

    const put = (value: string) => ({
      type: 'put' as const,
      ...serialiseAround({ apiVersion: 'v1', kind: 'Thing', metadata: { name: 'x' }, ...{ value } }),
    });
    const open = (prefix: string) => openEtcdBackend(etcd.connect(), logger, { prefix });
    const told = (events: readonly StoreEvent[]) =>
      events.map(({ type, entry, previous }) => {
        const value = ({ value: bytes }: StoredEntry) => (JSON.parse(bytes.toString()) as { value: string }).value;
        return [type, entry.key, value(entry), previous === undefined ? '' : value(previous)];
      });

    it('repeats what happened before it was opened, also where nothing has happened since', async () => {
      const prefix = '/past';
      const before = await open(prefix);
      const first = await before.transact('/a/1', () => put('one'));
      assert.ok(first);
      await before.transact('/a/1', () => put('two'));
      await before.transact('/b/1', () => put('other'));
      await before.transact('/a/1', () => ({ type: 'delete' }));
      await before.close();
      const expected = [
        ['put', '/a/1', 'two', 'one'],
        ['delete', '/a/1', 'two', 'two'],
      ];
      const quiet = await open(prefix);
      assert.deepEqual(told(await quiet.history(first.revision, '/a/')), expected);
      await quiet.close();
      const busy = await open(prefix);
      await busy.transact('/a/2', () => put('new'));
      const asked = Array.from({ length: 5 }, () => busy.history(first.revision, '/a/'));
      for (const events of await Promise.all(asked)) {
        assert.deepEqual(told(events), [...expected, ['put', '/a/2', 'new', '']]);
      }
      await busy.close();
    });

    it('says so when etcd has compacted that', async () => {
      const prefix = '/compacted';
      const before = await open(prefix);
      const first = await before.transact('/a/1', () => put('one'));
      const second = await before.transact('/a/1', () => put('two'));
      assert.ok(first !== undefined && second !== undefined);
      await before.transact('/a/1', () => put('three'));
      await before.close();
      const after = await open(prefix);
      const client = etcd.connect();
      await client.compact(second.revision);
      client.close();
      try {
        await assert.rejects(after.history(first.revision), CompactedError);
        assert.deepEqual(told(await after.history(second.revision, '/a/')), [['put', '/a/1', 'three', 'two']]);
      } finally {
        await after.close();
      }
    });
  });
} else {
  it('store on etcd', { skip: etcdUnavailable }, () => undefined);
}
