// The store on etcd against the suite of stores, with an etcd of the test's own.
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import { openEtcdBackend } from '../../../control-plane-lite/storage/etcd/etcd-backend.ts';
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
  });
} else {
  it('store on etcd', { skip: etcdUnavailable }, () => undefined);
}
