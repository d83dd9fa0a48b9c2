// What conformance asks of CronJobs. A job is started once a minute at most, so the tests run beside each other.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { CronJob, Job } from '#kube/api/generated/batch-v1.ts';
import { cronjobs, events, jobs } from '#kube/api/generated/resources.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { checkCollection, checkStatusEndpoint } from '../../support/workload-checks.ts';

const namespace = 'default';
const longMs = 240_000;
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await plane.addNode('n1');
});
after(async () => plane.stop());

const jobTemplate = {
  spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'i' }] } } },
};

async function create(name: string, spec: Partial<CronJob['spec']>): Promise<void> {
  await plane.client.create(cronjobs, namespace, {
    metadata: { name },
    spec: { schedule: '@every 1s', jobTemplate, ...spec },
  });
}

const jobsOf = async (name: string): Promise<Job[]> =>
  (await plane.client.list(jobs, { namespace })).items.filter((job) => controllerOf(job)?.name === name);
const activeOf = async (name: string) => (await plane.client.get(cronjobs, { namespace, name })).status?.active ?? [];
const remove = async (name: string) =>
  plane.client.delete(cronjobs, { namespace, name }, { propagationPolicy: 'Background' });

describe('CronJobs', { concurrency: true }, () => {
  test('CronJob should schedule multiple jobs concurrently', async () => {
    await create('allow', { concurrencyPolicy: 'Allow' });
    await eventually('two jobs run at once', async () => (await activeOf('allow')).length >= 2, longMs);
    assert.ok((await jobsOf('allow')).length >= 2);
    await remove('allow');
  });

  test('CronJob should not schedule jobs when suspended', async () => {
    await create('suspended', { suspend: true });
    // Another one that was made later is started meanwhile.
    await create('beside', {});
    await eventually('time passes', async () => (await jobsOf('beside')).length >= 2, longMs);
    assert.deepEqual([await jobsOf('suspended'), await activeOf('suspended')], [[], []]);
    for (const name of ['suspended', 'beside']) await remove(name);
  });

  test('CronJob should not schedule new jobs when ForbidConcurrent', async () => {
    await create('forbid', { concurrencyPolicy: 'Forbid' });
    await eventually('one job runs', async () => (await activeOf('forbid')).length === 1, longMs);
    await eventually(
      'that it was not started again is told',
      async () => {
        const { items } = await plane.client.list(events, { namespace, fieldSelector: 'reason=JobAlreadyActive' });
        return items.some(({ involvedObject }) => involvedObject.name === 'forbid');
      },
      longMs,
    );
    assert.equal((await jobsOf('forbid')).length, 1);
    await remove('forbid');
  });

  test('CronJob should replace jobs when ReplaceConcurrent', async () => {
    await create('replace', { concurrencyPolicy: 'Replace' });
    const [first] = await eventually(
      'one job runs',
      async () => {
        const active = await activeOf('replace');
        return active.length === 1 ? active : undefined;
      },
      longMs,
    );
    await eventually(
      'another one took its place',
      async () => {
        const active = await activeOf('replace');
        return active.length === 1 && active[0]?.uid !== first?.uid;
      },
      longMs,
    );
    await eventually(
      'the first is gone',
      async () => !(await jobsOf('replace')).some(({ metadata }) => metadata.uid === first?.uid),
      longMs,
    );
    await remove('replace');
  });

  test('CronJob should support CronJob API operations', async () => {
    const draft = (name: string) => ({
      metadata: { name },
      spec: { schedule: '*/1 * * * *', suspend: true, jobTemplate },
    });
    await plane.client.create(cronjobs, namespace, draft('api'));
    await checkStatusEndpoint(plane.client, cronjobs, 'api', false);
    const key = { namespace, name: 'api' };
    await eventually('it is replaced', async () => {
      const current = await plane.client.get(cronjobs, key);
      const annotations = { ...current.metadata.annotations, updated: 'true' };
      return (
        (await plane.client.update(cronjobs, { ...current, metadata: { ...current.metadata, annotations } })) !==
        undefined
      );
    });
    const status = { lastScheduleTime: '2026-01-01T00:00:00Z' };
    const patched = await plane.client.patch(cronjobs, key, 'merge', { status }, { subresource: 'status' });
    assert.equal(patched.status?.lastScheduleTime, status.lastScheduleTime);
    const { gitVersion } = await plane.client.raw<{ gitVersion: string }>({ method: 'GET', path: '/version' });
    assert.match(gitVersion, /^v1\./);
    await checkCollection(plane.client, cronjobs, draft);
    await remove('api');
  });
});
