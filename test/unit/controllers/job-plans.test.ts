import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Job, JobSpec, JobStatus } from '#kube/api/generated/batch-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { formatIndexes, parseIndexes } from '../../../control-plane-lite/controllers/job/completion-indexes.ts';
import {
  draftJobPod,
  indexAnnotation,
  indexFailureCountAnnotation,
  trackingFinalizer,
} from '../../../control-plane-lite/controllers/job/job-pods.ts';
import { finishedCondition, planJob } from '../../../control-plane-lite/controllers/job/plan-job.ts';
import { job, pod } from '../../support/objects.ts';

const nowMs = Date.parse('2026-01-01T01:00:00Z');
let serial = 0;

function member(phase: string, index?: number, fields: Partial<Pod['metadata']> = {}): Pod {
  serial += 1;
  const annotations = index === undefined ? {} : { [indexAnnotation]: `${index}` };
  const finishedAt = '2026-01-01T00:00:00Z';
  const terminated = { exitCode: phase === 'Failed' ? 1 : 0, finishedAt };
  const state = phase === 'Failed' || phase === 'Succeeded' ? { terminated } : {};
  return pod(`p${serial}`, {
    metadata: { finalizers: [trackingFinalizer], annotations, ...fields },
    status: {
      phase,
      containerStatuses: [{ name: 'app', image: '', imageID: '', ready: false, restartCount: 0, state }],
    },
  });
}

/** Plays the controller and the server: writes the status, removes finalizers, deletes and creates pods. */
function step(current: Job, pods: Pod[]): Pod[] {
  const plan = planJob(current, pods, nowMs);
  current.status = plan.status;
  const released = new Set(
    [...plan.release, ...(plan.delete.uncounted ? plan.delete.pods : [])].map(({ metadata }) => metadata.uid),
  );
  const deleted = new Set(plan.delete.pods.map(({ metadata }) => metadata.uid));
  const kept = pods
    .filter(({ metadata }) => !(deleted.has(metadata.uid) && released.has(metadata.uid)))
    .map((entry) =>
      released.has(entry.metadata.uid) ? { ...entry, metadata: { ...entry.metadata, finalizers: [] } } : entry,
    )
    .map((entry) =>
      deleted.has(entry.metadata.uid) ? { ...entry, status: { ...entry.status, phase: 'Failed' } } : entry,
    );
  return [...kept, ...plan.create.map(({ index }) => member('Pending', index))];
}

function withPhase(pods: Pod[], phase: string): Pod[] {
  return pods.map((entry) =>
    entry.status?.phase === 'Pending' ? { ...entry, status: { ...entry.status, phase } } : entry,
  );
}

function types(current: Job): string[] {
  return (current.status?.conditions ?? []).filter(({ status }) => status === 'True').map(({ type }) => type);
}

function settle(current: Job, start: Pod[]): Pod[] {
  let pods = start;
  for (let round = 0; round < 5 && finishedCondition(current) === undefined; round += 1) pods = step(current, pods);
  return pods;
}

test('keeps parallelism pods running until the completions are reached', () => {
  const current = job('j', { completions: 5, parallelism: 2 });
  let pods = step(current, []);
  assert.equal(pods.length, 2);
  while (finishedCondition(current) === undefined) pods = step(current, withPhase(pods, 'Succeeded'));
  assert.deepEqual([current.status?.succeeded, current.status?.active], [5, undefined]);
  assert.deepEqual(types(current), ['SuccessCriteriaMet', 'Complete']);
  assert.equal(current.status?.completionTime, '2026-01-01T01:00:00Z');
  assert.equal(pods.length, 5);
});

