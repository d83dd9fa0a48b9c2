// What conformance asks of StatefulSets.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { StatefulSetSpec } from '#kube/api/generated/apps-v1.ts';
import type { Pod, PodTemplateSpec } from '#kube/api/generated/core-v1.ts';
import { pods, statefulsets } from '#kube/api/generated/resources.ts';
import { isPodReady } from '#kube/api/pod-state.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { checkCollection, checkScale, checkStatusEndpoint } from '../../support/workload-checks.ts';

const namespace = 'default';
const longMs = 60_000;
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await plane.addNode('n1');
});
after(async () => plane.stop());

const image = (name: string) => ({ containers: [{ name: 'app', image: name }] });

function template(app: string, annotations = {}): PodTemplateSpec {
  return { metadata: { labels: { app }, annotations }, spec: image('app:1') };
}

function specOf(name: string, replicas: number, spec: Partial<StatefulSetSpec> = {}): StatefulSetSpec {
  return { replicas, serviceName: name, selector: { matchLabels: { app: name } }, template: template(name), ...spec };
}

async function create(name: string, replicas: number, spec: Partial<StatefulSetSpec> = {}): Promise<void> {
  await plane.client.create(statefulsets, namespace, { metadata: { name }, spec: specOf(name, replicas, spec) });
}

const podsOf = async (app: string): Promise<Pod[]> =>
  (await plane.client.list(pods, { namespace, labelSelector: `app=${app}` })).items;
const isWell = (pod: Pod) =>
  isPodReady(pod) && pod.status?.phase === 'Running' && pod.metadata.deletionTimestamp === undefined;

async function readyPods(app: string, count: number): Promise<Pod[]> {
  return await eventually(
    `${count} pods of ${app} are ready`,
    async () => {
      const found = await podsOf(app);
      return found.length === count && found.every(isWell) ? found : undefined;
    },
    longMs,
  );
}

const patchSet = async (name: string, spec: object) =>
  await plane.client.patch(statefulsets, { namespace, name }, 'strategic', { spec });
const imagesOf = (found: readonly Pod[]) =>
  Object.fromEntries(found.map(({ metadata, spec }) => [metadata.name, spec?.containers[0]?.image]).sort());
const setHealth = async (name: string, outcome: string | null) =>
  await plane.client.patch(pods, { namespace, name }, 'merge', {
    metadata: { annotations: { 'test/outcome': outcome } },
  });

/** Records in which order pods of a set come and go. */
function recordOrder(app: string) {
  const stop = new AbortController();
  const told: string[] = [];
  const seen = new Set<string>();
  const watching = (async () => {
    const options = { namespace, labelSelector: `app=${app}`, signal: stop.signal };
    for await (const event of plane.client.watch(pods, options)) {
      if (event.type === 'ERROR' || event.type === 'BOOKMARK') continue;
      const { name, deletionTimestamp } = event.object.metadata;
      const what = event.type === 'DELETED' ? 'gone' : deletionTimestamp === undefined ? event.type : 'leaving';
      const entry = `${what === 'ADDED' ? 'new' : what} ${name}`;
      if (what === 'MODIFIED' || (what === 'leaving' && seen.has(entry))) continue;
      seen.add(entry);
      told.push(entry);
    }
  })().catch(() => undefined);
  return {
    told,
    end: async () => {
      stop.abort();
      await watching;
    },
  };
}

test('StatefulSet Basic StatefulSet functionality Scaling should happen in predictable order and halt if any stateful pod is unhealthy', async () => {
  await create('ordered', 0);
  const order = recordOrder('ordered');
  await patchSet('ordered', { replicas: 1 });
  await readyPods('ordered', 1);
  await setHealth('ordered-0', 'never-ready');
  await eventually('the first pod is ill', async () => !(await podsOf('ordered')).every(isPodReady));
  await patchSet('ordered', { replicas: 3 });
  await eventually('the set has seen its size', async () => {
    const { status, metadata } = await plane.client.get(statefulsets, { namespace, name: 'ordered' });
    return status?.observedGeneration === metadata.generation;
  });
  assert.equal((await podsOf('ordered')).length, 1, 'nothing comes while a pod is ill');
  await setHealth('ordered-0', null);
  await readyPods('ordered', 3);
  const all = ['ordered-0', 'ordered-1', 'ordered-2'];
  for (const name of all) await setHealth(name, 'never-ready');
  await eventually('all pods are ill', async () => !(await podsOf('ordered')).some(isPodReady));
  await eventually('the set knows', async () => {
    const { status } = await plane.client.get(statefulsets, { namespace, name: 'ordered' });
    return (status?.readyReplicas ?? 0) === 0;
  });
  await patchSet('ordered', { replicas: 0 });
  await eventually('the set has seen its size', async () => {
    const { status, metadata } = await plane.client.get(statefulsets, { namespace, name: 'ordered' });
    return status?.observedGeneration === metadata.generation;
  });
  assert.equal((await podsOf('ordered')).length, 3, 'nothing goes while they are ill');
  for (const name of all) await setHealth(name, null);
  await eventually('all are gone', async () => (await podsOf('ordered')).length === 0, longMs);
  await order.end();
  assert.deepEqual(order.told, [
    'new ordered-0',
    'new ordered-1',
    'new ordered-2',
    'leaving ordered-2',
    'gone ordered-2',
    'leaving ordered-1',
    'gone ordered-1',
    'leaving ordered-0',
    'gone ordered-0',
  ]);
});

