// Cluster IPs and node ports of several control planes on one etcd: nothing is given out twice, and what is given back
// can be had again.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Service } from '#kube/api/generated/core-v1.ts';
import { services } from '#kube/api/generated/resources.ts';
import { StatusError } from '#kube/errors/status-error.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { etcdUnavailable, startEtcd } from '../../support/start-etcd.ts';

const bounds = { timeout: 180_000 };

describe('services made through several control planes', { ...bounds, skip: etcdUnavailable ?? false }, () => {
  const opened = new AsyncDisposableStack();
  let planes: readonly TestControlPlane[] = [];

  before(async () => {
    const etcd = opened.use(await startEtcd(1));
    const pki = await mkdtemp(join(tmpdir(), 'shared-pki-'));
    opened.defer(() => rm(pki, { recursive: true, force: true }));
    const flags = [
      `--store=etcd=${etcd.urls}`,
      `--pki-dir=${pki}`,
      '--service-cluster-ip-range=10.96.0.0/27',
      '--service-node-port-range=30000-30019',
    ];
    for (let index = 0; index < 2; index += 1) {
      const plane = await startControlPlane(flags);
      opened.defer(() => plane.stop());
      planes = [...planes, plane];
    }
  });
  after(() => opened.disposeAsync());

  /** Through each server in turn, all at once. What was refused is undefined. */
  const createMany = async (prefix: string, count: number, spec: object): Promise<Service[]> => {
    const made = await Promise.all(
      Array.from({ length: count }, (_, index) => {
        const plane = planes[index % planes.length];
        assert.ok(plane);
        const body = {
          metadata: { name: `${prefix}-${index}` },
          spec: { ports: [{ port: 80, protocol: 'TCP' }], ...spec },
        };
        return plane.client.create(services, 'default', body, { timeoutMs: 60_000 }).catch((error: unknown) => {
          if (error instanceof StatusError) return undefined;
          throw error;
        });
      }),
    );
    return made.filter((service) => service !== undefined);
  };
  const removeAll = async (made: readonly Service[]) => {
    const [plane] = planes;
    assert.ok(plane);
    await Promise.all(
      made.map(({ metadata: { name } }) => plane.client.delete(services, { namespace: 'default', name })),
    );
  };
  const isUnique = (values: readonly unknown[]) => assert.equal(new Set(values).size, values.length, values.join(' '));

  it('have cluster IPs of their own until the range is full, and after it was emptied', bounds, async () => {
    // One of the 30 addresses is the API's own.
    for (const round of ['first', 'second']) {
      const made = await createMany(round, 40, {});
      isUnique(made.map(({ spec }) => spec?.clusterIP));
      assert.equal(made.length, 29, round);
      await removeAll(made);
      await eventually('both servers know that all are gone', async () => {
        const left = await Promise.all(planes.map(({ client }) => client.list(services, { resourceVersion: '0' })));
        return left.every(({ items }) => items.length === 1);
      });
    }
  });

  it('have node ports of their own', bounds, async () => {
    for (const round of ['third', 'fourth']) {
      const made = await createMany(round, 24, { type: 'NodePort' });
      isUnique(made.map(({ spec }) => spec?.ports?.[0]?.nodePort));
      assert.equal(made.length, 20, round);
      await removeAll(made);
    }
  });

  it('cannot choose what another server has just given out', bounds, async () => {
    const made = await createMany('chosen', 8, { clusterIP: '10.96.0.9' });
    assert.equal(made.length, 1);
    const ported = await createMany('ported', 8, {
      type: 'NodePort',
      ports: [{ port: 80, nodePort: 30_007, protocol: 'TCP' }],
    });
    assert.equal(ported.length, 1);
  });
});
