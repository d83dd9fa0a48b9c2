import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StatefulSet } from '#kube/api/generated/apps-v1.ts';
import type { PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import type { OwnerReference } from '#kube/api/generated/meta-v1.ts';
import {
  isClaimGoing,
  planClaimOwners,
} from '../../../control-plane-lite/controllers/statefulset/plan-claim-owners.ts';
import { runningPod, statefulSet } from '../../support/objects.ts';

type Policy = StatefulSet['spec']['persistentVolumeClaimRetentionPolicy'];

const setOf = (policy: Policy): StatefulSet => {
  const set = statefulSet('web', { replicas: 2, persistentVolumeClaimRetentionPolicy: policy });
  return { ...set, metadata: { ...set.metadata, uid: 'set' } };
};
const claimOf = (...ownerReferences: OwnerReference[]): PersistentVolumeClaim => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name: 'data-web-2', namespace: 'default', ownerReferences },
  spec: {},
});
const ofSet = { apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'web', uid: 'set' };
const ofPod = { apiVersion: 'v1', kind: 'Pod', name: 'web-2', uid: 'pod' };
const ofOther = { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: 'other' };
const pod = runningPod('web-2', '10.0.0.1', true, { metadata: { uid: 'pod' } });

describe('owners of the claims of a stateful set', () => {
  const both = { whenDeleted: 'Delete', whenScaled: 'Delete' };
  const cases: [
    text: string,
    policy: Policy,
    ordinal: number,
    has: OwnerReference[],
    owners: OwnerReference[] | undefined,
  ][] = [
    ['are none where all is kept', { whenDeleted: 'Retain', whenScaled: 'Retain' }, 1, [], undefined],
    ['go when the policy says so no more', {}, 1, [ofSet], []],
    ['are the set where its end takes them along', { whenDeleted: 'Delete' }, 1, [], [ofSet]],
    ['are the set also beyond its size where scaling keeps them', { whenDeleted: 'Delete' }, 2, [], [ofSet]],
    ['are the pod where it is one too many', { whenScaled: 'Delete' }, 2, [], [ofPod]],
    ['are the pod instead of the set', both, 2, [ofSet], [ofPod]],
    ['are right as they are', both, 2, [ofPod], undefined],
    ['of others stay', both, 2, [ofOther, ofSet], [ofOther, ofPod]],
    ['of others stay where nothing is wanted', {}, 2, [ofOther, ofPod], [ofOther]],
  ];
  for (const [text, policy, ordinal, has, owners] of cases) {
    it(text, () => {
      const own = ordinal === 2 ? pod : runningPod('web-1', '10.0.0.2', true);
      assert.deepEqual(planClaimOwners(setOf(policy), claimOf(...has), ordinal, own), owners);
    });
  }

  it('leave the pod when there is room for it again', () => {
    const grown = setOf({ whenScaled: 'Delete' });
    const set = { ...grown, spec: { ...grown.spec, replicas: 3 } };
    assert.deepEqual(planClaimOwners(set, claimOf(ofPod), 2, pod), []);
  });

  it('say that no other pod may use the claim', () => {
    const set = setOf(both);
    assert.ok(isClaimGoing(set, claimOf(ofPod), 2, undefined));
    assert.ok(isClaimGoing(set, claimOf({ ...ofPod, uid: 'before' }), 2, pod));
    assert.ok(!isClaimGoing(set, claimOf(ofPod), 2, pod));
    assert.ok(!isClaimGoing(set, claimOf(ofSet), 2, undefined));
  });
});
