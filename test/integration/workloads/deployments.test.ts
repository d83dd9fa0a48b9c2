import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findCondition } from '#kube/api/conditions.ts';
import type { Deployment, ReplicaSet } from '#kube/api/generated/apps-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import {
  deployments,
  endpoints,
  endpointslices,
  events,
  pods,
  replicasets,
  services,
} from '#kube/api/generated/resources.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const namespace = 'default';
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await plane.addNode('n1');
  await plane.addNode('n2');
});

after(async () => plane.stop());

async function apply(name: string, replicas: number, image = 'app:1', spec: object = {}): Promise<void> {
  const labels = { app: name };
  const template = {
    metadata: { labels },
    spec: { containers: [{ name: 'app', image, ports: [{ containerPort: 80 }] }] },
  };
  await plane.client.create(deployments, namespace, {
    metadata: { name },
    spec: { replicas, selector: { matchLabels: labels }, template, ...spec },
  });
}

async function setImage(name: string, image: string): Promise<void> {
  const patch = { spec: { template: { spec: { containers: [{ name: 'app', image }] } } } };
  await plane.client.patch(deployments, { namespace, name }, 'strategic', patch);
}

async function rolledOut(name: string): Promise<Deployment> {
  return eventually(`${name} rolled out`, async () => {
    const found = await plane.client.get(deployments, { namespace, name });
    const { replicas = 0, updatedReplicas = 0, availableReplicas = 0, observedGeneration = 0 } = found.status ?? {};
    const wanted = found.spec.replicas ?? 1;
    const current = observedGeneration >= (found.metadata.generation ?? 0);
    return current && replicas === wanted && updatedReplicas === wanted && availableReplicas === wanted
      ? found
      : undefined;
  });
}

async function podsOf(name: string): Promise<Pod[]> {
  return (await plane.client.list(pods, { namespace, labelSelector: `app=${name}` })).items;
}

async function setsOf(name: string): Promise<ReplicaSet[]> {
  return (await plane.client.list(replicasets, { namespace, labelSelector: `app=${name}` })).items;
}

test('a deployment becomes running pods behind its service', async () => {
  await apply('web', 3);
  await plane.client.create(services, namespace, {
    metadata: { name: 'web' },
    spec: { selector: { app: 'web' }, ports: [{ port: 80 }] },
  });
  const found = await rolledOut('web');
  assert.equal(findCondition(found.status?.conditions, 'Progressing')?.reason, 'NewReplicaSetAvailable');
  assert.equal(found.metadata.annotations?.['deployment.kubernetes.io/revision'], '1');
  const running = await podsOf('web');
  assert.equal(new Set(running.map(({ spec }) => spec?.nodeName)).size, 2);
  const addresses = running.map(({ status }) => status?.podIP).sort();
  await eventually('endpoints of web', async () => {
    const [slice] = (
      await plane.client.list(endpointslices, { namespace, labelSelector: 'kubernetes.io/service-name=web' })
    ).items;
    const listed = (slice?.endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready)
      .flatMap((endpoint) => endpoint.addresses);
    return JSON.stringify(listed.sort()) === JSON.stringify(addresses) ? slice : undefined;
  });
  await eventually('Endpoints of web', async () => {
    const object = await plane.client.get(endpoints, { namespace, name: 'web' });
    return object.subsets?.[0]?.addresses?.length === 3 ? object : undefined;
  });
});

test('a rollout replaces every pod, can be undone, and keeps its revisions', async () => {
  await apply('roll', 4);
  await rolledOut('roll');
  await setImage('roll', 'app:2');
  await rolledOut('roll');
  assert.deepEqual([...new Set((await podsOf('roll')).map(({ spec }) => spec?.containers[0]?.image))], ['app:2']);
  await setImage('roll', 'app:1');
  const undone = await rolledOut('roll');
  assert.equal(undone.metadata.annotations?.['deployment.kubernetes.io/revision'], '3');
  const sets = await setsOf('roll');
  const revisions = sets.map(({ metadata }) => metadata.annotations?.['deployment.kubernetes.io/revision']).sort();
  assert.deepEqual([sets.length, revisions], [2, ['2', '3']]);
});

test('a rollout that cannot progress says so and leaves the old pods serving', async () => {
  await apply('stuck', 2, 'app:1', { progressDeadlineSeconds: 1 });
  await rolledOut('stuck');
  const patch = { spec: { template: { metadata: { annotations: { 'test/outcome': 'never-ready' } } } } };
  await plane.client.patch(deployments, { namespace, name: 'stuck' }, 'strategic', patch);
  const found = await eventually('deadline exceeded', async () => {
    const current = await plane.client.get(deployments, { namespace, name: 'stuck' });
    const progressing = findCondition(current.status?.conditions, 'Progressing');
    return progressing?.reason === 'ProgressDeadlineExceeded' ? current : undefined;
  });
  assert.equal(found.status?.availableReplicas, 2);
  assert.equal(findCondition(found.status?.conditions, 'Available')?.status, 'True');
});

