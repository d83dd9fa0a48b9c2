import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Toleration } from '#kube/api/generated/core-v1.ts';
import { createCidrAllocator } from '../../../control-plane-lite/controllers/node-ipam/cidr-allocator.ts';
import {
  createEvictionBudget,
  isFullyDisrupted,
} from '../../../control-plane-lite/controllers/node-lifecycle/disruption.ts';
import { evictionTimeMs } from '../../../control-plane-lite/controllers/node-lifecycle/plan-eviction.ts';
import {
  observeHeartbeat,
  planSilence,
} from '../../../control-plane-lite/controllers/node-lifecycle/plan-heartbeat.ts';
import { planTaints } from '../../../control-plane-lite/controllers/node-lifecycle/plan-taints.ts';
import { node, pod } from '../../support/objects.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');

function withReady(status: string, spec: Node['spec'] = {}, name = 'n'): Node {
  return node(name, { spec, status: { conditions: [{ type: 'Ready', status }] } });
}

function keys(current: Node, mayEvict = false): string[] | undefined {
  return planTaints(current, mayEvict, nowMs)?.map(
    ({ key, effect }) => `${key.replace('node.kubernetes.io/', '')}:${effect}`,
  );
}

const admitted = { taints: [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }] };

test('takes the first taint off a node that became ready', () => {
  assert.deepEqual(keys(withReady('True', admitted)), []);
});

test('leaves a node alone that has not reported yet', () => {
  assert.equal(keys(node('n', { spec: admitted })), undefined);
});

test('keeps new pods from nodes that are not ready, and running ones are told to go when that is allowed', () => {
  assert.deepEqual(keys(withReady('False')), ['not-ready:NoSchedule']);
  assert.deepEqual(keys(withReady('Unknown'), true), ['unreachable:NoSchedule', 'unreachable:NoExecute']);
});

test('an evicting taint that is there stays, and changes with the cause', () => {
  const spec = { taints: [{ key: 'node.kubernetes.io/not-ready', effect: 'NoExecute', timeAdded: 'x' }] };
  assert.deepEqual(keys(withReady('Unknown', spec)), ['unreachable:NoSchedule', 'unreachable:NoExecute']);
});

test('leaves the taints of others alone', () => {
  const spec = { taints: [{ key: 'dedicated', value: 'gpu', effect: 'NoSchedule' }], unschedulable: true };
  assert.deepEqual(keys(withReady('True', spec)), ['dedicated:NoSchedule', 'unschedulable:NoSchedule']);
});

test('pressure is a taint', () => {
  const conditions = [
    { type: 'Ready', status: 'True' },
    { type: 'MemoryPressure', status: 'True' },
    { type: 'DiskPressure', status: 'False' },
  ];
  assert.deepEqual(keys(node('n', { status: { conditions } })), ['memory-pressure:NoSchedule']);
});

const limits = { graceMs: 40_000, startupGraceMs: 60_000 };

test('a node is silent when neither its lease nor its status has moved for the grace period', () => {
  const current = withReady('True');
  const heartbeat = observeHeartbeat(undefined, current, undefined, 0);
  assert.equal(planSilence(current, heartbeat, limits, 40_000, nowMs), undefined);
  const conditions = planSilence(current, heartbeat, limits, 40_001, nowMs);
  assert.deepEqual(conditions?.map(({ type, status, reason }) => [type, status, reason])[0], [
    'Ready',
    'Unknown',
    'NodeStatusUnknown',
  ]);
  assert.equal(conditions?.[0]?.message, 'Kubelet stopped posting node status.');
  assert.equal(conditions?.[1]?.reason, 'NodeStatusNeverUpdated');
});

test('a renewed lease is a sign of life', () => {
  const current = withReady('True');
  const lease = (renewTime: string) => ({
    apiVersion: 'v1',
    kind: 'Lease',
    metadata: { name: 'n' },
    spec: { renewTime },
  });
  const first = observeHeartbeat(undefined, current, lease('a'), 0);
  assert.equal(observeHeartbeat(first, current, lease('a'), 30_000).atMs, 0);
  assert.equal(observeHeartbeat(first, current, lease('b'), 30_000).atMs, 30_000);
});

test('a node already Unknown is not written again', () => {
  const current = withReady('True');
  const heartbeat = observeHeartbeat(undefined, current, undefined, 0);
  const conditions = planSilence(current, heartbeat, limits, 50_000, nowMs) ?? [];
  const silent = { ...current, status: { conditions } };
  assert.equal(planSilence(silent, heartbeat, limits, 60_000, nowMs), undefined);
});

