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
