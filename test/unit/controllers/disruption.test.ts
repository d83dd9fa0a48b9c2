import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodDisruptionBudget, PodDisruptionBudgetSpec } from '#kube/api/generated/policy-v1.ts';
import {
  computeDisruptionStatus,
  countsSizes,
  failedDisruptionStatus,
  staleDisruptionMs,
} from '../../../control-plane-lite/controllers/disruption/compute-disruption.ts';
import { runningPod } from '../../support/objects.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');

function budget(spec: PodDisruptionBudgetSpec, disruptedPods?: Record<string, string>): PodDisruptionBudget {
  const metadata = { name: 'b', namespace: 'default', generation: 1 };
  return { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata, spec, status: { disruptedPods } };
}

const three = ['a', 'b', 'c'].map((name) => runningPod(name, '10.0.0.1', true));
const oneBroken = [...three.slice(0, 2), runningPod('c', '10.0.0.1', false)];

const cases: [
  text: string,
  spec: PodDisruptionBudgetSpec,
  pods: typeof three,
  size: number,
  allowed: number,
  desired: number,
][] = [
  ['keeps a number available', { minAvailable: 2 }, three, 3, 1, 2],
  ['keeps a share of the size available, rounded up', { minAvailable: '50%' }, three, 3, 1, 2],
  ['allows a number to be missing from the size', { maxUnavailable: 1 }, three, 3, 1, 2],
  ['counts pods that are missing already', { maxUnavailable: 1 }, oneBroken, 3, 0, 2],
  ['allows a share of the size to be missing', { maxUnavailable: '50%' }, three, 3, 2, 1],
  ['allows nothing when there are too few pods', { minAvailable: 5 }, three, 3, 0, 5],
  ['allows nothing when it expects nothing', { maxUnavailable: 1 }, three, 0, 0, 0],
];

for (const [text, spec, pods, size, allowed, desired] of cases) {
  test(text, () => {
    const status = computeDisruptionStatus(budget(spec), pods, () => size, nowMs);
    assert.deepEqual([status.disruptionsAllowed, status.desiredHealthy], [allowed, desired]);
    assert.equal(status.conditions?.[0]?.reason, allowed > 0 ? 'SufficientPods' : 'InsufficientPods');
  });
}

test('counts granted evictions until the pod goes or two minutes have passed', () => {
  const granted = computeDisruptionStatus(
    budget({ minAvailable: 2 }, { a: '2025-12-31T23:59:30Z' }),
    three,
    () => 3,
    nowMs,
  );
  assert.deepEqual([granted.disruptionsAllowed, Object.keys(granted.disruptedPods ?? {})], [0, ['a']]);
  const stale = computeDisruptionStatus(
    budget({ minAvailable: 2 }, { a: '2025-12-31T23:57:00Z' }),
    three,
    () => 3,
    nowMs,
  );
  assert.deepEqual([stale.disruptionsAllowed, stale.disruptedPods], [1, undefined]);
});

test('grants nothing while the sizes are not known, and says why', () => {
  const status = failedDisruptionStatus(budget({ maxUnavailable: 1 }), 'no matches for kind "Farm"', nowMs);
  assert.equal(status.disruptionsAllowed, 0);
  assert.deepEqual(
    [status.conditions?.[0]?.reason, status.conditions?.[0]?.message],
    ['SyncFailed', 'no matches for kind "Farm"'],
  );
});

test('needs sizes for shares and for what may be missing only', () => {
  const needs = (spec: PodDisruptionBudgetSpec) => countsSizes(budget(spec));
  assert.deepEqual(
    [needs({ minAvailable: 2 }), needs({ minAvailable: '50%' }), needs({ maxUnavailable: 1 })],
    [false, true, true],
  );
});

test('takes a pod that was to be disrupted for spared after two minutes', () => {
  const announced = (secondsAgo: number, metadata = {}) => {
    const lastTransitionTime = new Date(nowMs - secondsAgo * 1000).toISOString();
    const found = runningPod('a', '10.0.0.1', true, { metadata });
    const conditions = [{ type: 'DisruptionTarget', status: 'True', lastTransitionTime }];
    return { ...found, status: { ...found.status, conditions } };
  };
  assert.equal(staleDisruptionMs(announced(30), nowMs), 90_000);
  assert.equal(staleDisruptionMs(announced(121), nowMs), 0);
  assert.equal(staleDisruptionMs(announced(121, { deletionTimestamp: '2025-12-31T23:59:00Z' }), nowMs), undefined);
  assert.equal(staleDisruptionMs(runningPod('a', '10.0.0.1', true), nowMs), undefined);
});
