import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Node, NodeStatus } from '#kube/api/generated/core-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { failure } from '#kube/errors/status-error.ts';
import { findNodeIps } from '../../../../agent/node/node-address.ts';
import { createNodeReporter } from '../../../../agent/node/node-reporter.ts';
import { planAdoption, planAnnotations, planTaints } from '../../../../agent/node/plan-registration.ts';
import { fakeApiClient } from '../../../support/fake-api-client.ts';
import { createFakeClock, settle } from '../../../support/fake-clock.ts';

interface Call {
  verb: string;
  kind: string;
  body: Record<string, unknown>;
}

function world(existing?: Node) {
  const clock = createFakeClock();
  const calls: Call[] = [];
  let node = existing;
  let current: NodeStatus = { conditions: [{ type: 'Ready', status: 'True' }] };
  const api = {
    get: async (resource: { plural: string }) => {
      if (resource.plural === 'leases') throw failure(404, 'NotFound', 'no lease');
      if (node === undefined) throw failure(404, 'NotFound', 'no node');
      return node;
    },
    create: async (resource: { plural: string }, _: unknown, body: Record<string, unknown>) => {
      calls.push({ verb: 'create', kind: resource.plural, body });
      if (resource.plural === 'nodes' && node !== undefined) throw failure(409, 'AlreadyExists', 'there is one');
      if (resource.plural === 'nodes') node = body as unknown as Node;
      return body;
    },
    update: async (resource: { plural: string }, body: Record<string, unknown>) => {
      calls.push({ verb: 'update', kind: resource.plural, body });
      return body;
    },
    patch: async (resource: { plural: string }, _key: unknown, _type: unknown, body: Record<string, unknown>) => {
      calls.push({ verb: 'patch', kind: resource.plural, body });
      const { status, metadata } = body as { status?: NodeStatus; metadata?: object };
      const addresses = status?.addresses?.filter((item) => !('$patch' in item));
      node = {
        ...node,
        metadata: { ...node?.metadata, ...metadata },
        ...(status && { status: { ...status, addresses } }),
      } as Node;
      return node;
    },
  };
  const reporter = createNodeReporter({
    client: fakeApiClient(api as unknown as Partial<ApiClient>),
    clock,
    logger: pino({ level: 'silent' }),
    nodeName: 'n',
    register: true,
    ownLabels: { 'kubernetes.io/os': 'linux' },
    labels: { role: 'worker' },
    annotations: planAnnotations(false, []),
    taints: [{ key: 'a', effect: 'NoSchedule' }],
    providerId: 'x://1',
    status: async () =>
      structuredClone({
        ...current,
        conditions: current.conditions?.map((item) => ({ ...item, lastHeartbeatTime: `${clock.now()}` })),
      }),
    updatePeriodMs: 10_000,
    reportPeriodMs: 300_000,
    leaseDurationSeconds: 40,
  });
  const stop = new AbortController();
  const running = reporter.run(stop.signal);
  const end = async () => {
    stop.abort();
    await clock.advance(60_000);
    await running;
  };
  const change = (status: NodeStatus) => {
    current = status;
  };
  const count = (verb: string, kind: string) => calls.filter((call) => call.verb === verb && call.kind === kind).length;
  return { clock, calls, reporter, end, change, count };
}

describe('the reporter of the node', () => {
  it('registers a new node with labels, taints and the id of its provider', async () => {
    const { calls, end } = world();
    await settle();
    const [created] = calls;
    assert.deepEqual(created?.body['metadata'], {
      name: 'n',
      labels: { 'kubernetes.io/os': 'linux', role: 'worker' },
      annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
    });
    assert.deepEqual(created?.body['spec'], { taints: [{ key: 'a', effect: 'NoSchedule' }], providerID: 'x://1' });
    await end();
  });

  it('leaves labels and taints of a node that is there, but for what says what machine it is', async () => {
    const existing = { metadata: { name: 'n', labels: { role: 'other' } }, status: {} } as unknown as Node;
    const { calls, end } = world(existing);
    await settle();
    const patch = calls.find(({ verb, kind }) => verb === 'patch' && kind === 'nodes');
    assert.deepEqual(patch?.body, {
      metadata: {
        labels: { 'kubernetes.io/os': 'linux' },
        annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
      },
    });
    await end();
  });

  it('reports a status only when it changed or has aged for five minutes', async () => {
    const { clock, change, count, end } = world();
    await settle();
    for (let round = 0; round < 20; round++) await clock.advance(10_000);
    assert.equal(count('patch', 'nodes'), 0);
    change({ conditions: [{ type: 'Ready', status: 'False' }] });
    await clock.advance(10_000);
    assert.equal(count('patch', 'nodes'), 1);
    for (let round = 0; round < 29; round++) await clock.advance(10_000);
    assert.equal(count('patch', 'nodes'), 1);
    for (let round = 0; round < 2; round++) await clock.advance(10_000);
    assert.equal(count('patch', 'nodes'), 2);
    await end();
  });

  it('reports at once when it is woken', async () => {
    const { change, reporter, count, end } = world();
    await settle();
    change({ conditions: [{ type: 'Ready', status: 'False' }] });
    reporter.wake();
    await settle();
    assert.equal(count('patch', 'nodes'), 1);
    await end();
  });

  it('replaces the addresses as a whole, so that two of one type stay two', async () => {
    const { calls, change, reporter, end } = world();
    await settle();
    const addresses = ['10.0.0.1', 'fd00::1'].map((address) => ({ type: 'InternalIP', address }));
    change({ addresses, conditions: [] });
    reporter.wake();
    await settle();
    const patch = calls.findLast(({ verb, kind }) => verb === 'patch' && kind === 'nodes');
    assert.deepEqual((patch?.body['status'] as NodeStatus | undefined)?.addresses, [
      { $patch: 'replace' },
      ...addresses,
    ]);
    await end();
  });

  it('renews the lease four times in its duration', async () => {
    const { clock, count, end } = world();
    await settle();
    const before = count('update', 'leases');
    for (let round = 0; round < 8; round++) await clock.advance(5000);
    assert.equal(count('update', 'leases') - before, 4);
    await end();
  });
});

describe('a node with a cloud provider outside', () => {
  it('is tainted until that has seen it, and tells the address that was configured', () => {
    assert.deepEqual(planTaints(true, []), [
      { key: 'node.cloudprovider.kubernetes.io/uninitialized', value: 'true', effect: 'NoSchedule' },
    ]);
    assert.deepEqual(planTaints(false, []), []);
    assert.equal(
      planAnnotations(true, ['10.0.0.1', 'fd00::1'])['alpha.kubernetes.io/provided-node-ip'],
      '10.0.0.1,fd00::1',
    );
  });

  it('loses the annotation of its address when that is configured no more', () => {
    const annotations = { 'alpha.kubernetes.io/provided-node-ip': '10.0.0.1' };
    assert.deepEqual(
      planAdoption({ labels: {}, annotations }, { labels: {}, annotations: planAnnotations(true, []) }),
      {
        annotations: {
          'volumes.kubernetes.io/controller-managed-attach-detach': 'true',
          'alpha.kubernetes.io/provided-node-ip': null,
        },
      },
    );
  });
});

describe('the addresses of the node', () => {
  it('are the configured ones, one of each family', async () => {
    assert.deepEqual(await findNodeIps('n', ['10.0.0.1', 'fd00::1']), ['10.0.0.1', 'fd00::1']);
    await assert.rejects(findNodeIps('n', ['10.0.0.1', '10.0.0.2']), /one of each family/);
    await assert.rejects(findNodeIps('n', ['first']), /--node-ip takes addresses/);
  });
});
