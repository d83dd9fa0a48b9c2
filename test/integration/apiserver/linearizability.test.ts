// Concurrent clients of one object through real servers: on the embedded store, and through two control planes on one etcd
// of three members, one of which dies.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { configmaps, deployments, leases, replicasets } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { StatusError } from '#kube/errors/status-error.ts';
import { eventually } from '../../support/eventually.ts';
import { findViolation, type Operation } from '../../support/register-history.ts';
import { startControlPlane } from '../../support/start-control-plane.ts';
import { etcdUnavailable, startEtcd } from '../../support/start-etcd.ts';

const at = { namespace: 'default', name: 'register' };

/** Reads and writes by each client until told to end. What failed has no answer to check. */
async function record(clients: readonly ApiClient[], history: Operation[], told: AbortSignal): Promise<void> {
  const signal = AbortSignal.any([told, AbortSignal.timeout(150_000)]);
  const note = async (kind: Operation['kind'], work: () => ReturnType<typeof read>): Promise<void> => {
    const startedMs = performance.now();
    const { metadata, data } = await work();
    const revision = Number(metadata.resourceVersion);
    history.push({ kind, value: data?.['value'] ?? '', revision, startedMs, endedMs: performance.now() });
  };
  const read = (client: ApiClient) => client.get(configmaps, at, { timeoutMs: 5000 });
  const listed = async (client: ApiClient) => {
    const { items } = await client.list(configmaps, { namespace: 'default', fieldSelector: 'metadata.name=register' });
    const [found] = items;
    assert.ok(found);
    return found;
  };
  const workers = clients.map(async (client, worker) => {
    for (let round = 0; !signal.aborted; round += 1) {
      try {
        if (round % 3 === 2) {
          const current = await read(client);
          const value = `${worker}-${round}`;
          await note('write', () => client.update(configmaps, { ...current, data: { value } }, { timeoutMs: 5000 }));
        } else {
          await note('read', () => (round % 3 === 0 ? read(client) : listed(client)));
        }
      } catch (error) {
        // Somebody was faster; or etcd has just lost its leader, and asking at once again would only keep it busy.
        if (!(error instanceof StatusError) || error.httpCode >= 500) await sleep(50);
      }
    }
  });
  await Promise.all(workers);
}

/** Most attempts to write lose against another one: how many succeed in a time is the machine's business. */
const hasWrites = (history: readonly Operation[], count: number) =>
  eventually(`${count} writes`, async () => history.filter(({ kind }) => kind === 'write').length >= count, 60_000);

const created = (client: ApiClient) =>
  client.create(configmaps, 'default', { metadata: { name: 'register' }, data: { value: 'first' } });

describe('what concurrent clients see of one object', () => {
  it('has one order on the embedded store', async () => {
    const plane = await startControlPlane();
    try {
      await created(plane.client);
      const history: Operation[] = [];
      const stop = new AbortController();
      const recording = record(Array(8).fill(plane.client), history, stop.signal);
      await hasWrites(history, 100);
      stop.abort();
      await recording;
      assert.equal(findViolation(history), undefined);
    } finally {
      await plane.stop();
    }
  });

  it('has one order through two servers on etcd while a member dies, and one server leads', {
    skip: etcdUnavailable ?? false,
  }, async () => {
    await using etcd = await startEtcd(3);
    const pki = await mkdtemp(join(tmpdir(), 'shared-pki-'));
    const flags = [`--store=etcd=${etcd.urls}`, `--pki-dir=${pki}`];
    const first = await startControlPlane(flags);
    const second = await startControlPlane(flags);
    let isFirstOver = false;
    try {
      await created(first.client);
      const stop = new AbortController();
      const history: Operation[] = [];
      const clients = [first.client, second.client, first.client, second.client];
      const recording = record(clients, history, stop.signal);
      await hasWrites(history, 20);
      const revive = await etcd.kill(0);
      // The members that are left may have to choose a leader first.
      await eventually('a write without the third member', () =>
        second.client.create(configmaps, 'default', { metadata: { generateName: 'after-' } }, { timeoutMs: 5000 }),
      );
      await hasWrites(history, history.filter(({ kind }) => kind === 'write').length + 20);
      revive();
      stop.abort();
      await recording;
      assert.equal(findViolation(history), undefined);

      const holder = async (): Promise<string | undefined> => {
        const lease = await second.client.get(leases, { namespace: 'kube-system', name: 'kube-controller-manager' });
        return lease.spec?.holderIdentity;
      };
      const leader = await eventually('a leader', holder);
      const web = {
        metadata: { name: 'web' },
        spec: {
          replicas: 1,
          selector: { matchLabels: { app: 'web' } },
          template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
        },
      };
      await second.client.create(deployments, 'default', web);
      await eventually('a replica set', async () => (await first.client.list(replicasets, {})).items.length === 1);
      // Its lease runs out, and the other one goes on.
      await first.stop();
      isFirstOver = true;
      await second.client.create(deployments, 'default', { ...web, metadata: { name: 'web-2' } });
      const sets = async () => (await second.client.list(replicasets, {})).items.length === 2;
      await eventually('a replica set by the other server', sets, 60_000, 200);
      assert.notEqual(await holder(), leader);
    } finally {
      if (!isFirstOver) await first.stop();
      await second.stop();
      await rm(pki, { recursive: true, force: true });
    }
  });
});
