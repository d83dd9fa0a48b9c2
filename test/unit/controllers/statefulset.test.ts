import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StatefulSet } from '#kube/api/generated/apps-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { statefulsets } from '#kube/api/generated/resources.ts';
import {
  planRevision,
  planRevisionCleanup,
  revisionData,
  revisionHashLabel,
} from '../../../control-plane-lite/controllers/revisions/revisions.ts';
import { planStatefulSet } from '../../../control-plane-lite/controllers/statefulset/plan-statefulset.ts';
import {
  atRevision,
  draftClaims,
  draftStatefulPod,
} from '../../../control-plane-lite/controllers/statefulset/stateful-pods.ts';
import { type PodFields, pod, runningPod, statefulSet } from '../../support/objects.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');
const same = { current: 'r1', update: 'r1' };
const rolling = { current: 'r1', update: 'r2' };

function member(ordinal: number, revision = 'r1', ready = true, fields: PodFields = {}): Pod {
  const metadata = { labels: { [revisionHashLabel]: revision }, ...fields.metadata };
  return runningPod(`web-${ordinal}`, '10.0.0.1', ready, { ...fields, metadata });
}

function actions(set: StatefulSet, pods: Pod[], names = same): string[] {
  return planStatefulSet(set, pods, names, nowMs).actions.map((action) =>
    action.type === 'create'
      ? `create ${action.ordinal} ${action.revision}`
      : `delete ${action.pod.metadata.name} ${action.why}`,
  );
}

const leaving = { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } };
const set = statefulSet('web');
const parallel = statefulSet('web', { podManagementPolicy: 'Parallel' });

const cases: [text: string, set: StatefulSet, pods: Pod[], expected: string[]][] = [
  ['starts with the first pod', set, [], ['create 0 update']],
  ['waits until a pod is ready before it starts the next', set, [member(0, 'r1', false)], []],
  ['goes on when it is', set, [member(0)], ['create 1 update']],
  ['fills a gap before it goes on', set, [member(1), member(2)], ['create 0 update']],
  ['waits for a leaving pod to be gone', set, [member(0, 'r1', true, leaving), member(1), member(2)], []],
  [
    'makes a finished pod anew',
    set,
    [pod('web-0', { status: { phase: 'Failed' } }), member(1)],
    ['delete web-0 finished'],
  ],
  ['starts all at once when told to', parallel, [member(1, 'r1', false)], ['create 0 update', 'create 2 update']],
  [
    'takes the last one away first',
    statefulSet('web', { replicas: 1 }),
    [member(0), member(1), member(2)],
    ['delete web-2 condemned'],
  ],
  [
    'waits for it to be gone',
    statefulSet('web', { replicas: 1 }),
    [member(0), member(1), member(2, 'r1', true, leaving)],
    [],
  ],
  [
    'takes all at once when told to',
    statefulSet('web', { replicas: 1, podManagementPolicy: 'Parallel' }),
    [member(0), member(1), member(2)],
    ['delete web-2 condemned', 'delete web-1 condemned'],
  ],
  [
    'begins where the set says',
    statefulSet('web', { replicas: 2, ordinals: { start: 5 } }),
    [member(5)],
    ['create 6 update'],
  ],
];

for (const [text, which, pods, expected] of cases) test(text, () => assert.deepEqual(actions(which, pods), expected));

test('updates from the last pod to the first, one at a time', () => {
  assert.deepEqual(actions(set, [member(0), member(1), member(2)], rolling), ['delete web-2 outdated']);
  assert.deepEqual(actions(set, [member(0), member(1), member(2, 'r2', false)], rolling), []);
  assert.deepEqual(actions(set, [member(0), member(1), member(2, 'r2')], rolling), ['delete web-1 outdated']);
});

test('replaces an outdated pod that cannot become ready', () => {
  assert.deepEqual(actions(set, [member(0), member(1), member(2, 'r1', false)], rolling), ['delete web-2 outdated']);
});

test('leaves pods below the partition as they were, also when they are made anew', () => {
  const partitioned = statefulSet('web', {
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } },
  });
  assert.deepEqual(actions(partitioned, [member(0), member(1), member(2, 'r2')], rolling), []);
  assert.deepEqual(actions(partitioned, [member(1), member(2, 'r2')], rolling), ['create 0 current']);
});

test('OnDelete replaces nothing by itself', () => {
  const manual = statefulSet('web', { updateStrategy: { type: 'OnDelete' } });
  assert.deepEqual(actions(manual, [member(0), member(1), member(2)], rolling), []);
});

test('the update is over when all pods are new and ready', () => {
  const { status } = planStatefulSet(
    set,
    [0, 1, 2].map((ordinal) => member(ordinal, 'r2')),
    rolling,
    nowMs,
  );
  assert.deepEqual([status.currentRevision, status.currentReplicas, status.updatedReplicas], ['r2', 3, 3]);
  const half = planStatefulSet(set, [member(0), member(1), member(2, 'r2')], rolling, nowMs).status;
  assert.deepEqual([half.currentRevision, half.currentReplicas, half.updatedReplicas], ['r1', 2, 1]);
});

test('a pod has its name, its host name and its claims', () => {
  const template = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'data' }, spec: {} };
  const stateful = statefulSet('web', { volumeClaimTemplates: [template] });
  const draft = draftStatefulPod(stateful, 1, 'r1');
  assert.deepEqual([draft.metadata.name, draft.spec?.hostname, draft.spec?.subdomain], ['web-1', 'web-1', 'web']);
  assert.equal(draft.metadata.labels?.['apps.kubernetes.io/pod-index'], '1');
  assert.deepEqual(draft.spec?.volumes, [{ name: 'data', persistentVolumeClaim: { claimName: 'data-web-1' } }]);
  assert.deepEqual(
    draftClaims(stateful, 1).map(({ metadata }) => [metadata.name, metadata.labels]),
    [['data-web-1', { app: 'web' }]],
  );
});

function revision(name: string, number: number, image: string) {
  const template = { ...set.spec.template, spec: { containers: [{ name: 'app', image }] } };
  const labels = { [revisionHashLabel]: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: { name, labels },
    revision: number,
    data: revisionData(template),
  };
}

test('a template keeps its revision, gets a new one, or brings an old one back as the newest', () => {
  const [first, second] = [revision('a', 1, 'app:1'), revision('b', 2, 'app:2')];
  assert.deepEqual(planRevision(statefulsets, set, [first]), { action: 'use', revision: first });
  const plan = planRevision(statefulsets, set, []);
  assert.equal(plan.action === 'create' && plan.draft.revision, 1);
  assert.deepEqual(planRevision(statefulsets, set, [first, second]), {
    action: 'renumber',
    revision: first,
    number: 3,
  });
  assert.equal(atRevision(set, second).spec.template.spec?.containers[0]?.image, 'app:2');
});

test('forgets the oldest revisions that no pod has', () => {
  const limited = statefulSet('web', { revisionHistoryLimit: 1 });
  const all = [revision('a', 1, 'x:1'), revision('b', 2, 'x:2'), revision('c', 3, 'x:3'), revision('d', 4, 'x:4')];
  assert.deepEqual(
    planRevisionCleanup(limited, all, new Set(['a', 'd'])).map(({ metadata }) => metadata.name),
    ['b'],
  );
});
