// What conformance asks of Jobs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findCondition } from '#kube/api/conditions.ts';
import type { Job, JobSpec } from '#kube/api/generated/batch-v1.ts';
import type { Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import { jobs, pods } from '#kube/api/generated/resources.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { checkCollection, checkStatusEndpoint } from '../../support/workload-checks.ts';

const namespace = 'default';
const longMs = 60_000;
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await plane.addNode('n1');
});
after(async () => plane.stop());

interface Fields extends Partial<Omit<JobSpec, 'template'>> {
  annotations?: Record<string, string>;
  pod?: Partial<PodSpec>;
}

function specOf({ annotations = {}, pod, ...spec }: Fields): JobSpec {
  const containers = [{ name: 'c', image: 'i' }];
  return { ...spec, template: { metadata: { annotations }, spec: { restartPolicy: 'Never', containers, ...pod } } };
}

async function create(name: string, fields: Fields): Promise<void> {
  await plane.client.create(jobs, namespace, { metadata: { name }, spec: specOf(fields) });
}

const podsOf = async (name: string): Promise<Pod[]> =>
  (await plane.client.list(pods, { namespace, labelSelector: `batch.kubernetes.io/job-name=${name}` })).items;

async function runningPods(name: string, count: number): Promise<Pod[]> {
  return await eventually(
    `${count} pods of ${name} run`,
    async () => {
      const found = (await podsOf(name)).filter(
        ({ status, metadata }) => status?.phase === 'Running' && metadata.deletionTimestamp === undefined,
      );
      return found.length === count ? found : undefined;
    },
    longMs,
  );
}

async function ended(name: string, type: 'Complete' | 'Failed'): Promise<Job & { status: NonNullable<Job['status']> }> {
  return await eventually(
    `${name} is ${type}`,
    async () => {
      const job = await plane.client.get(jobs, { namespace, name });
      const { status } = job;
      return findCondition(status?.conditions, type)?.status === 'True' && status !== undefined
        ? { ...job, status }
        : undefined;
    },
    longMs,
  );
}

const reasons = ({ conditions }: NonNullable<Job['status']>) =>
  Object.fromEntries((conditions ?? []).map(({ type, reason }) => [type, reason]));

test('Job should adopt matching orphans and release non-matching pods', async () => {
  await create('adopts', { parallelism: 2, completions: 2 });
  const [pod] = await runningPods('adopts', 2);
  const key = { namespace, name: pod?.metadata.name ?? '' };
  await plane.client.patch(pods, key, 'merge', { metadata: { ownerReferences: null } });
  const ownerOf = async () => controllerOf(await plane.client.get(pods, key));
  await eventually('the orphan is adopted again', async () => (await ownerOf())?.name === 'adopts');
  await plane.client.patch(pods, key, 'merge', { metadata: { labels: null } });
  await eventually('the pod is released', async () => (await ownerOf()) === undefined);
});

test('Job should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition', async () => {
  await create('disrupted', {
    parallelism: 2,
    completions: 2,
    completionMode: 'Indexed',
    backoffLimit: 0,
    annotations: { 'test/when-deleted': 'fail' },
    podFailurePolicy: {
      rules: [{ action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }],
    },
  });
  const first = await runningPods('disrupted', 2);
  for (const { metadata } of first) {
    const key = { namespace, name: metadata.name };
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: key };
    await plane.client.createSubresource(pods, key, 'eviction', body);
  }
  const second = await eventually(
    'other pods took their places',
    async () => {
      const old = new Set(first.map(({ metadata }) => metadata.uid));
      const found = (await podsOf('disrupted')).filter(
        ({ metadata, status }) => !old.has(metadata.uid) && status?.phase === 'Running',
      );
      return found.length === 2 ? found : undefined;
    },
    longMs,
  );
  for (const { metadata } of second) {
    const key = { namespace, name: metadata.name };
    await plane.client.patch(pods, key, 'merge', { metadata: { annotations: { 'test/outcome': 'succeed' } } });
  }
  const { status } = await ended('disrupted', 'Complete');
  assert.deepEqual([status.succeeded, status.failed], [2, undefined]);
});

