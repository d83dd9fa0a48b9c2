// Which waiting pods a change wakes.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { createClusterCache } from '../../../control-plane-lite/scheduler/cache/cluster-cache.ts';
import { createPodInfo } from '../../../control-plane-lite/scheduler/framework/pod-info.ts';
import { createProfile } from '../../../control-plane-lite/scheduler/profile/create-profile.ts';
import { defaultProfileConfig } from '../../../control-plane-lite/scheduler/profile/profile-config.ts';
import { type ClusterEvent, createHint } from '../../../control-plane-lite/scheduler/queue/requeue-hints.ts';
import { node, pod, requestingPod } from '../../support/objects.ts';

const cache = createClusterCache();
const profile = createProfile(defaultProfileConfig(), cache);
cache.setNode(node('small', { allocatable: { cpu: '1', memory: '1Gi', pods: '10' } }));
cache.setNode(node('big', { allocatable: { cpu: '8', memory: '8Gi', pods: '10' } }));
cache.setNode(
  node('tainted', {
    spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] },
    allocatable: { cpu: '8', memory: '8Gi', pods: '10' },
  }),
);
cache.setNode(node('full', { allocatable: { cpu: '8', memory: '8Gi', pods: '1' } }));
cache.setPod(pod('there', { spec: { nodeName: 'full', priority: 5, containers: [] } }));

const helps = (event: ClusterEvent, candidate: Pod, ...rejectors: string[]) =>
  createHint(
    event,
    cache,
    () => profile,
    () => undefined,
  )(createPodInfo(candidate), new Set(rejectors));
const four = requestingPod('four', '4', '1Gi');

describe('a change', () => {
  const byNode: [text: string, name: string, candidate: Pod, expected: boolean][] = [
    ['of a node with room wakes a pod that lacked room', 'big', four, true],
    ['of a node that is too small does not', 'small', four, false],
    ['of a node with a taint does not', 'tainted', four, false],
    ['of a full node does not', 'full', four, false],
    [
      'of a full node wakes a pod that may preempt there',
      'full',
      requestingPod('p', '4', '1Gi', { spec: { priority: 10 } }),
      true,
    ],
  ];
  for (const [text, name, candidate, expected] of byNode) {
    it(text, () => {
      assert.equal(helps({ kind: 'node', name }, candidate, 'NodeResourcesFit'), expected);
      assert.equal(helps({ kind: 'room', name }, candidate, 'NodeResourcesFit'), expected);
    });
  }

  it('among pods wakes only those that were refused because of pods', () => {
    assert.equal(helps({ kind: 'pod' }, four, 'NodeResourcesFit'), false);
    assert.equal(helps({ kind: 'pod' }, four, 'NodeResourcesFit', 'InterPodAffinity'), true);
    assert.equal(helps({ kind: 'room', name: 'small' }, four, 'PodTopologySpread'), true);
  });

  it('of storage wakes only those that were refused because of volumes', () => {
    assert.equal(helps({ kind: 'storage' }, four, 'NodeResourcesFit'), false);
    assert.equal(helps({ kind: 'storage' }, four, 'VolumeBinding'), true);
  });

  it('on the node that a pod was promised wakes it, though its place is held there', () => {
    const hint = createHint(
      { kind: 'room', name: 'full' },
      cache,
      () => profile,
      () => 'full',
    );
    assert.equal(hint(createPodInfo(four), new Set(['NodeResourcesFit'])), true);
  });
});
