import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Deployment, ReplicaSet } from '#kube/api/generated/apps-v1.ts';
import {
  newReplicaSetAnnotations,
  sizeAnnotations,
} from '../../../control-plane-lite/controllers/deployment/annotations.ts';
import { planHistoryCleanup } from '../../../control-plane-lite/controllers/deployment/plan-history.ts';
import { planRollout } from '../../../control-plane-lite/controllers/deployment/plan-rollout.ts';
import { isScalingEvent, planScale } from '../../../control-plane-lite/controllers/deployment/plan-scale.ts';
import {
  type DeploymentView,
  rolloutBounds,
  viewDeployment,
} from '../../../control-plane-lite/controllers/deployment/replica-sets.ts';
import { deployment, replicaSetOf } from '../../support/objects.ts';

function rolling(replicas: number, maxSurge: number | string, maxUnavailable: number | string): Deployment {
  const spec = deployment('web').spec;
  return deployment('web', {
    replicas,
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } },
    template: { ...spec.template, spec: { containers: [{ name: 'app', image: 'app:2' }] } },
  });
}

function sizes(plan: { scale: { replicaSet: ReplicaSet; replicas: number }[] }): Record<string, number> {
  return Object.fromEntries(plan.scale.map(({ replicaSet, replicas }) => [replicaSet.metadata.name, replicas]));
}

const bounds: [replicas: number, surge: number | string, unavailable: number | string, expected: [number, number]][] = [
  [10, '25%', '25%', [3, 2]],
  [3, '25%', '25%', [1, 0]],
  [1, '25%', '25%', [1, 0]],
  [10, 0, 0, [0, 1]],
  [10, '0%', '1%', [0, 1]],
  [0, '25%', '25%', [0, 0]],
  [2, 0, 5, [0, 2]],
];

for (const [replicas, surge, unavailable, expected] of bounds) {
  test(`${replicas} replicas with surge ${surge} and unavailable ${unavailable} allow ${expected.join(' more and ')} less`, () => {
    const found = rolloutBounds(rolling(replicas, surge, unavailable));
    assert.deepEqual([found.surge, found.unavailable], expected);
  });
}

test('creates the first replica set at full size', () => {
  assert.deepEqual(planRollout(viewDeployment(rolling(5, '25%', '25%'), []), false), { create: 5, scale: [] });
});

test('creates the new replica set with the surge only, while the old one is full', () => {
  const owner = rolling(4, 1, 0);
  const view = viewDeployment(owner, [replicaSetOf(owner, 'app:1', 4)]);
  assert.equal(planRollout(view, true).create, 1);
});

test('shrinks unavailable old pods first', () => {
  const owner = rolling(4, 0, 1);
  const stuck = replicaSetOf(owner, 'app:0', 2, { available: 0, created: '2026-01-01T00:00:00Z' });
  const fine = replicaSetOf(owner, 'app:1', 2, { created: '2026-01-02T00:00:00Z' });
  const fresh = replicaSetOf(owner, 'app:2', 0, { created: '2026-01-03T00:00:00Z' });
  assert.deepEqual(sizes(planRollout(viewDeployment(owner, [fresh, fine, stuck]), true)), { 'web-app0': 1 });
});

test('does not count pods as available that a shrinking set has yet to delete', () => {
  const owner = rolling(10, 2, 2);
  // It was told to go from ten to eight, and its status does not say so yet.
  const old = replicaSetOf(owner, 'app:1', 8, { available: 10, created: '2026-01-01T00:00:00Z' });
  const fresh = replicaSetOf(owner, 'app:2', 4, { available: 1, created: '2026-01-02T00:00:00Z' });
  assert.deepEqual(sizes(planRollout(viewDeployment(owner, [fresh, old]), true)), { 'web-app1': 7 });
});

test('a new replica set larger than asked shrinks', () => {
  const owner = rolling(2, 1, 0);
  assert.deepEqual(sizes(planRollout(viewDeployment(owner, [replicaSetOf(owner, 'app:2', 5)]), false)), {
    'web-app2': 2,
  });
});

test('Recreate waits for the last old pod before it creates', () => {
  const owner = deployment('web', { ...rolling(3, 0, 0).spec, strategy: { type: 'Recreate' } });
  const old = replicaSetOf(owner, 'app:1', 3);
  assert.deepEqual(sizes(planRollout(viewDeployment(owner, [old]), true)), { 'web-app1': 0 });
  const empty = replicaSetOf(owner, 'app:1', 0);
  assert.deepEqual(planRollout(viewDeployment(owner, [empty]), true), { create: undefined, scale: [] });
  assert.deepEqual(planRollout(viewDeployment(owner, [empty]), false), { create: 3, scale: [] });
});

