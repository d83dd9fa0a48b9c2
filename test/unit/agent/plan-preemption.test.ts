import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { computePodStatus } from '../../../agent/status/compute-pod-status.ts';
import { mergePodStatus } from '../../../agent/status/merge-pod-status.ts';
import { planStatusPatch } from '../../../agent/status/plan-status-patch.ts';
import { planPreemption } from '../../../agent/sync/plan-preemption.ts';
import { container, podOf, runtimeOf } from './fixtures.ts';

const critical = podOf({ containers: [container('c')], priority: 2_000_001_000 });

function other(name: string, cpu: string, qos: 'Guaranteed' | 'Burstable' | 'BestEffort', priority = 0): Pod {
  const requests = { cpu, memory: '10Mi' };
  const resources = qos === 'Guaranteed' ? { requests, limits: requests } : { requests };
  const item = container('c', qos === 'BestEffort' ? {} : { resources });
  return podOf({ containers: [item], priority }, { name, uid: name });
}

const names = (pods: Pod[] | undefined) => pods?.map(({ metadata }) => metadata.name);
const cpu = (amount: number) => [{ name: 'cpu', amount }];

describe('planPreemption', () => {
  const table: [string, Pod, Pod[], { name: string; amount: number }[], string[] | undefined][] = [
    [
      'takes the one pod that is enough',
      critical,
      [other('a', '100m', 'Burstable'), other('b', '300m', 'Burstable')],
      cpu(250),
      ['b'],
    ],
    [
      'takes the smaller of two that are enough',
      critical,
      [other('a', '900m', 'Burstable'), other('b', '300m', 'Burstable')],
      cpu(250),
      ['b'],
    ],
    [
      'spares guaranteed pods where others are enough',
      critical,
      [other('g', '300m', 'Guaranteed'), other('b', '300m', 'Burstable')],
      cpu(250),
      ['b'],
    ],
    [
      'takes several where one is not enough',
      critical,
      [other('a', '200m', 'Burstable'), other('b', '100m', 'Burstable')],
      cpu(250),
      ['a', 'b'],
    ],
    [
      'takes any pod for the sake of their number',
      critical,
      [other('g', '1m', 'Guaranteed'), other('e', '', 'BestEffort')],
      [{ name: 'pods', amount: 1 }],
      ['e'],
    ],
    ['does nothing that would not help', critical, [other('a', '100m', 'Burstable')], cpu(250), undefined],
    [
      'leaves other critical pods alone',
      critical,
      [other('a', '900m', 'Burstable', 2_000_001_000)],
      cpu(250),
      undefined,
    ],
    [
      'is not for ordinary pods',
      other('o', '1', 'Burstable', 100),
      [other('a', '900m', 'Burstable')],
      cpu(250),
      undefined,
    ],
  ];
  for (const [name, pod, others, shortages, expected] of table) {
    it(name, () => assert.deepEqual(names(planPreemption(pod, others, shortages)), expected));
  }
});

describe('a pod that the node ends for the sake of others', () => {
  it('says so in a condition that it shares with other writers', () => {
    const pod = podOf({ containers: [container('c')] });
    const status = computePodStatus({
      pod,
      observed: runtimeOf([], []),
      waiting: new Map(),
      isReady: () => false,
      isStarted: () => false,
      before: () => undefined,
      runtimeName: 'containerd',
      hostIps: [],
      terminal: false,
      disruption: 'make room',
    });
    const previous = { conditions: [{ type: 'DisruptionTarget', status: 'False', reason: 'Other' }] };
    const merged = mergePodStatus(previous, status, { mayRun: true, nowMs: 0 });
    const found = merged.conditions?.filter(({ type }) => type === 'DisruptionTarget');
    assert.equal(found?.length, 1);
    assert.deepEqual([found?.[0]?.status, found?.[0]?.reason], ['True', 'TerminationByKubelet']);
    const patch = planStatusPatch('uid-1', previous, merged);
    assert.match(JSON.stringify(patch), /TerminationByKubelet/);
    assert.equal(planStatusPatch('uid-1', previous, previous), undefined);
  });
});