test('scaling up and down ends at the size asked for', async () => {
  await apply('sized', 1);
  await rolledOut('sized');
  for (const replicas of [6, 2]) {
    await plane.client.patch(deployments, { namespace, name: 'sized' }, 'merge', { spec: { replicas } });
    await rolledOut('sized');
    await eventually(`${replicas} pods`, async () => ((await podsOf('sized')).length === replicas ? true : undefined));
  }
});

test('a pod that is deleted is replaced', async () => {
  await apply('healed', 2);
  await rolledOut('healed');
  const [victim] = await podsOf('healed');
  await plane.client.delete(pods, { namespace, name: victim?.metadata.name ?? '' });
  await eventually('the replacement', async () => {
    const left = await podsOf('healed');
    return left.length === 2 && left.every(({ metadata }) => metadata.uid !== victim?.metadata.uid) ? true : undefined;
  });
});

test('the scale subresource reaches the pods', async () => {
  await apply('scaled', 1);
  await rolledOut('scaled');
  await plane.client.patch(
    deployments,
    { namespace, name: 'scaled' },
    'merge',
    { spec: { replicas: 3 } },
    { subresource: 'scale' },
  );
  assert.equal((await rolledOut('scaled')).status?.replicas, 3);
});

test('a paused deployment takes changes without rolling them out', async () => {
  await apply('paused', 2);
  await rolledOut('paused');
  await plane.client.patch(deployments, { namespace, name: 'paused' }, 'merge', { spec: { paused: true } });
  await setImage('paused', 'app:2');
  await plane.client.patch(deployments, { namespace, name: 'paused' }, 'merge', { spec: { replicas: 3 } });
  await eventually('scaled while paused', async () => ((await podsOf('paused')).length === 3 ? true : undefined));
  assert.deepEqual([...new Set((await podsOf('paused')).map(({ spec }) => spec?.containers[0]?.image))], ['app:1']);
  await plane.client.patch(deployments, { namespace, name: 'paused' }, 'merge', { spec: { paused: false } });
  await rolledOut('paused');
});

async function gone(look: () => Promise<{ length: number }>): Promise<void> {
  await eventually('all gone', async () => ((await look()).length === 0 ? true : undefined));
}

async function deploymentGone(name: string): Promise<void> {
  await eventually('deployment gone', async () => {
    const { items } = await plane.client.list(deployments, { namespace, fieldSelector: `metadata.name=${name}` });
    return items.length === 0 ? true : undefined;
  });
}

for (const propagationPolicy of ['Background', 'Foreground'] as const) {
  test(`deleting a deployment in the ${propagationPolicy.toLowerCase()} takes replica sets and pods with it`, async () => {
    const name = `gone-${propagationPolicy.toLowerCase()}`;
    await apply(name, 2);
    await rolledOut(name);
    await plane.client.delete(deployments, { namespace, name }, { propagationPolicy });
    await gone(async () => setsOf(name));
    await gone(async () => podsOf(name));
    await deploymentGone(name);
  });
}

test('orphaned pods go on, and are adopted by a new deployment of the same name', async () => {
  await apply('orphaned', 2);
  await rolledOut('orphaned');
  const before = (await podsOf('orphaned')).map(({ metadata }) => metadata.uid).sort();
  await plane.client.delete(deployments, { namespace, name: 'orphaned' }, { propagationPolicy: 'Orphan' });
  await eventually('the replica set is free', async () => {
    const [set] = await setsOf('orphaned');
    return set !== undefined && (set.metadata.ownerReferences ?? []).length === 0 ? set : undefined;
  });
  await deploymentGone('orphaned');
  await apply('orphaned', 2);
  await rolledOut('orphaned');
  assert.deepEqual((await podsOf('orphaned')).map(({ metadata }) => metadata.uid).sort(), before);
});

test('events tell what happened', async () => {
  await apply('told', 1);
  await rolledOut('told');
  await eventually('events', async () => {
    const all = (await plane.client.list(events, { namespace })).items.filter(({ involvedObject }) =>
      involvedObject.name?.startsWith('told'),
    );
    const reasons = new Set(all.map(({ reason }) => reason));
    return ['ScalingReplicaSet', 'SuccessfulCreate', 'Scheduled'].every((reason) => reasons.has(reason))
      ? true
      : undefined;
  });
});
