import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Job, JobSpec } from '#kube/api/generated/batch-v1.ts';
import { jobs, pods } from '#kube/api/generated/resources.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const namespace = 'default';
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await plane.addNode('n1');
});

after(async () => plane.stop());

async function run(name: string, outcome: string, spec: Partial<JobSpec>): Promise<void> {
  const annotations = { 'test/outcome': outcome, 'test/after-ms': '20' };
  const template = {
    metadata: { annotations },
    spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'i' }] },
  };
  await plane.client.create(jobs, namespace, { metadata: { name }, spec: { template, ...spec } });
}

async function withCondition(name: string, type: string): Promise<Job> {
  return eventually(`${name} ${type}`, async () => {
    const found = await plane.client.get(jobs, { namespace, name });
    const condition = found.status?.conditions?.find((entry) => entry.type === type);
    return condition?.status === 'True' ? found : undefined;
  });
}

async function podsOf(name: string) {
  return (await plane.client.list(pods, { namespace, labelSelector: `job-name=${name}` })).items;
}

test('a job runs its completions and lets its pods go', async () => {
  await run('sum', 'succeed', { completions: 6, parallelism: 3 });
  const done = await withCondition('sum', 'Complete');
  assert.deepEqual(
    [done.status?.succeeded, done.status?.active, done.status?.uncountedTerminatedPods],
    [6, undefined, {}],
  );
  const all = await podsOf('sum');
  assert.equal(all.length, 6);
  assert.ok(all.every(({ metadata }) => (metadata.finalizers ?? []).length === 0));
});

test('an indexed job runs every index once', async () => {
  await run('indexed', 'succeed', { completions: 4, parallelism: 2, completionMode: 'Indexed' });
  const done = await withCondition('indexed', 'Complete');
  assert.equal(done.status?.completedIndexes, '0-3');
  const hosts = (await podsOf('indexed')).map(({ spec }) => spec?.hostname).sort();
  assert.deepEqual(hosts, ['indexed-0', 'indexed-1', 'indexed-2', 'indexed-3']);
});

test('a job without retries fails with its first pod', async () => {
  await run('bad', 'fail', { backoffLimit: 0 });
  const failed = await withCondition('bad', 'Failed');
  assert.equal(failed.status?.failed, 1);
  assert.equal(failed.status?.conditions?.find(({ type }) => type === 'Failed')?.reason, 'BackoffLimitExceeded');
});

test('a job past its deadline is stopped', async () => {
  await run('late', 'run', { activeDeadlineSeconds: 1, parallelism: 2 });
  const failed = await withCondition('late', 'Failed');
  assert.equal(failed.status?.conditions?.find(({ type }) => type === 'Failed')?.reason, 'DeadlineExceeded');
  await eventually('its pods gone', async () => ((await podsOf('late')).length === 0 ? true : undefined));
});

test('a suspended job waits to be resumed', async () => {
  await run('later', 'succeed', { suspend: true });
  await withCondition('later', 'Suspended');
  assert.equal((await podsOf('later')).length, 0);
  await plane.client.patch(jobs, { namespace, name: 'later' }, 'merge', { spec: { suspend: false } });
  await withCondition('later', 'Complete');
});

test('a finished job is removed with its pods when its time has passed', async () => {
  await run('brief', 'succeed', { ttlSecondsAfterFinished: 0 });
  await eventually('job and pods gone', async () => {
    const { items } = await plane.client.list(jobs, { namespace, fieldSelector: 'metadata.name=brief' });
    return items.length === 0 && (await podsOf('brief')).length === 0 ? true : undefined;
  });
});

test('deleting a running job removes its pods, finalizers and all', async () => {
  await run('stopped', 'run', { parallelism: 2 });
  await eventually('running', async () => ((await podsOf('stopped')).length === 2 ? true : undefined));
  await plane.client.delete(jobs, { namespace, name: 'stopped' }, { propagationPolicy: 'Background' });
  await eventually('pods gone', async () => ((await podsOf('stopped')).length === 0 ? true : undefined));
});
