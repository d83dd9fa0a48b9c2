import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { createClusterCache } from '../../../control-plane-lite/scheduler/cache/cluster-cache.ts';
import { evaluate } from '../../../control-plane-lite/scheduler/framework/evaluate.ts';
import { type Preemption, planPreemption } from '../../../control-plane-lite/scheduler/framework/plan-preemption.ts';
import type { Refusal } from '../../../control-plane-lite/scheduler/framework/plugin.ts';
import { createPodInfo } from '../../../control-plane-lite/scheduler/framework/pod-info.ts';
import { defaultPlugins } from '../../../control-plane-lite/scheduler/wiring.ts';
import { node, type PodFields, requestingPod } from '../../support/objects.ts';

function sized(name: string, cpu: string, priority: number, nodeName?: string, fields: PodFields = {}): Pod {
  return requestingPod(name, cpu, '1Mi', {
    ...fields,
    spec: { priority, ...(nodeName === undefined ? {} : { nodeName }), ...fields.spec },
  });
}

function plan(candidate: Pod, nodes: Node[], placed: Pod[]): Preemption {
  const cache = createClusterCache();
  for (const entry of nodes) cache.setNode(entry);
  for (const entry of placed) cache.setPod(entry);
  const info = createPodInfo(candidate);
  const refusals = new Map<string, Refusal>();
  for (const [name, entry] of cache.nodes) {
    const verdict = evaluate(defaultPlugins, info, entry);
    if (!verdict.fits) refusals.set(name, verdict.refusal);
  }
  return planPreemption(info, cache, defaultPlugins, refusals);
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
  });
});

test('a pod may refuse to preempt others', () => {
  const meek = sized('p', '4', 10, undefined, { spec: { preemptionPolicy: 'Never' } });
  const result = plan(meek, [four('n')], [sized('a', '4', 0, 'n')]);
  assert.deepEqual(result, { outcome: 'none', message: 'not eligible due to preemptionPolicy=Never.' });
});
