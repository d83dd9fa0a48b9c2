// What conformance asks of Deployments, ReplicaSets and ReplicationControllers.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findCondition } from '#kube/api/conditions.ts';
import type { DeploymentSpec } from '#kube/api/generated/apps-v1.ts';
import type { Pod, PodTemplateSpec } from '#kube/api/generated/core-v1.ts';
import {
  deployments,
  pods,
  replicasets,
  replicationcontrollers,
  resourcequotas,
} from '#kube/api/generated/resources.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { isPodReady } from '#kube/api/pod-state.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { checkCollection, checkScale, checkStatusEndpoint } from '../../support/workload-checks.ts';

const namespace = 'default';
const longMs = 60_000;
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await plane.addNode('n1');
  await plane.addNode('n2');
});
after(async () => plane.stop());

function template(app: string, image = 'app:1', annotations = {}): PodTemplateSpec {
  return { metadata: { labels: { app }, annotations }, spec: { containers: [{ name: 'app', image }] } };
}

async function createDeployment(name: string, replicas: number, spec: Partial<DeploymentSpec> = {}): Promise<void> {
  await plane.client.create(deployments, namespace, {
    metadata: { name, labels: { app: name } },
    spec: { replicas, selector: { matchLabels: { app: name } }, template: template(name), ...spec },
  });
}

async function createSet(name: string, replicas: number): Promise<void> {
  await plane.client.create(replicasets, namespace, {
    metadata: { name, labels: { app: name } },
    spec: { replicas, selector: { matchLabels: { app: name } }, template: template(name) },
  });
}

async function createController(name: string, replicas: number): Promise<void> {
  await plane.client.create(replicationcontrollers, namespace, {
    metadata: { name, labels: { app: name } },
    spec: { replicas, selector: { app: name }, template: template(name) },
  });
}

const podsOf = async (app: string): Promise<Pod[]> =>
  (await plane.client.list(pods, { namespace, labelSelector: `app=${app}` })).items;
const setsOf = async (app: string) =>
  (await plane.client.list(replicasets, { namespace, labelSelector: `app=${app}` })).items;

async function rolledOut(name: string): Promise<void> {
  await eventually(
    `${name} is rolled out`,
    async () => {
      const { metadata, spec, status = {} } = await plane.client.get(deployments, { namespace, name });
      const { replicas = 0, updatedReplicas = 0, availableReplicas = 0, observedGeneration = 0 } = status;
      const isDone = [replicas, updatedReplicas, availableReplicas].every((count) => count === spec.replicas);
      return isDone && observedGeneration >= (metadata.generation ?? 0);
    },
    longMs,
  );
}

async function readyPods(app: string, count: number): Promise<Pod[]> {
  return await eventually(
    `${count} pods of ${app} are ready`,
    async () => {
      const found = (await podsOf(app)).filter(
        (pod) => isPodReady(pod) && pod.metadata.deletionTimestamp === undefined,
      );
      return found.length === count ? found : undefined;
    },
    longMs,
  );
}

const changeTemplate = async (name: string, image: string, annotations = {}) =>
  await plane.client.patch(deployments, { namespace, name }, 'strategic', {
    spec: { template: { metadata: { annotations }, spec: { containers: [{ name: 'app', image }] } } },
  });

/** Makes an orphan, then its owner; then takes the label away. Tells what became of the pod. */
async function adoptAndRelease(name: string, create: () => Promise<void>): Promise<void> {
  const key = { namespace, name: `${name}-orphan` };
  await plane.client.create(pods, namespace, {
    metadata: { name: key.name, labels: { app: name } },
    spec: { containers: [{ name: 'app', image: 'app:1' }] },
  });
  await create();
  const ownerOf = async () => controllerOf(await plane.client.get(pods, key))?.name;
  await eventually('the orphan is adopted', async () => (await ownerOf()) === name);
  assert.equal((await readyPods(name, 1))[0]?.metadata.name, key.name);
  await plane.client.patch(pods, key, 'merge', { metadata: { labels: { app: 'not-matching' } } });
  await eventually('the pod is released', async () => (await ownerOf()) === undefined);
  const [replacement] = await readyPods(name, 1);
  assert.notEqual(replacement?.metadata.name, key.name);
}

test('Deployment Deployment should have a working scale subresource', async () => {
  await createDeployment('scaled', 1);
  await rolledOut('scaled');
  await checkScale(plane.client, deployments, 'scaled', 1);
  await readyPods('scaled', 4);
});