test('gives evicting taints to one node in ten seconds, and to none when all nodes are silent', () => {
  const ready = withReady('True', {}, 'a');
  const silent = ['b', 'c'].map((name) => withReady('Unknown', {}, name));
  const budget = createEvictionBudget();
  const all = [ready, ...silent];
  assert.equal(budget.take(all[1] ?? ready, all, 0), true);
  assert.equal(budget.take(all[2] ?? ready, all, 5_000), false);
  assert.equal(budget.take(all[2] ?? ready, all, 10_000), true);
  assert.equal(isFullyDisrupted(silent), true);
  assert.equal(createEvictionBudget().take(silent[0] ?? ready, silent, 0), false);
});

test('a zone that is silent as a whole while another is well is evacuated, one that is so for the most part is not', () => {
  const inZone = (zone: string, status: string, name: string) => {
    const found = withReady(status, {}, name);
    const labels = { ...found.metadata.labels, 'topology.kubernetes.io/zone': zone };
    return { ...found, metadata: { ...found.metadata, labels } };
  };
  const well = ['a1', 'a2', 'a3'].map((name) => inZone('a', 'True', name));
  const silent = ['b1', 'b2', 'b3'].map((name) => inZone('b', 'Unknown', name));
  const [first] = silent;
  assert.ok(first !== undefined);
  assert.equal(createEvictionBudget().take(first, [...well, ...silent], 0), true);
  const mostly = [...well, ...silent, inZone('b', 'True', 'b4')];
  assert.equal(createEvictionBudget().take(first, mostly, 0), false);
});

const taint = { key: 'k', effect: 'NoExecute', timeAdded: '2026-01-01T00:00:00Z' };
const tolerating = (...tolerations: Toleration[]) => pod('p', { spec: { tolerations } });
const evictions: [text: string, tolerations: Toleration[], dueMs: number | undefined][] = [
  ['a pod that does not tolerate the taint goes at once', [], nowMs],
  ['a pod that tolerates it for good stays', [{ key: 'k', operator: 'Exists' }], undefined],
  [
    'a pod that tolerates it for a while goes then',
    [{ key: 'k', operator: 'Exists', tolerationSeconds: 300 }],
    nowMs + 300_000,
  ],
  [
    'the shortest of several limits counts',
    [
      { key: 'k', operator: 'Exists', tolerationSeconds: 300 },
      { operator: 'Exists', tolerationSeconds: 10 },
    ],
    nowMs + 10_000,
  ],
];

for (const [text, tolerations, dueMs] of evictions) {
  test(text, () => assert.equal(evictionTimeMs(tolerating(...tolerations), [taint], nowMs), dueMs));
}

test('a limited toleration runs from when its pod was first seen with a taint that has no time', () => {
  const pod = tolerating({ key: 'k', operator: 'Exists', tolerationSeconds: 5 });
  const taint = { key: 'k', effect: 'NoExecute' };
  assert.equal(evictionTimeMs(pod, [taint], nowMs), nowMs + 5000);
  assert.equal(evictionTimeMs(pod, [taint], nowMs + 5000, nowMs), nowMs + 5000);
});

test('a taint that does not evict moves nobody', () => {
  assert.equal(evictionTimeMs(tolerating(), [{ key: 'k', effect: 'NoSchedule' }], nowMs), undefined);
});

test('divides a range into one for each node, and uses returned ones again', () => {
  const allocator = createCidrAllocator('10.244.0.0/22');
  allocator.occupy('10.244.1.0/24');
  allocator.occupy('192.168.0.0/24');
  assert.deepEqual(
    [allocator.allocate(), allocator.allocate(), allocator.allocate(), allocator.allocate()],
    ['10.244.0.0/24', '10.244.2.0/24', '10.244.3.0/24', undefined],
  );
  allocator.release('10.244.2.0/24');
  assert.equal(allocator.allocate(), '10.244.2.0/24');
});

test('divides IPv6 ranges', () => {
  const allocator = createCidrAllocator('fd00:10:244::/48');
  assert.deepEqual([allocator.allocate(), allocator.allocate()], ['fd00:10:244::/64', 'fd00:10:244:1::/64']);
});

test('refuses what is no range', () => {
  for (const text of ['10.0.0.0', '10.0.0.0/33', 'x/8', '10.0.0.0/25'])
    assert.throws(() => createCidrAllocator(text), RangeError);
});
