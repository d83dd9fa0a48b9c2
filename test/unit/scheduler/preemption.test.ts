import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import type { Preemption } from '../../../control-plane-lite/scheduler/framework/plan-preemption.ts';
import { node, type PodFields, requestingPod } from '../../support/objects.ts';
import { schedulerCluster } from '../../support/scheduler-cluster.ts';

function sized(name: string, cpu: string, priority: number, nodeName?: string, fields: PodFields = {}): Pod {
  return requestingPod(name, cpu, '1Mi', {
    ...fields,
    spec: { priority, ...(nodeName === undefined ? {} : { nodeName }), ...fields.spec },
  });
}

function plan(candidate: Pod, nodes: Node[], placed: Pod[], budgets: PodDisruptionBudget[] = []): Preemption {
  const cluster = schedulerCluster(nodes);
  for (const entry of placed) cluster.cache.setPod(entry);
  return cluster.preempt(candidate, budgets);
}

function victims(result: Preemption): string[] {
  return result.outcome === 'victims' ? result.victims.map(({ pod }) => pod.metadata.name).sort() : [];
}

const four = (name: string) => node(name, { allocatable: { cpu: '4', memory: '8Gi', pods: '10' } });

test('takes no more pods than it needs, the least important first', () => {
  const placed = [sized('a', '1', 0, 'n'), sized('b', '1', 5, 'n'), sized('c', '2', 1, 'n')];
  assert.deepEqual(victims(plan(sized('p', '1', 10), [four('n')], placed)), ['a']);
  assert.deepEqual(victims(plan(sized('p', '3', 10), [four('n')], placed)), ['a', 'c']);
});

test('leaves pods of equal or higher priority alone', () => {
  const result = plan(sized('p', '1', 10), [four('n')], [sized('a', '4', 10, 'n')]);
  assert.deepEqual(result, {
    outcome: 'none',
    message: '0/1 nodes are available: 1 No preemption victims found for incoming pod.',
    isWaiting: false,
  });
});

test('chooses the node whose victims matter least', () => {
  const placed = [sized('a', '4', 5, 'n1'), sized('b', '2', 1, 'n2'), sized('c', '2', 1, 'n2')];
  const result = plan(sized('p', '4', 10), [four('n1'), four('n2')], placed);
  assert.deepEqual([result.outcome === 'victims' && result.node, victims(result)], ['n2', ['b', 'c']]);
});

test('says where preemption cannot help', () => {
  const tainted = node('tainted', { spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] } });
  const tiny = node('tiny', { allocatable: { cpu: '1', memory: '8Gi', pods: '10' } });
  const full = [sized('a', '4', 10, 'n')];
  assert.deepEqual(plan(sized('p', '2', 10), [tainted, tiny, four('n')], full), {
    outcome: 'none',
    message:
      '0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.',
    isWaiting: false,
  });
});

test('a pod may refuse to preempt others', () => {
  const meek = sized('p', '4', 10, undefined, { spec: { preemptionPolicy: 'Never' } });
  const result = plan(meek, [four('n')], [sized('a', '4', 0, 'n')]);
  assert.deepEqual(result, {
    outcome: 'none',
    message: 'not eligible due to preemptionPolicy=Never.',
    isWaiting: false,
  });
});

function budget(name: string, labels: Record<string, string>, disruptionsAllowed: number): PodDisruptionBudget {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name, namespace: 'default' },
    spec: { selector: { matchLabels: labels } },
    status: { disruptionsAllowed, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 },
  };
}

const labelled = (name: string, cpu: string, priority: number, on: string, app: string) =>
  sized(name, cpu, priority, on, { metadata: { labels: { app } } });

test('breaks no budget where another node will do, even for pods that matter more', () => {
  const placed = [labelled('a', '4', 1, 'n1', 'guarded'), labelled('b', '4', 5, 'n2', 'free')];
  const result = plan(sized('p', '4', 10), [four('n1'), four('n2')], placed, [budget('g', { app: 'guarded' }, 0)]);
  assert.deepEqual(victims(result), ['b']);
});