test('Deployment RecreateDeployment should delete old pods and create new ones', async () => {
  await createDeployment('recreated', 3, { strategy: { type: 'Recreate' } });
  await rolledOut('recreated');
  const stop = new AbortController();
  const ofOld = new Set((await podsOf('recreated')).map(({ metadata }) => metadata.uid));
  let together = 0;
  const watching = (async () => {
    const living = new Map<string, boolean>();
    const options = { namespace, labelSelector: 'app=recreated', signal: stop.signal, resourceVersion: '0' };
    for await (const event of plane.client.watch(pods, options)) {
      if (event.type === 'ERROR' || event.type === 'BOOKMARK') continue;
      const { uid = '' } = event.object.metadata;
      if (event.type === 'DELETED') living.delete(uid);
      else living.set(uid, ofOld.has(uid));
      if (new Set(living.values()).size > 1) together += 1;
    }
  })().catch(() => undefined);
  await changeTemplate('recreated', 'app:2');
  await rolledOut('recreated');
  stop.abort();
  await watching;
  assert.equal(together, 0, 'old and new pods never were there together');
});

test('Deployment RollingUpdateDeployment should delete old pods and create new ones', async () => {
  await createSet('rolling', 1);
  await readyPods('rolling', 1);
  await createDeployment('rolling', 1, { template: template('rolling', 'app:2') });
  await rolledOut('rolling');
  const sets = await setsOf('rolling');
  assert.equal(sets.length, 2, 'the old set is adopted and kept');
  assert.deepEqual(sets.map(({ spec }) => spec.replicas).sort(), [0, 1]);
  assert.ok(sets.every((set) => controllerOf(set)?.kind === 'Deployment'));
});

test('Deployment deployment should delete old replica sets', async () => {
  await createDeployment('tidy', 1, { revisionHistoryLimit: 0 });
  await rolledOut('tidy');
  await changeTemplate('tidy', 'app:2');
  await rolledOut('tidy');
  await eventually('the old set is gone', async () => (await setsOf('tidy')).length === 1);
});

test('Deployment deployment should support rollover', async () => {
  await createDeployment('rollover', 2, { strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } } });
  await rolledOut('rollover');
  await changeTemplate('rollover', 'broken', { 'test/outcome': 'never-ready' });
  await eventually('the broken revision has a pod', async () =>
    (await podsOf('rollover')).some(({ spec }) => spec?.containers[0]?.image === 'broken'),
  );
  await changeTemplate('rollover', 'app:3', { 'test/outcome': null });
  await rolledOut('rollover');
  const sets = await setsOf('rollover');
  const living = sets.filter(({ spec }) => spec.replicas !== 0);
  assert.deepEqual([sets.length, living.length], [3, 1]);
  assert.equal(living[0]?.spec.template?.spec?.containers[0]?.image, 'app:3');
});

test('Deployment deployment should support proportional scaling', async () => {
  await createDeployment('shares', 10, { strategy: { rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } } });
  await rolledOut('shares');
  await changeTemplate('shares', 'broken', { 'test/outcome': 'never-ready' });
  const sizes = async () => (await setsOf('shares')).map(({ spec }) => spec.replicas ?? 0).sort((a, b) => a - b);
  await eventually('the rollout stands still', async () => JSON.stringify(await sizes()) === '[5,8]', longMs);
  await plane.client.patch(deployments, { namespace, name: 'shares' }, 'merge', { spec: { replicas: 30 } });
  await eventually('both sets grew by their share', async () => JSON.stringify(await sizes()) === '[13,20]', longMs);
});

test('Deployment should run the lifecycle of a Deployment', async () => {
  const key = { namespace, name: 'life' };
  await createDeployment('life', 1);
  await rolledOut('life');
  await plane.client.patch(deployments, key, 'strategic', {
    metadata: { labels: { 'test-deployment': 'patched' } },
    spec: { replicas: 2, template: { spec: { terminationGracePeriodSeconds: 0 } } },
  });
  await rolledOut('life');
  const found = await plane.client.list(deployments, { labelSelector: 'test-deployment=patched' });
  assert.deepEqual(
    found.items.map(({ metadata }) => metadata.name),
    ['life'],
  );
  await plane.client.patch(deployments, key, 'merge', { spec: { replicas: 1 } }, { subresource: 'scale' });
  await rolledOut('life');
  await checkStatusEndpoint(plane.client, deployments, 'life');
  await rolledOut('life');
  await plane.client.deleteCollection(deployments, { namespace, labelSelector: 'test-deployment=patched' });
  await eventually('pods follow', async () => (await podsOf('life')).length === 0);
});

test('Deployment should validate Deployment Status endpoints', async () => {
  await createDeployment('told', 1);
  await rolledOut('told');
  await checkStatusEndpoint(plane.client, deployments, 'told');
});

