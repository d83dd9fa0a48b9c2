// What conformance asks of DaemonSets and ControllerRevisions.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { DaemonSetSpec } from '#kube/api/generated/apps-v1.ts';
import type { Pod, PodTemplateSpec } from '#kube/api/generated/core-v1.ts';
import { controllerrevisions, daemonsets, nodes, pods } from '#kube/api/generated/resources.ts';
import { isPodReady } from '#kube/api/pod-state.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { checkCollection, checkStatusEndpoint } from '../../support/workload-checks.ts';

const namespace = 'default';
const longMs = 60_000;
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await Promise.all(['n1', 'n2', 'n3'].map(async (name) => plane.addNode(name)));
});
after(async () => plane.stop());

function template(app: string, image = 'app:1'): PodTemplateSpec {
  return { metadata: { labels: { app } }, spec: { containers: [{ name: 'app', image }] } };
}

async function create(name: string, spec: Partial<DaemonSetSpec> = {}): Promise<void> {
  await plane.client.create(daemonsets, namespace, {
    metadata: { name },
    spec: { selector: { matchLabels: { app: name } }, template: template(name), ...spec },
  });
}

const podsOf = async (app: string): Promise<Pod[]> =>
  (await plane.client.list(pods, { namespace, labelSelector: `app=${app}` })).items;

async function readyOn(app: string, nodeNames: string[], image = 'app:1'): Promise<Pod[]> {
  return await eventually(
    `${app} runs on ${nodeNames.join(', ')}`,
    async () => {
      const found = (await podsOf(app)).filter(
        (pod) =>
          isPodReady(pod) &&
          pod.status?.phase === 'Running' &&
          pod.metadata.deletionTimestamp === undefined &&
          pod.spec?.containers[0]?.image === image,
      );
      const on = found.map(({ spec }) => spec?.nodeName ?? '').sort();
      return JSON.stringify(on) === JSON.stringify(nodeNames) ? found : undefined;
    },
    longMs,
  );
}

const all = ['n1', 'n2', 'n3'];
const setImage = async (name: string, image: string) =>
  await plane.client.patch(daemonsets, { namespace, name }, 'strategic', {
    spec: { template: { spec: { containers: [{ name: 'app', image }] } } },
  });
const label = async (name: string, colour: string | null) =>
  await plane.client.patch(nodes, { name }, 'merge', { metadata: { labels: { colour } } });

test('Daemon set should run and stop simple daemon', async () => {
  await create('simple');
  const [victim] = await readyOn('simple', all);
  const { name = '', uid } = { ...victim?.metadata };
  await plane.client.delete(pods, { namespace, name });
  const again = await readyOn('simple', all);
  assert.ok(!again.some(({ metadata }) => metadata.uid === uid));
});

test('Daemon set should run and stop complex daemon', async () => {
  const chosen = template('complex');
  await create('complex', {
    template: { ...chosen, spec: { containers: [], ...chosen.spec, nodeSelector: { colour: 'blue' } } },
  });
  await readyOn('complex', []);
  await label('n2', 'blue');
  await readyOn('complex', ['n2']);
  await label('n2', 'green');
  await eventually('its pod is gone', async () => (await podsOf('complex')).length === 0, longMs);
  const spec = { template: { spec: { nodeSelector: { colour: 'green' } } }, updateStrategy: { type: 'RollingUpdate' } };
  await plane.client.patch(daemonsets, { namespace, name: 'complex' }, 'merge', { spec });
  await readyOn('complex', ['n2']);
});

test('Daemon set should retry creating failed daemon pods', async () => {
  await create('failing');
  const [victim] = await readyOn('failing', all);
  const { name = '', uid } = { ...victim?.metadata };
  const status = { phase: 'Failed' };
  await plane.client.patch(pods, { namespace, name }, 'merge', { status }, { subresource: 'status' });
  const again = await readyOn('failing', all);
  assert.ok(!again.some(({ metadata }) => metadata.uid === uid));
});