test('spares pods with a budget on a node before it spares others', () => {
  const placed = [labelled('a', '2', 1, 'n', 'guarded'), labelled('b', '2', 5, 'n', 'free')];
  assert.deepEqual(victims(plan(sized('p', '2', 10), [four('n')], placed, [budget('g', { app: 'guarded' }, 0)])), [
    'b',
  ]);
  assert.deepEqual(victims(plan(sized('p', '2', 10), [four('n')], placed, [budget('g', { app: 'guarded' }, 1)])), [
    'a',
  ]);
});

test('counts what a budget allows once for each pod, and not for pods that it counts already', () => {
  const three = ['a', 'b', 'c'].map((name) => labelled(name, '1', 1, 'n1', 'guarded'));
  const other = ['d', 'e', 'f'].map((name) => labelled(name, '1', 2, 'n2', 'free'));
  const nodes = ['n1', 'n2'].map((name) => node(name, { allocatable: { cpu: '3', memory: '8Gi', pods: '10' } }));
  const strict = budget('g', { app: 'guarded' }, 2);
  assert.deepEqual(victims(plan(sized('p', '3', 10), nodes, [...three, ...other], [strict])), ['d', 'e', 'f']);
  const counted = { ...strict, status: { ...strict.status, disruptedPods: { a: '2026-01-01T00:00:00Z' } } };
  const result = plan(sized('p', '3', 10), nodes, [...three, ...other], [counted as PodDisruptionBudget]);
  assert.deepEqual(victims(result), ['a', 'b', 'c']);
});

test('breaks a budget when nothing else helps', () => {
  const placed = [labelled('a', '4', 1, 'n', 'guarded')];
  assert.deepEqual(victims(plan(sized('p', '4', 10), [four('n')], placed, [budget('g', { app: 'guarded' }, 0)])), [
    'a',
  ]);
});

test('of equal victims the younger ones go', () => {
  const at = (name: string, on: string, startTime: string) => sized(name, '4', 1, on, { status: { startTime } });
  const placed = [at('old', 'n1', '2026-01-01T00:00:00Z'), at('young', 'n2', '2026-02-01T00:00:00Z')];
  assert.deepEqual(victims(plan(sized('p', '4', 10), [four('n1'), four('n2')], placed)), ['young']);
});

test('makes room for anti-affinity and spreading too', () => {
  const term = { labelSelector: { matchLabels: { app: 'web' } }, topologyKey: 'kubernetes.io/hostname' };
  const affinity = { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
  const near = labelled('near', '1', 1, 'n', 'web');
  const lonely = sized('p', '1', 10, undefined, { spec: { affinity } });
  assert.deepEqual(victims(plan(lonely, [four('n')], [near, labelled('other', '1', 0, 'n', 'db')])), ['near']);
  const guard = sized('guard', '1', 1, 'n', { metadata: { labels: { app: 'db' } }, spec: { affinity } });
  const web = sized('p', '1', 10, undefined, { metadata: { labels: { app: 'web' } } });
  assert.deepEqual(victims(plan(web, [four('n')], [guard])), ['guard']);
  const constraint = {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    whenUnsatisfiable: 'DoNotSchedule',
    labelSelector: { matchLabels: { app: 'web' } },
  };
  const spread = sized('p', '1', 10, undefined, {
    metadata: { labels: { app: 'web' } },
    spec: { topologySpreadConstraints: [constraint] },
  });
  const full = sized('full', '4', 10, 'n2', { metadata: { labels: { app: 'db' } } });
  assert.deepEqual(victims(plan(spread, [four('n'), four('n2')], [near, full])), ['near']);
});

test('says what a node lacks when even the removal of all lesser pods is not enough', () => {
  const placed = [sized('a', '3', 20, 'n'), sized('b', '1', 0, 'n')];
  assert.deepEqual(plan(sized('p', '2', 10), [four('n')], placed), {
    outcome: 'none',
    message: '0/1 nodes are available: 1 Insufficient cpu.',
    isWaiting: false,
  });
});

test('waits for victims that are on their way out of the node that it was promised', () => {
  const going = sized('a', '4', 0, 'n', {
    metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' },
    status: { conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }] },
  });
  const cluster = schedulerCluster([four('n'), four('m')]);
  cluster.cache.setPod(going);
  cluster.cache.setPod(sized('b', '4', 0, 'm'));
  assert.deepEqual(cluster.preempt(sized('p', '4', 10), [], 'n'), {
    outcome: 'none',
    message: 'not eligible due to a terminating pod on the nominated node.',
    isWaiting: true,
  });
});