test('ReplicaSet Replace and Patch tests', async () => {
  const key = { namespace, name: 'replaced' };
  await createSet('replaced', 1);
  await readyPods('replaced', 1);
  await eventually('the set is replaced', async () => {
    const current = await plane.client.get(replicasets, key);
    return (
      (await plane.client.update(replicasets, { ...current, spec: { ...current.spec, replicas: 2 } })) !== undefined
    );
  });
  await readyPods('replaced', 2);
  const spec = { replicas: 3, template: { spec: { containers: [{ name: 'app', image: 'app:2' }] } } };
  const patched = await plane.client.patch(replicasets, key, 'strategic', {
    metadata: { labels: { patched: 'yes' } },
    spec,
  });
  assert.equal(patched.metadata.labels?.['patched'], 'yes');
  await readyPods('replaced', 3);
});

test('ReplicaSet Replicaset should have a working scale subresource', async () => {
  await createSet('set-scaled', 1);
  await readyPods('set-scaled', 1);
  await checkScale(plane.client, replicasets, 'set-scaled', 1);
  await readyPods('set-scaled', 4);
});

test('ReplicaSet should adopt matching pods on creation and release no longer matching pods', async () => {
  await adoptAndRelease('set-adopts', async () => createSet('set-adopts', 1));
});

test('ReplicaSet should list and delete a collection of ReplicaSets', async () => {
  const selector = (name: string) => ({ matchLabels: { app: name } });
  await checkCollection(plane.client, replicasets, (name) => ({
    metadata: { name },
    spec: { replicas: 1, selector: selector(name), template: template(name) },
  }));
});

test('ReplicaSet should validate Replicaset Status endpoints', async () => {
  await createSet('set-told', 1);
  await readyPods('set-told', 1);
  await checkStatusEndpoint(plane.client, replicasets, 'set-told');
});

test('ReplicationController should adopt matching pods on creation', async () => {
  await adoptAndRelease('adopts', async () => createController('adopts', 1));
});

test('ReplicationController should release no longer matching pods', async () => {
  await createController('releases', 1);
  const [pod] = await readyPods('releases', 1);
  const key = { namespace, name: pod?.metadata.name ?? '' };
  await plane.client.patch(pods, key, 'merge', { metadata: { labels: { app: 'not-matching' } } });
  await eventually('the pod is released', async () => controllerOf(await plane.client.get(pods, key)) === undefined);
  assert.notEqual((await readyPods('releases', 1))[0]?.metadata.name, key.name);
});

test('ReplicationController should get and update a ReplicationController scale', async () => {
  await createController('rc-scaled', 1);
  await readyPods('rc-scaled', 1);
  await checkScale(plane.client, replicationcontrollers, 'rc-scaled', 1);
  await readyPods('rc-scaled', 4);
});

test('ReplicationController should surface a failure condition on a common issue like exceeded quota', async () => {
  const name = 'exceeding';
  await plane.client.create(resourcequotas, namespace, {
    metadata: { name },
    spec: {
      hard: { pods: '2' },
      scopeSelector: {
        matchExpressions: [{ scopeName: 'PriorityClass', operator: 'In', values: ['system-node-critical'] }],
      },
    },
  });
  const critical = template(name);
  const spec = { containers: [], ...critical.spec, priorityClassName: 'system-node-critical' };
  await plane.client.create(replicationcontrollers, namespace, {
    metadata: { name },
    spec: { replicas: 3, selector: { app: name }, template: { ...critical, spec } },
  });
  const failing = async () =>
    findCondition(
      (await plane.client.get(replicationcontrollers, { namespace, name })).status?.conditions,
      'ReplicaFailure',
    );
  const failure = await eventually('the failure is told', failing, longMs);
  assert.match(failure.message ?? '', /exceeded quota: exceeding/);
  assert.equal(failure.reason, 'FailedCreate');
  await plane.client.patch(replicationcontrollers, { namespace, name }, 'merge', { spec: { replicas: 2 } });
  await eventually('the failure is over', async () => (await failing()) === undefined, longMs);
});

test('ReplicationController should test the lifecycle of a ReplicationController', async () => {
  const key = { namespace, name: 'rc-life' };
  await createController('rc-life', 1);
  await readyPods('rc-life', 1);
  await plane.client.patch(replicationcontrollers, key, 'merge', { metadata: { labels: { life: 'patched' } } });
  await checkStatusEndpoint(plane.client, replicationcontrollers, 'rc-life', false);
  await plane.client.patch(replicationcontrollers, key, 'merge', { spec: { replicas: 2 } }, { subresource: 'scale' });
  await readyPods('rc-life', 2);
  const { items } = await plane.client.list(replicationcontrollers, { labelSelector: 'life=patched' });
  assert.equal(items.length, 1);
  const policy = { propagationPolicy: 'Background' } as const;
  await plane.client.deleteCollection(replicationcontrollers, { namespace, labelSelector: 'life=patched' }, policy);
  const gone = (error: unknown) => isNotFound(error);
  await eventually('it is gone', async () => plane.client.get(replicationcontrollers, key).then(() => false, gone));
  await eventually('its pods too', async () => (await podsOf('rc-life')).length === 0);
});
