import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findCondition } from '#kube/api/conditions.ts';
import {
  computeRolloutStatus,
  deadlineCheckMs,
} from '../../../control-plane-lite/controllers/deployment/compute-status.ts';
import { viewDeployment } from '../../../control-plane-lite/controllers/deployment/replica-sets.ts';
import { deployment, replicaSetOf } from '../../support/objects.ts';

const nowMs = Date.parse('2026-01-01T01:00:00Z');
const longAgo = '2026-01-01T00:00:00Z';

function progressing(reason: string, lastUpdateTime = longAgo) {
  return { type: 'Progressing', status: 'True', reason, lastUpdateTime, lastTransitionTime: longAgo };
}

test('is complete when all replicas are new and available', () => {
  const owner = deployment('web', { replicas: 2 });
  const view = viewDeployment(owner, [replicaSetOf(owner, 'app:1', 2)]);
  const status = computeRolloutStatus(view, [progressing('ReplicaSetUpdated')], nowMs);
  const condition = findCondition(status.conditions, 'Progressing');
  assert.equal(condition?.reason, 'NewReplicaSetAvailable');
  assert.equal(condition?.message, 'ReplicaSet "web-app1" has successfully progressed.');
  assert.equal(condition?.lastTransitionTime, longAgo);
  assert.equal(findCondition(status.conditions, 'Available')?.reason, 'MinimumReplicasAvailable');
  assert.deepEqual([status.replicas, status.updatedReplicas, status.unavailableReplicas], [2, 2, undefined]);
});

test('says that it progresses when another pod became available', () => {
  const owner = deployment('web', { replicas: 4 }, { replicas: 4, updatedReplicas: 4, availableReplicas: 1 });
  const view = viewDeployment(owner, [replicaSetOf(owner, 'app:1', 4, { available: 2 })]);
  const status = computeRolloutStatus(view, [progressing('NewReplicaSetCreated')], nowMs);
  const condition = findCondition(status.conditions, 'Progressing');
  assert.equal(condition?.reason, 'ReplicaSetUpdated');
  assert.equal(condition?.lastUpdateTime, '2026-01-01T01:00:00Z');
  assert.equal(findCondition(status.conditions, 'Available')?.status, 'False');
});

test('times out when nothing moved for the deadline', () => {
  const owner = deployment('web', { replicas: 2 }, { replicas: 2, updatedReplicas: 2 });
  const view = viewDeployment(owner, [replicaSetOf(owner, 'app:1', 2, { available: 0 })]);
  const status = computeRolloutStatus(view, [progressing('ReplicaSetUpdated')], nowMs);
  const condition = findCondition(status.conditions, 'Progressing');
  assert.deepEqual([condition?.status, condition?.reason], ['False', 'ProgressDeadlineExceeded']);
  assert.equal(condition?.message, 'ReplicaSet "web-app1" has timed out progressing.');
});

test('asks to be looked at again when the deadline will have passed', () => {
  const owner = deployment('web', { replicas: 2 }, { replicas: 2, updatedReplicas: 2 });
  const view = viewDeployment(owner, [replicaSetOf(owner, 'app:1', 2, { available: 0 })]);
  const status = computeRolloutStatus(view, [progressing('ReplicaSetUpdated', '2026-01-01T00:59:00Z')], nowMs);
  assert.equal(findCondition(status.conditions, 'Progressing')?.status, 'True');
  assert.equal(deadlineCheckMs(owner, status, nowMs), 541_000);
});

test('shows the failure of a replica set', () => {
  const owner = deployment('web');
  const failing = replicaSetOf(owner, 'app:1', 1, { available: 0 });
  failing.status = {
    ...failing.status,
    replicas: 0,
    conditions: [{ type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message: 'quota' }],
  };
  const status = computeRolloutStatus(viewDeployment(owner, [failing]), [], nowMs);
  assert.deepEqual(
    [
      findCondition(status.conditions, 'ReplicaFailure')?.reason,
      findCondition(status.conditions, 'ReplicaFailure')?.message,
    ],
    ['FailedCreate', 'quota'],
  );
});

test('has no Progressing condition without a deadline', () => {
  const owner = deployment('web', { progressDeadlineSeconds: 2 ** 31 - 1 });
  const status = computeRolloutStatus(viewDeployment(owner, []), [progressing('ReplicaSetUpdated')], nowMs);
  assert.equal(findCondition(status.conditions, 'Progressing'), undefined);
});
