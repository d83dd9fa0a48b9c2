// What conformance asks of PodDisruptionBudgets.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { PodDisruptionBudgetSpec } from '#kube/api/generated/policy-v1.ts';
import {
  customresourcedefinitions,
  namespaces,
  poddisruptionbudgets,
  pods,
  replicasets,
} from '#kube/api/generated/resources.ts';
import { isPodReady } from '#kube/api/pod-state.ts';
import { isNotFound, isTooManyRequests } from '#kube/errors/status-error.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { checkCollection, checkStatusEndpoint } from '../../support/workload-checks.ts';

const namespace = 'default';
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await plane.addNode('n1');
});
after(async () => plane.stop());

const selector = (app: string) => ({ matchLabels: { app } });

async function createBudget(name: string, spec: PodDisruptionBudgetSpec): Promise<void> {
  await plane.client.create(poddisruptionbudgets, namespace, {
    metadata: { name },
    spec: { selector: selector(name), ...spec },
  });
}

async function createPods(app: string, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, index) => `${app}-${index}`);
  for (const name of names) {
    const spec = { containers: [{ name: 'c', image: 'i' }] };
    await plane.client.create(pods, namespace, { metadata: { name, labels: { app } }, spec });
  }
  await eventually('they are ready', async () => {
    const { items } = await plane.client.list(pods, { namespace, labelSelector: `app=${app}` });
    return items.filter(isPodReady).length === count;
  });
  return names;
}

async function allowed(name: string, count: number) {
  return await eventually(`${name} allows ${count} disruptions`, async () => {
    const { status, metadata } = await plane.client.get(poddisruptionbudgets, { namespace, name });
    const isCurrent = status?.observedGeneration === metadata.generation;
    return isCurrent && status?.disruptionsAllowed === count ? status : undefined;
  });
}

async function evict(name: string): Promise<void> {
  const key = { namespace, name };
  await plane.client.createSubresource(
    pods,
    key,
    'eviction',
    { apiVersion: 'policy/v1', kind: 'Eviction', metadata: key },
    { timeoutMs: 1000 },
  );
}

const isRefused = (error: Error): boolean => isTooManyRequests(error) || error.name === 'TimeoutError';

test('DisruptionController should create a PodDisruptionBudget', async () => {
  const key = { namespace, name: 'made' };
  await createBudget('made', { minAvailable: '1%' });
  await eventually('it is replaced', async () => {
    const current = await plane.client.get(poddisruptionbudgets, key);
    const replaced = await plane.client.update(poddisruptionbudgets, {
      ...current,
      spec: { ...current.spec, minAvailable: '2%' },
    });
    return replaced.spec?.minAvailable === '2%';
  });
  const patched = await plane.client.patch(poddisruptionbudgets, key, 'strategic', { spec: { minAvailable: '3%' } });
  assert.equal(patched.spec?.minAvailable, '3%');
  await plane.client.delete(poddisruptionbudgets, key);
  await assert.rejects(plane.client.get(poddisruptionbudgets, key), (error: Error) => isNotFound(error));
});

test('DisruptionController should observe PodDisruptionBudget status updated', async () => {
  await createBudget('seen', { minAvailable: 1 });
  await allowed('seen', 0);
  await createPods('seen', 3);
  const status = await allowed('seen', 2);
  assert.deepEqual([status.currentHealthy, status.desiredHealthy, status.expectedPods], [3, 1, 3]);
});

test('DisruptionController should update/patch PodDisruptionBudget status', async () => {
  await createBudget('told', { minAvailable: 1 });
  await createPods('told', 1);
  await allowed('told', 0);
  await checkStatusEndpoint(plane.client, poddisruptionbudgets, 'told');
  const status = { disruptedPods: { 'no-such-pod': new Date().toISOString().replace(/\.\d+/, '') } };
  const key = { namespace, name: 'told' };
  const patched = await plane.client.patch(poddisruptionbudgets, key, 'merge', { status }, { subresource: 'status' });
  assert.deepEqual(Object.keys(patched.status?.disruptedPods ?? {}), ['no-such-pod']);
});

