import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { ResourceClaim } from '#kube/api/generated/resource-v1.ts';
import {
  allocationFinalizer,
  planClaim,
  planPodClaims,
  podClaimAnnotation,
} from '../../../control-plane-lite/controllers/resource-claim/plan-resource-claims.ts';
import { pod } from '../../support/objects.ts';

const allocation = { devices: {} };
const templated = [{ name: 'gpu', resourceClaimTemplateName: 't' }];

function user(fields: { nodeName?: string; phase?: string; told?: string; leaving?: boolean } = {}): Pod {
  const { nodeName, phase = 'Pending', told, leaving = false } = fields;
  return pod('p', {
    metadata: { uid: 'p-uid', ...(leaving ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}) },
    spec: { resourceClaims: templated, ...(nodeName === undefined ? {} : { nodeName }) },
    status: {
      phase,
      ...(told === undefined ? {} : { resourceClaimStatuses: [{ name: 'gpu', resourceClaimName: told }] }),
    },
  });
}

function claim(status: ResourceClaim['status'] = {}, metadata: Partial<ResourceClaim['metadata']> = {}): ResourceClaim {
  const owner = { apiVersion: 'v1', kind: 'Pod', name: 'p', uid: 'p-uid', controller: true };
  return {
    apiVersion: 'resource.k8s.io/v1',
    kind: 'ResourceClaim',
    metadata: {
      name: 'p-gpu-x',
      namespace: 'default',
      annotations: { [podClaimAnnotation]: 'gpu' },
      ownerReferences: [owner],
      ...metadata,
    },
    spec: {},
    status,
  };
}

const users = [{ resource: 'pods', name: 'p', uid: 'p-uid' }];

describe('claims for pods', () => {
  it('are made from templates once, and told to the pod', () => {
    assert.deepEqual(planPodClaims(user(), []).create, [{ podClaimName: 'gpu', template: 't' }]);
    const made = planPodClaims(user(), [claim()]);
    assert.deepEqual([made.create, made.statuses], [[], [{ name: 'gpu', resourceClaimName: 'p-gpu-x' }]]);
    const told = planPodClaims(user({ told: 'p-gpu-x' }), [claim()]);
    assert.deepEqual([told.create, told.statuses], [[], undefined]);
  });

  it('are not made again after they were told, nor for pods that are done', () => {
    assert.deepEqual(planPodClaims(user({ told: 'p-gpu-x' }), []).create, []);
    for (const done of [user({ phase: 'Failed' }), user({ leaving: true })])
      assert.deepEqual(planPodClaims(done, []).create, []);
  });

  it('are reserved for a pod that somebody else put on a node', () => {
    const placed = user({ nodeName: 'n', told: 'p-gpu-x' });
    assert.equal(planPodClaims(placed, [claim({ allocation })]).reserve.length, 1);
    assert.equal(planPodClaims(placed, [claim({ allocation, reservedFor: users })]).reserve.length, 0);
    assert.equal(planPodClaims(user({ told: 'p-gpu-x' }), [claim({ allocation })]).reserve.length, 0);
  });
});

describe('claims of pods that are done', () => {
  const nobody = () => undefined;
  const updated = (plan: ReturnType<typeof planClaim>) => (plan?.type === 'update' ? plan.claim : undefined);

  it('stay while a pod uses them', () => {
    assert.equal(
      planClaim(claim({ allocation, reservedFor: users }), () => user({ nodeName: 'n' })),
      undefined,
    );
  });

  it('are given back, then deleted, when their pod is gone', () => {
    const finalizers = [allocationFinalizer];
    const freed = updated(planClaim(claim({ allocation, reservedFor: users }, { finalizers }), nobody));
    assert.deepEqual([freed?.status, freed?.metadata.finalizers], [{}, []]);
    assert.deepEqual(planClaim(freed ?? claim(), nobody), { type: 'delete' });
  });

  it('of their own lose the pod and keep their devices', () => {
    const own = claim({ allocation, reservedFor: users }, { ownerReferences: [] });
    assert.deepEqual(updated(planClaim(own, nobody))?.status, { allocation });
    assert.equal(planClaim(claim({ allocation }, { ownerReferences: [] }), nobody), undefined);
  });

  it('that are going give their devices back with the last pod', () => {
    const going = { ownerReferences: [], finalizers: [allocationFinalizer], deletionTimestamp: '2026-01-01T00:00:00Z' };
    const freed = updated(planClaim(claim({ allocation }, going), nobody));
    assert.deepEqual([freed?.status, freed?.metadata.finalizers], [{}, []]);
  });

  it('keep consumers that are no pods', () => {
    const other = { apiGroup: 'example.com', resource: 'farms', name: 'f', uid: 'f' };
    const kept = claim({ allocation, reservedFor: [other] }, { ownerReferences: [] });
    assert.equal(planClaim(kept, nobody), undefined);
  });
});