test('StatefulSet Basic StatefulSet functionality Burst scaling should run to completion even with unhealthy pods', async () => {
  await create('burst', 1, { podManagementPolicy: 'Parallel' });
  await readyPods('burst', 1);
  await setHealth('burst-0', 'never-ready');
  await patchSet('burst', { replicas: 3 });
  await eventually('all three are there', async () => (await podsOf('burst')).filter(isWell).length === 2, longMs);
  await patchSet('burst', { replicas: 0 });
  await eventually('all are gone', async () => (await podsOf('burst')).length === 0, longMs);
});

test('StatefulSet Basic StatefulSet functionality Should recreate evicted statefulset', async () => {
  await create('evicted', 1);
  const [first] = await readyPods('evicted', 1);
  const status = { phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource' };
  await plane.client.patch(pods, { namespace, name: 'evicted-0' }, 'merge', { status }, { subresource: 'status' });
  const again = await eventually(
    'it is made anew',
    async () => (await podsOf('evicted')).find((pod) => isWell(pod) && pod.metadata.uid !== first?.metadata.uid),
    longMs,
  );
  assert.equal(again.metadata.name, 'evicted-0');
});

test('StatefulSet Basic StatefulSet functionality should have a working scale subresource', async () => {
  await create('scaled', 1);
  await readyPods('scaled', 1);
  await checkScale(plane.client, statefulsets, 'scaled', 1);
  await readyPods('scaled', 4);
});

test('StatefulSet Basic StatefulSet functionality should list, patch and delete a collection of StatefulSets', async () => {
  await checkCollection(plane.client, statefulsets, (name) => ({ metadata: { name }, spec: specOf(name, 1) }));
});

test('StatefulSet Basic StatefulSet functionality should validate Statefulset Status endpoints', async () => {
  await create('told', 1);
  await readyPods('told', 1);
  await checkStatusEndpoint(plane.client, statefulsets, 'told');
});

async function revisions(name: string): Promise<{ current: string; update: string }> {
  const { status } = await plane.client.get(statefulsets, { namespace, name });
  return { current: status?.currentRevision ?? '', update: status?.updateRevision ?? '' };
}

async function settled(name: string): Promise<{ current: string; update: string }> {
  return await eventually(
    `${name} has one revision`,
    async () => {
      const { status, metadata, spec } = await plane.client.get(statefulsets, { namespace, name });
      const isDone = status?.updatedReplicas === spec.replicas && status?.readyReplicas === spec.replicas;
      const isCurrent = status?.observedGeneration === metadata.generation;
      return isDone && isCurrent && status?.currentRevision === status?.updateRevision ? revisions(name) : undefined;
    },
    longMs,
  );
}

test('StatefulSet Basic StatefulSet functionality should perform rolling updates and roll backs of template modifications', async () => {
  await create('rolling', 3);
  const first = await settled('rolling');
  assert.equal(first.current, first.update);
  const order = recordOrder('rolling');
  await patchSet('rolling', { template: { spec: image('app:2') } });
  await eventually('there is a new revision', async () => (await revisions('rolling')).update !== first.update);
  const second = await settled('rolling');
  assert.notEqual(second.current, first.current);
  assert.deepEqual(new Set(Object.values(imagesOf(await podsOf('rolling')))), new Set(['app:2']));
  await order.end();
  const leaving = order.told.filter((entry) => entry.startsWith('leaving'));
  assert.deepEqual(leaving, ['leaving rolling-2', 'leaving rolling-1', 'leaving rolling-0']);
  await patchSet('rolling', { template: { spec: image('app:1') } });
  await eventually('the first revision is back', async () => (await revisions('rolling')).update === first.update);
  assert.deepEqual(await settled('rolling'), first);
  assert.deepEqual(new Set(Object.values(imagesOf(await podsOf('rolling')))), new Set(['app:1']));
});

test('StatefulSet Basic StatefulSet functionality should perform canary updates and phased rolling updates of template modifications', async () => {
  const partitioned = (partition: number) => ({
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition } },
  });
  await create('canary', 3, partitioned(3));
  const first = await settled('canary');
  await patchSet('canary', { template: { spec: image('app:2') } });
  await eventually('there is a new revision', async () => (await revisions('canary')).update !== first.update);
  const shown = async (images: Record<string, string>) =>
    await eventually(
      JSON.stringify(images),
      async () => {
        const found = await podsOf('canary');
        return found.every(isWell) && JSON.stringify(imagesOf(found)) === JSON.stringify(images) ? true : undefined;
      },
      longMs,
    );
  await shown({ 'canary-0': 'app:1', 'canary-1': 'app:1', 'canary-2': 'app:1' });
  await patchSet('canary', partitioned(2));
  await shown({ 'canary-0': 'app:1', 'canary-1': 'app:1', 'canary-2': 'app:2' });
  for (const name of ['canary-0', 'canary-2']) {
    const { uid } = (await plane.client.get(pods, { namespace, name })).metadata;
    await plane.client.delete(pods, { namespace, name });
    await eventually(
      `${name} is another pod`,
      async () => (await plane.client.get(pods, { namespace, name })).metadata.uid !== uid,
      longMs,
    );
  }
  await shown({ 'canary-0': 'app:1', 'canary-1': 'app:1', 'canary-2': 'app:2' });
  await patchSet('canary', partitioned(1));
  await shown({ 'canary-0': 'app:1', 'canary-1': 'app:2', 'canary-2': 'app:2' });
  await patchSet('canary', partitioned(0));
  await shown({ 'canary-0': 'app:2', 'canary-1': 'app:2', 'canary-2': 'app:2' });
  const last = await settled('canary');
  assert.notEqual(last.current, first.current);
});