test('counts a finished pod once, wherever the controller is killed', () => {
  const current = job('j', { completions: 2, parallelism: 1 });
  const done = member('Succeeded');
  const first = planJob(current, [done], nowMs);
  assert.deepEqual(first.status.uncountedTerminatedPods, { succeeded: [done.metadata.uid] });
  assert.equal(first.status.succeeded, undefined);
  // Killed after the status was written: the pod still has its finalizer.
  current.status = first.status;
  const again = planJob(current, [done], nowMs);
  assert.deepEqual(again.status.uncountedTerminatedPods, { succeeded: [done.metadata.uid] });
  assert.deepEqual(again.release, [done]);
  // Killed after the finalizer was removed, or the pod is gone altogether.
  for (const pods of [[{ ...done, metadata: { ...done.metadata, finalizers: [] } }], []]) {
    const settled = planJob(current, pods, nowMs);
    assert.deepEqual([settled.status.succeeded, settled.status.uncountedTerminatedPods], [1, {}]);
  }
});

test('fails when more pods failed than the backoff limit allows, and stops the others', () => {
  const current = job('j', { backoffLimit: 1, completions: 3, parallelism: 3 });
  const pods = settle(current, [member('Failed'), member('Failed'), member('Running')]);
  assert.deepEqual(types(current), ['FailureTarget', 'Failed']);
  assert.equal(finishedCondition(current)?.reason, 'BackoffLimitExceeded');
  assert.equal(finishedCondition(current)?.message, 'Job has reached the specified backoff limit');
  assert.equal(pods.filter(({ status }) => status?.phase === 'Running').length, 0);
});

test('waits 10 s after the first failure, doubling with each one', () => {
  const failedAt = (text: string) => {
    const failed = member('Failed');
    const status = failed.status?.containerStatuses?.[0];
    if (status !== undefined) status.state = { terminated: { exitCode: 1, finishedAt: text } };
    return failed;
  };
  const once = planJob(job('j'), [failedAt('2026-01-01T00:59:58Z')], nowMs);
  assert.deepEqual([once.create.length, once.requeueAfterMs], [0, 8_000]);
  const twice = planJob(job('j'), [failedAt('2026-01-01T00:59:50Z'), failedAt('2026-01-01T00:59:58Z')], nowMs);
  assert.equal(twice.requeueAfterMs, 18_000);
  assert.equal(planJob(job('j'), [failedAt('2026-01-01T00:59:00Z')], nowMs).create.length, 1);
});

test('ends at its deadline, and asks to be looked at then', () => {
  const spec: Partial<JobSpec> = { activeDeadlineSeconds: 60 };
  const running = planJob(job('j', spec, { startTime: '2026-01-01T00:59:30Z' }), [member('Running')], nowMs);
  assert.equal(running.requeueAfterMs, 30_010);
  const late = job('j', spec, { startTime: '2026-01-01T00:58:00Z' });
  settle(late, [member('Running')]);
  assert.equal(finishedCondition(late)?.reason, 'DeadlineExceeded');
});

test('restarts in place count against the limit', () => {
  const restarting = member('Running');
  const status = restarting.status?.containerStatuses?.[0];
  if (status !== undefined) status.restartCount = 3;
  const template = { spec: { restartPolicy: 'OnFailure', containers: [] } };
  const current = job('j', { backoffLimit: 3, template });
  settle(current, [restarting]);
  assert.equal(finishedCondition(current)?.reason, 'BackoffLimitExceeded');
});

test('a suspended job loses its pods without counting them, and starts anew when resumed', () => {
  const current = job('j', { suspend: true }, { startTime: '2026-01-01T00:00:00Z' });
  const pods = step(current, [member('Running')]);
  assert.deepEqual([pods.length, current.status?.startTime, types(current)], [0, undefined, ['Suspended']]);
  current.spec.suspend = false;
  assert.equal(step(current, pods).length, 1);
  assert.equal(current.status?.startTime, '2026-01-01T01:00:00Z');
  assert.equal(current.status?.conditions?.find(({ type }) => type === 'Suspended')?.reason, 'JobResumed');
});

test('an indexed job runs each index once and lists the completed ones', () => {
  const current = job('j', { completions: 4, parallelism: 4, completionMode: 'Indexed' });
  const plan = planJob(current, [member('Running', 1), member('Succeeded', 0)], nowMs);
  assert.deepEqual(
    plan.create.map(({ index }) => index),
    [2, 3],
  );
  assert.equal(plan.status.completedIndexes, '0');
  assert.equal(plan.status.succeeded, 1);
});

