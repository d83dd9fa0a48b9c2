import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { planClaims } from '../../../control-plane-lite/controllers/claim.ts';
import { canonicalJson, shortHash } from '../../../control-plane-lite/controllers/pod-template.ts';
import {
  computeReplicaSetStatus,
  planReplicas,
} from '../../../control-plane-lite/controllers/replicaset/plan-replicas.ts';
import { selectPodsToDelete } from '../../../control-plane-lite/controllers/replicaset/rank-pods.ts';
import { sameJson } from '../../../control-plane-lite/controllers/same-json.ts';
import { slowStart } from '../../../control-plane-lite/controllers/slow-start.ts';
import { deployment, type PodFields, pod, replicaSetOf, runningPod } from '../../support/objects.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');
const noNeighbours = new Map<string, number>();
const owner = deployment('web');

function sized(replicas: number) {
  return replicaSetOf(owner, 'app:1', replicas);
}

test('creates what is missing and leaves finished and leaving pods out of the count', () => {
  const going = pod('going', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
  const done = pod('done', { status: { phase: 'Failed' } });
  const plan = planReplicas(sized(3), [runningPod('a', '10.0.0.1', true), going, done], noNeighbours, nowMs);
  assert.deepEqual([plan.create, plan.delete], [2, []]);
});

test('does nothing for a set that is being deleted', () => {
  const set = sized(3);
  set.metadata = { ...set.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
  assert.deepEqual(planReplicas(set, [], noNeighbours, nowMs), { create: 0, delete: [] });
});

test('never creates more than 500 at once', () => {
  assert.equal(planReplicas(sized(2000), [], noNeighbours, nowMs).create, 500);
});

const at = (nodeName: string, fields: PodFields = {}): PodFields => ({ ...fields, spec: { nodeName } });
const victims: [text: string, candidates: () => Pod[], expected: string][] = [
  [
    'a pod without a node before one with',
    () => [runningPod('a', '1', true, at('n')), pod('b', { status: { phase: 'Pending' } })],
    'b',
  ],
  [
    'a pending pod before a running one',
    () => [runningPod('a', '1', true, at('n')), pod('b', { ...at('n'), status: { phase: 'Pending' } })],
    'b',
  ],
  [
    'one that is not ready before one that is',
    () => [runningPod('a', '1', true, at('n')), runningPod('b', '2', false, at('n'))],
    'b',
  ],
  [
    'the one with the lower deletion cost',
    () => [
      runningPod(
        'a',
        '1',
        true,
        at('n', { metadata: { annotations: { 'controller.kubernetes.io/pod-deletion-cost': '5' } } }),
      ),
      runningPod(
        'b',
        '2',
        true,
        at('n', { metadata: { annotations: { 'controller.kubernetes.io/pod-deletion-cost': '-5' } } }),
      ),
    ],
    'b',
  ],
  [
    'the one that restarted more',
    () => {
      const status = (restartCount: number) => ({
        status: { containerStatuses: [{ name: 'app', image: '', imageID: '', ready: true, restartCount }] },
      });
      return [runningPod('a', '1', true, at('n', status(1))), runningPod('b', '2', true, at('n', status(3)))];
    },
    'b',
  ],
];

for (const [text, candidates, expected] of victims) {
  test(`deletes ${text}`, () => {
    assert.deepEqual(
      selectPodsToDelete(candidates(), 1, noNeighbours, nowMs).map(({ metadata }) => metadata.name),
      [expected],
    );
  });
}

test('deletes from the node with more of the family', () => {
  const pods = [runningPod('a', '1', true, at('n1')), runningPod('b', '2', true, at('n2'))];
  const chosen = selectPodsToDelete(
    pods,
    1,
    new Map([
      ['n1', 1],
      ['n2', 4],
    ]),
    nowMs,
  );
  assert.equal(chosen[0]?.metadata.name, 'b');
});

test('counts ready, available and leaving pods in the status', () => {
  const set = sized(3);
  set.spec.minReadySeconds = 60;
  const fresh = runningPod('b', '2', true, {
    metadata: { labels: { app: 'web', 'pod-template-hash': 'app1' } },
    status: { conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2025-12-31T23:59:30Z' }] },
  });
  const leaving = runningPod('c', '3', true, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
  const status = computeReplicaSetStatus(set, [runningPod('a', '1', true), fresh, leaving], undefined, nowMs);
  assert.deepEqual(
    [
      status.replicas,
      status.fullyLabeledReplicas,
      status.readyReplicas,
      status.availableReplicas,
      status.terminatingReplicas,
    ],
    [2, 1, 2, 1, 1],
  );
});

test('a failure is a condition until it is over', () => {
  const failure = { reason: 'FailedCreate' as const, message: 'no' };
  const set = sized(1);
  const failing = computeReplicaSetStatus(set, [], failure, nowMs);
  assert.equal(failing.conditions?.[0]?.reason, 'FailedCreate');
  set.status = failing;
  assert.equal(computeReplicaSetStatus(set, [], undefined, nowMs).conditions, undefined);
});

test('adopts orphans that match, releases own pods that do not, and leaves others alone', () => {
  const set = sized(1);
  const reference = (uid: string | undefined) => [
    { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'x', uid: uid ?? '', controller: true },
  ];
  const labels = { app: 'web', 'pod-template-hash': 'app1' };
  const mine = pod('mine', { metadata: { labels, ownerReferences: reference(set.metadata.uid) } });
  const relabelled = pod('relabelled', { metadata: { ownerReferences: reference(set.metadata.uid) } });
  const orphan = pod('orphan', { metadata: { labels } });
  const stranger = pod('stranger', { metadata: { labels, ownerReferences: reference('other') } });
  const claims = planClaims(set, set.spec.selector, [mine, relabelled, orphan, stranger]);
  assert.deepEqual([claims.owned, claims.adopt, claims.release], [[mine], [orphan], [relabelled]]);
});

test('stops after the first batch that fails', async () => {
  let calls = 0;
  const result = await slowStart(100, async () => {
    calls += 1;
    if (calls > 3) throw new Error('quota');
  });
  assert.deepEqual([calls, result.succeeded, (result.error as Error).message], [7, 3, 'quota']);
});

test('hashes equal templates equally and others not', () => {
  assert.equal(shortHash({ a: 1, b: 2 }, undefined), shortHash({ b: 2, a: 1, c: undefined }, undefined));
  assert.notEqual(shortHash({ a: 1 }, undefined), shortHash({ a: 1 }, 1));
  assert.match(shortHash({ a: 1 }, undefined), /^[bcdfghjklmnpqrstvwxz2456789]+$/);
  assert.equal(canonicalJson({ b: [{ d: 1, c: null }], a: undefined }), '{"b":[{"d":1}]}');
});

const equalities: [a: unknown, b: unknown, same: boolean][] = [
  [{ a: 1, b: [1, { c: 'x' }] }, { b: [1, { c: 'x' }], a: 1 }, true],
  [{ a: undefined, b: null }, {}, true],
  [{}, { a: null, b: undefined }, true],
  [undefined, null, true],
  [[1, 2], [2, 1], false],
  [[1], { 0: 1 }, false],
  [{ a: {} }, {}, false],
  [{ a: 1 }, { a: 1, b: 2 }, false],
  ['1', 1, false],
];

for (const [a, b, same] of equalities) {
  test(`${JSON.stringify(a)} ${same ? 'says the same as' : 'differs from'} ${JSON.stringify(b)}`, () => {
    assert.equal(sameJson(a, b), same);
    assert.equal(sameJson(b, a), same);
  });
}