/** Plays a rollout: every replica set gets its pods at once, new pods become available one round later. */
function simulate(owner: Deployment, start: ReplicaSet[]): { most: number; fewest: number; final: ReplicaSet[] } {
  let sets = start;
  let most = 0;
  let fewest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 200; round += 1) {
    const plan = planRollout(viewDeployment(owner, sets), false);
    const size = new Map(plan.scale.map(({ replicaSet, replicas }) => [replicaSet.metadata.name, replicas]));
    sets = sets.map((replicaSet) => {
      const replicas = size.get(replicaSet.metadata.name) ?? replicaSet.spec.replicas ?? 0;
      const available = Math.min(replicas, replicaSet.status?.replicas ?? 0);
      const status = { replicas, readyReplicas: available, availableReplicas: available, observedGeneration: 1 };
      return { ...replicaSet, spec: { ...replicaSet.spec, replicas }, status };
    });
    if (plan.create !== undefined)
      sets.push(replicaSetOf(owner, 'app:2', plan.create, { available: 0, created: '2026-02-01T00:00:00Z' }));
    most = Math.max(
      most,
      sets.reduce((sum, { spec }) => sum + (spec.replicas ?? 0), 0),
    );
    fewest = Math.min(
      fewest,
      sets.reduce((sum, { status }) => sum + (status?.availableReplicas ?? 0), 0),
    );
  }
  return { most, fewest, final: sets };
}

for (const [replicas, surge, unavailable] of [
  [10, '25%', '25%'],
  [3, 1, 0],
  [4, 0, 1],
  [7, '50%', '50%'],
  [1, 1, 0],
  [20, '10%', 0],
] as const) {
  test(`a rollout of ${replicas} with surge ${surge} and unavailable ${unavailable} ends, within its bounds all the way`, () => {
    const owner = rolling(replicas, surge, unavailable);
    const allowed = rolloutBounds(owner);
    const { most, fewest, final } = simulate(owner, [replicaSetOf(owner, 'app:1', replicas)]);
    assert.ok(most <= replicas + allowed.surge, `${most} pods at once`);
    assert.ok(fewest >= replicas - allowed.unavailable, `${fewest} pods available`);
    assert.deepEqual(
      final.map(({ spec }) => spec.replicas),
      [0, replicas],
    );
  });
}

function recorded(
  view: Deployment,
  image: string,
  replicas: number,
  desired: number,
  max: number,
  created: string,
): ReplicaSet {
  return replicaSetOf(view, image, replicas, { created, annotations: sizeAnnotations(desired, max) });
}

test('a size changed in mid-rollout is shared out in proportion', () => {
  const owner = rolling(20, 2, 0);
  const old = recorded(owner, 'app:1', 8, 10, 12, '2026-01-01T00:00:00Z');
  const fresh = recorded(owner, 'app:2', 4, 10, 12, '2026-01-02T00:00:00Z');
  const view = viewDeployment(owner, [old, fresh]);
  assert.equal(isScalingEvent(view), true);
  const plan = planScale(view);
  assert.deepEqual(sizes({ scale: plan }), { 'web-app1': 15, 'web-app2': 7 });
});

test('scaling to zero empties all sets', () => {
  const owner = rolling(0, 1, 0);
  const old = recorded(owner, 'app:1', 2, 3, 4, '2026-01-01T00:00:00Z');
  const fresh = recorded(owner, 'app:2', 1, 3, 4, '2026-01-02T00:00:00Z');
  assert.deepEqual(sizes({ scale: planScale(viewDeployment(owner, [old, fresh])) }), { 'web-app1': 0, 'web-app2': 0 });
});

test('the only active set gets the whole size', () => {
  const owner = rolling(6, 1, 0);
  const old = recorded(owner, 'app:1', 3, 3, 4, '2026-01-01T00:00:00Z');
  const empty = recorded(owner, 'app:2', 0, 3, 4, '2026-01-02T00:00:00Z');
  assert.deepEqual(sizes({ scale: planScale(viewDeployment(owner, [old, empty])) }), { 'web-app1': 6 });
});

test('finds the replica set of the template, whatever its hash label and key order', () => {
  const owner = rolling(1, 1, 0);
  const same = replicaSetOf(owner, 'app:2', 1);
  const view: DeploymentView = viewDeployment(owner, [replicaSetOf(owner, 'app:1', 1), same]);
  assert.equal(view.newReplicaSet, same);
});

test('a revision that comes back remembers the numbers it had', () => {
  const owner = rolling(1, 1, 0);
  const once = newReplicaSetAnnotations(owner, { 'deployment.kubernetes.io/revision': '1' }, 3);
  assert.equal(once['deployment.kubernetes.io/revision'], '3');
  assert.equal(once['deployment.kubernetes.io/revision-history'], '1');
  const twice = newReplicaSetAnnotations(owner, once, 5);
  assert.equal(twice['deployment.kubernetes.io/revision-history'], '1,3');
});

test('drops the oldest empty revisions beyond the history limit, never one with pods', () => {
  const owner = { ...rolling(1, 1, 0) };
  owner.spec = { ...owner.spec, revisionHistoryLimit: 1 };
  const revision = (image: string, number: number, replicas: number) =>
    replicaSetOf(owner, image, replicas, { annotations: { 'deployment.kubernetes.io/revision': `${number}` } });
  const sets = [revision('a:1', 1, 0), revision('a:2', 2, 1), revision('a:3', 3, 0), revision('app:2', 4, 1)];
  assert.deepEqual(
    planHistoryCleanup(viewDeployment(owner, sets)).map(({ metadata }) => metadata.name),
    ['web-a1'],
  );
});