test('DisruptionController should block an eviction until the PDB is updated to allow it', async () => {
  await createBudget('blocking', { minAvailable: 3 });
  const [first = '', second = ''] = await createPods('blocking', 3);
  await allowed('blocking', 0);
  await assert.rejects(evict(first), isRefused);
  await plane.client.patch(poddisruptionbudgets, { namespace, name: 'blocking' }, 'merge', {
    spec: { minAvailable: 2 },
  });
  await allowed('blocking', 1);
  await evict(first);
  await eventually('no more may go', async () => {
    const { status } = await plane.client.get(poddisruptionbudgets, { namespace, name: 'blocking' });
    return status?.disruptionsAllowed === 0 && status.currentHealthy === 2;
  });
  await assert.rejects(evict(second), isRefused);
  await plane.client.patch(poddisruptionbudgets, { namespace, name: 'blocking' }, 'merge', {
    spec: { minAvailable: 0 },
  });
  await allowed('blocking', 2);
  await evict(second);
});

test('DisruptionController Listing PodDisruptionBudgets for all namespaces should list and delete a collection of PodDisruptionBudgets', async () => {
  await plane.client.create(namespaces, undefined, { metadata: { name: 'other' }, spec: {} });
  const spec = { minAvailable: 1, selector: selector('x') };
  await plane.client.create(poddisruptionbudgets, 'other', {
    metadata: { name: 'there', labels: { where: 'all' } },
    spec,
  });
  await plane.client.create(poddisruptionbudgets, namespace, {
    metadata: { name: 'here', labels: { where: 'all' } },
    spec,
  });
  const { items } = await plane.client.list(poddisruptionbudgets, { labelSelector: 'where=all' });
  assert.deepEqual(items.map(({ metadata }) => metadata.name).sort(), ['here', 'there']);
  await checkCollection(plane.client, poddisruptionbudgets, (name) => ({ metadata: { name }, spec }));
});

test('a budget in percent counts the sizes that the pods of it belong to', async () => {
  await plane.client.create(replicasets, namespace, {
    metadata: { name: 'counted' },
    spec: {
      replicas: 4,
      selector: selector('counted'),
      template: { metadata: { labels: { app: 'counted' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
    },
  });
  await createBudget('counted', { maxUnavailable: '25%' });
  const status = await allowed('counted', 1);
  assert.deepEqual([status.expectedPods, status.desiredHealthy], [4, 3]);
});

test('a budget counts the size of a custom resource with a scale', async () => {
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
  const scale = { specReplicasPath: '.spec.size', statusReplicasPath: '.status.size' };
  await plane.client.create(customresourcedefinitions, undefined, {
    metadata: { name: 'herds.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'herds', singular: 'herd', kind: 'Herd', listKind: 'HerdList' },
      versions: [{ name: 'v1', served: true, storage: true, schema, subresources: { status: {}, scale } }],
    },
  });
  const path = '/apis/example.com/v1/namespaces/default/herds';
  const body = { apiVersion: 'example.com/v1', kind: 'Herd', metadata: { name: 'h' }, spec: { size: 4 } };
  const herd = await eventually('herds are served', async () =>
    plane.client.raw<{ metadata: { uid: string } }>({ method: 'POST', path, body }),
  );
  const ownerReferences = [
    { apiVersion: 'example.com/v1', kind: 'Herd', name: 'h', uid: herd.metadata.uid, controller: true },
  ];
  for (const name of ['h-1', 'h-2', 'h-3']) {
    const spec = { containers: [{ name: 'c', image: 'i' }] };
    await plane.client.create(pods, namespace, { metadata: { name, labels: { app: 'herd' }, ownerReferences }, spec });
  }
  await createBudget('herd', { maxUnavailable: '50%' });
  const status = await allowed('herd', 1);
  assert.deepEqual([status.expectedPods, status.desiredHealthy], [4, 2]);
});