test('an index that failed too often fails alone, and the job when all are done', () => {
  const spec: Partial<JobSpec> = { completions: 2, parallelism: 2, completionMode: 'Indexed', backoffLimitPerIndex: 0 };
  const current = job('j', spec);
  settle(current, [member('Failed', 1), member('Succeeded', 0)]);
  assert.equal(current.status?.failedIndexes, '1');
  assert.equal(finishedCondition(current)?.reason, 'FailedIndexes');
});

test('without completions it is done when one pod succeeded and none runs', () => {
  const current = job('j', { parallelism: 2 });
  delete current.spec.completions;
  assert.equal(planJob(current, [member('Succeeded'), member('Running')], nowMs).create.length, 0);
  settle(current, [member('Succeeded'), member('Succeeded')]);
  assert.equal(finishedCondition(current)?.type, 'Complete');
});

test('fewer pods are wanted when parallelism falls', () => {
  const plan = planJob(job('j', { parallelism: 1, completions: 5 }), [member('Running'), member('Running')], nowMs);
  assert.deepEqual([plan.delete.pods.length, plan.delete.uncounted], [1, true]);
});

test('a failure policy can ignore a failure or end the job', () => {
  const rule = (action: string) => ({ rules: [{ action, onExitCodes: { operator: 'In', values: [1] } }] });
  const status: JobStatus = {};
  const ignoring = planJob(
    job('j', { podFailurePolicy: rule('Ignore'), backoffLimit: 0 }, status),
    [member('Failed')],
    nowMs,
  );
  assert.equal(ignoring.status.uncountedTerminatedPods?.failed, undefined);
  const ending = job('j', { podFailurePolicy: rule('FailJob') });
  settle(ending, [member('Failed')]);
  assert.equal(finishedCondition(ending)?.reason, 'PodFailurePolicy');
  assert.match(
    finishedCondition(ending)?.message ?? '',
    /^Container app for pod default\/p\d+ failed with exit code 1 matching FailJob rule at index 0$/,
  );
});

test('an indexed pod knows its index', () => {
  const draft = draftJobPod(job('j', { completionMode: 'Indexed' }), 3, 0);
  assert.equal(draft.metadata.generateName, 'j-3-');
  assert.equal(draft.metadata.labels?.[indexAnnotation], '3');
  assert.equal(draft.spec?.hostname, 'j-3');
  assert.deepEqual(draft.spec?.containers[0]?.env?.[0]?.name, 'JOB_COMPLETION_INDEX');
  assert.deepEqual(draft.metadata.finalizers, [trackingFinalizer]);
});

test('writes and reads sets of indexes', () => {
  for (const text of ['', '0', '0,1', '0-2', '1,3-5,7,8', '10-12'])
    assert.equal(formatIndexes(parseIndexes(text)), text);
});

test('an index that failed waits for its own time while others go on', () => {
  const spec: Partial<JobSpec> = { completions: 3, parallelism: 3, completionMode: 'Indexed', backoffLimitPerIndex: 3 };
  const current = job('j', spec, { startTime: '2026-01-01T00:00:00Z' });
  const failedAgo = (index: number, seconds: number, failures: number) => {
    const finishedAt = new Date(nowMs - seconds * 1000).toISOString();
    const state = { terminated: { exitCode: 1, finishedAt } };
    const failed = member('Failed', index, {
      annotations: { [indexAnnotation]: `${index}`, [indexFailureCountAnnotation]: `${failures}` },
    });
    const container = { name: 'app', image: '', imageID: '', ready: false, restartCount: 0, state };
    return { ...failed, status: { ...failed.status, containerStatuses: [container] } };
  };
  const plan = planJob(current, [failedAgo(0, 5, 0), failedAgo(1, 15, 0), failedAgo(2, 15, 1)], nowMs);
  assert.deepEqual(plan.create, [{ index: 1, failures: 1 }]);
  assert.equal(plan.requeueAfterMs, 5000);
});