test('Daemon set should update pod when spec was updated and update strategy is RollingUpdate', async () => {
  await create('updated', { updateStrategy: { type: 'RollingUpdate' } });
  await readyOn('updated', all);
  const hashOf = async () =>
    new Set((await podsOf('updated')).map(({ metadata }) => metadata.labels?.['controller-revision-hash']));
  const before = await hashOf();
  await setImage('updated', 'app:2');
  await readyOn('updated', all, 'app:2');
  const afterwards = await hashOf();
  assert.deepEqual([before.size, afterwards.size], [1, 1]);
  assert.notDeepEqual(before, afterwards);
});

test('Daemon set should rollback without unnecessary restarts', async () => {
  await create('rolled', { updateStrategy: { type: 'RollingUpdate' } });
  const first = await readyOn('rolled', all);
  await plane.client.patch(daemonsets, { namespace, name: 'rolled' }, 'strategic', {
    spec: {
      template: {
        metadata: { annotations: { 'test/outcome': 'never-ready' } },
        spec: { containers: [{ name: 'app', image: 'broken' }] },
      },
    },
  });
  await eventually('one pod is broken', async () =>
    (await podsOf('rolled')).some(({ spec }) => spec?.containers[0]?.image === 'broken'),
  );
  await plane.client.patch(daemonsets, { namespace, name: 'rolled' }, 'strategic', {
    spec: {
      template: {
        metadata: { annotations: { 'test/outcome': null } },
        spec: { containers: [{ name: 'app', image: 'app:1' }] },
      },
    },
  });
  const last = await readyOn('rolled', all);
  const uids = new Set(first.map(({ metadata }) => metadata.uid));
  assert.equal(last.filter(({ metadata }) => uids.has(metadata.uid)).length, 2, 'the two others went on');
});

test('Daemon set should list and delete a collection of DaemonSets', async () => {
  await checkCollection(plane.client, daemonsets, (name) => ({
    metadata: { name },
    spec: { selector: { matchLabels: { app: name } }, template: template(name) },
  }));
});

test('Daemon set should verify changes to a daemon set status', async () => {
  await create('told');
  await readyOn('told', all);
  await checkStatusEndpoint(plane.client, daemonsets, 'told');
});

test('ControllerRevision should manage the lifecycle of a ControllerRevision', async () => {
  await create('revised');
  await readyOn('revised', all);
  const list = async (labelSelector: string) =>
    (await plane.client.list(controllerrevisions, { namespace, labelSelector })).items;
  const [first] = await list('app=revised');
  assert.equal((await list('app=revised')).length, 1);
  const key = { namespace, name: first?.metadata.name ?? '' };
  const patched = await plane.client.patch(controllerrevisions, key, 'merge', {
    metadata: { labels: { patched: 'yes' } },
  });
  assert.equal(patched.metadata.labels?.['patched'], 'yes');
  const ownerReferences = first?.metadata.ownerReferences ?? [];
  await plane.client.create(controllerrevisions, namespace, {
    metadata: { name: 'second', labels: { app: 'revised' }, ownerReferences },
    data: first?.data,
    revision: 2,
  });
  assert.equal((await list('app=revised')).length, 2);
  await plane.client.delete(controllerrevisions, key);
  await eventually('one is left', async () => (await list('app=revised')).length === 1);
  await eventually('it gets another label', async () => {
    const [left] = await list('app=revised');
    if (left === undefined) return undefined;
    const labels = { ...left.metadata.labels, updated: 'yes' };
    const updated = await plane.client.update(controllerrevisions, { ...left, metadata: { ...left.metadata, labels } });
    return updated.metadata.labels?.['updated'] === 'yes';
  });
  await setImage('revised', 'app:2');
  await readyOn('revised', all, 'app:2');
  await eventually('there are two again', async () => (await list('app=revised')).length === 2);
  await plane.client.deleteCollection(controllerrevisions, { namespace, labelSelector: 'updated=yes' });
  await eventually('one is left', async () => (await list('app=revised')).length === 1);
  assert.equal((await list('app=revised'))[0]?.revision, 3);
});