test('Job should allow to use the pod failure policy on exit code to fail the job early', async () => {
  await create('early', {
    parallelism: 1,
    completions: 2,
    backoffLimit: 6,
    annotations: { 'test/outcome': 'fail', 'test/exit-code': '42' },
    podFailurePolicy: { rules: [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [42] } }] },
  });
  const { status } = await ended('early', 'Failed');
  assert.deepEqual(reasons(status), { FailureTarget: 'PodFailurePolicy', Failed: 'PodFailurePolicy' });
  assert.equal(status.failed, 1);
  assert.match(
    findCondition(status.conditions, 'Failed')?.message ?? '',
    /^Container c for pod default\/early-\w+ failed with exit code 42 matching FailJob rule at index 0$/,
  );
});

test('Job should apply changes to a job status', async () => {
  await create('told', { parallelism: 1, completions: 1 });
  await runningPods('told', 1);
  await checkStatusEndpoint(plane.client, jobs, 'told');
  const job = await plane.client.get(jobs, { namespace, name: 'told' });
  assert.equal(job.metadata.annotations?.['patchedstatus'], 'true');
});

test('Job should create pods for an Indexed job with completion indexes and specified hostname', async () => {
  await create('indexed', {
    parallelism: 2,
    completions: 4,
    completionMode: 'Indexed',
    annotations: { 'test/outcome': 'succeed' },
  });
  const { status } = await ended('indexed', 'Complete');
  assert.deepEqual([status.succeeded, status.completedIndexes], [4, '0-3']);
  const found = await podsOf('indexed');
  const index = 'batch.kubernetes.io/job-completion-index';
  assert.deepEqual(found.map(({ spec }) => spec?.hostname).sort(), [
    'indexed-0',
    'indexed-1',
    'indexed-2',
    'indexed-3',
  ]);
  for (const { metadata, spec } of found) {
    const own = metadata.annotations?.[index];
    assert.equal(spec?.hostname, `indexed-${own}`);
    assert.equal(metadata.labels?.[index], own);
    const variable = spec?.containers[0]?.env?.find(({ name }) => name === 'JOB_COMPLETION_INDEX');
    assert.equal(variable?.valueFrom?.fieldRef?.fieldPath, `metadata.labels['${index}']`);
  }
});

test('Job should delete a job', async () => {
  await create('deleted', { parallelism: 2, completions: 4 });
  await runningPods('deleted', 2);
  await plane.client.delete(jobs, { namespace, name: 'deleted' }, { propagationPolicy: 'Foreground' });
  await eventually('its pods are gone', async () => (await podsOf('deleted')).length === 0, longMs);
  await eventually('it is gone', async () => {
    const { items } = await plane.client.list(jobs, { namespace, fieldSelector: 'metadata.name=deleted' });
    return items.length === 0;
  });
});

test('Job should execute all indexes despite some failing when using backoffLimitPerIndex', async () => {
  await create('halves', {
    parallelism: 2,
    completions: 4,
    completionMode: 'Indexed',
    backoffLimitPerIndex: 1,
    annotations: { 'test/outcomes': 'succeed,fail,succeed,fail' },
  });
  const { status } = await ended('halves', 'Failed');
  assert.deepEqual([status.completedIndexes, status.failedIndexes], ['0,2', '1,3']);
  assert.deepEqual([status.succeeded, status.failed], [2, 4]);
  assert.equal(reasons(status)['Failed'], 'FailedIndexes');
});

test('Job should manage the lifecycle of a job', async () => {
  const key = { namespace, name: 'life' };
  await create('life', { parallelism: 2, completions: 2, suspend: true });
  const patched = await plane.client.patch(jobs, key, 'merge', { metadata: { labels: { life: 'patched' } } });
  assert.equal(patched.metadata.labels?.['life'], 'patched');
  await eventually('it is replaced', async () => {
    const current = await plane.client.get(jobs, key);
    const annotations = { ...current.metadata.annotations, updated: 'true' };
    const spec = { ...current.spec, suspend: false };
    const replaced = await plane.client.update(jobs, {
      ...current,
      metadata: { ...current.metadata, annotations },
      spec,
    });
    return replaced.metadata.annotations?.['updated'] === 'true';
  });
  await runningPods('life', 2);
  assert.equal((await plane.client.list(jobs, { labelSelector: 'life=patched' })).items.length, 1);
  await checkCollection(plane.client, jobs, (name) => ({ metadata: { name }, spec: specOf({ suspend: true }) }));
});

test('Job should mark indexes as failed when the FailIndex action is matched in podFailurePolicy', async () => {
  await create('marked', {
    parallelism: 2,
    completions: 2,
    completionMode: 'Indexed',
    backoffLimitPerIndex: 1,
    annotations: { 'test/outcomes': 'fail,succeed', 'test/exit-code': '42' },
    podFailurePolicy: { rules: [{ action: 'FailIndex', onExitCodes: { operator: 'In', values: [42] } }] },
  });
  const { status } = await ended('marked', 'Failed');
  assert.deepEqual([status.failedIndexes, status.completedIndexes], ['0', '1']);
  assert.deepEqual([status.failed, status.succeeded], [1, 1]);
});

test('Job should terminate job execution when the number of failed indexes exceeds maxFailedIndexes', async () => {
  await create('enough', {
    parallelism: 10,
    completions: 10,
    completionMode: 'Indexed',
    backoffLimitPerIndex: 0,
    maxFailedIndexes: 4,
    annotations: { 'test/outcomes': 'fail,x,fail,x,fail,x,fail,x,fail,x' },
  });
  const { status } = await ended('enough', 'Failed');
  assert.equal(reasons(status)['Failed'], 'MaxFailedIndexesExceeded');
  // Pods that were stopped with the job count as failed too.
  assert.ok((status.failed ?? 0) >= 5);
  assert.deepEqual([status.active, status.terminating], [undefined, 0]);
});

test('Job with successPolicy should succeeded when all indexes succeeded', async () => {
  await create('policy-all', {
    parallelism: 2,
    completions: 2,
    completionMode: 'Indexed',
    annotations: { 'test/outcome': 'succeed' },
    successPolicy: { rules: [{ succeededIndexes: '0-1' }] },
  });
  const { status } = await ended('policy-all', 'Complete');
  assert.deepEqual(reasons(status), { SuccessCriteriaMet: 'SuccessPolicy', Complete: 'SuccessPolicy' });
  assert.deepEqual([status.completedIndexes, status.active], ['0,1', undefined]);
});

test('Job with successPolicy succeededCount rule should succeeded even when some indexes remain pending', async () => {
  await create('policy-count', {
    parallelism: 5,
    completions: 5,
    completionMode: 'Indexed',
    annotations: { 'test/outcomes': 'succeed,x,x,x,x' },
    successPolicy: { rules: [{ succeededCount: 1 }] },
  });
  const { status } = await ended('policy-count', 'Complete');
  assert.deepEqual(reasons(status), { SuccessCriteriaMet: 'SuccessPolicy', Complete: 'SuccessPolicy' });
  assert.deepEqual([status.completedIndexes, status.failed, status.terminating], ['0', undefined, 0]);
});

test('Job with successPolicy succeededIndexes rule should succeeded even when some indexes remain pending', async () => {
  await create('policy-indexes', {
    parallelism: 3,
    completions: 3,
    completionMode: 'Indexed',
    annotations: { 'test/outcomes': 'x,succeed,x' },
    successPolicy: { rules: [{ succeededIndexes: '0,2' }, { succeededIndexes: '1' }] },
  });
  const { status } = await ended('policy-indexes', 'Complete');
  assert.equal(findCondition(status.conditions, 'SuccessCriteriaMet')?.message, 'Matched rules at index 1');
  assert.deepEqual([status.completedIndexes, status.active], ['1', undefined]);
});
