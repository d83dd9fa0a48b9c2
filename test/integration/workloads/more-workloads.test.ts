import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { PodTemplateSpec } from '#kube/api/generated/core-v1.ts';
import {
  controllerrevisions,
  daemonsets,
  deployments,
  endpoints,
  endpointslices,
  persistentvolumeclaims,
  persistentvolumes,
  poddisruptionbudgets,
  pods,
  replicationcontrollers,
  resourceclaims,
  resourceclaimtemplates,
  secrets,
  services,
  statefulsets,
} from '#kube/api/generated/resources.ts';
import { isTooManyRequests } from '#kube/errors/status-error.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { volumeDraft } from '../../support/storage-objects.ts';

const namespace = 'default';
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await Promise.all(['n1', 'n2', 'n3'].map(async (name) => plane.addNode(name)));
});

after(async () => plane.stop());

function template(app: string, image = 'app:1'): PodTemplateSpec {
  return { metadata: { labels: { app } }, spec: { containers: [{ name: 'c', image }] } };
}

async function podsOf(app: string) {
  return (await plane.client.list(pods, { namespace, labelSelector: `app=${app}` })).items;
}

const newImage = { spec: { template: { spec: { containers: [{ name: 'c', image: 'app:2' }] } } } };

test('a daemon set runs once on every node, also on one that comes later, and rolls out', async () => {
  const key = { namespace, name: 'everywhere' };
  const selector = { matchLabels: { app: 'everywhere' } };
  await plane.client.create(daemonsets, namespace, {
    metadata: { name: key.name },
    spec: { selector, template: template(key.name) },
  });
  const ready = async (count: number) =>
    eventually(`${count} ready`, async () => {
      const { status, metadata } = await plane.client.get(daemonsets, key);
      const current = status?.observedGeneration === metadata.generation;
      return current && status?.numberReady === count && status.updatedNumberScheduled === count ? status : undefined;
    });
  await ready(3);
  assert.equal(new Set((await podsOf(key.name)).map(({ spec }) => spec?.nodeName)).size, 3);
  await plane.addNode('n4');
  await ready(4);
  await plane.client.patch(daemonsets, key, 'strategic', newImage);
  await ready(4);
  const images = (await podsOf(key.name)).map(({ spec }) => spec?.containers[0]?.image);
  assert.deepEqual([...new Set(images)], ['app:2']);
  const { items } = await plane.client.list(controllerrevisions, { namespace, labelSelector: 'app=everywhere' });
  assert.deepEqual(items.map(({ revision }) => revision).sort(), [1, 2]);
});

test('a replication controller keeps its pods, and its end is theirs', async () => {
  const key = { namespace, name: 'old' };
  await plane.client.create(replicationcontrollers, namespace, {
    metadata: { name: 'old' },
    spec: { replicas: 2, selector: { app: 'old' }, template: template('old') },
  });
  const ready = async (count: number) =>
    eventually(`${count} ready`, async () => {
      const { status } = await plane.client.get(replicationcontrollers, key);
      return status?.readyReplicas === count && status.replicas === count ? status : undefined;
    });
  await ready(2);
  await plane.client.patch(replicationcontrollers, key, 'merge', { spec: { replicas: 3 } }, { subresource: 'scale' });
  await ready(3);
  await plane.client.delete(replicationcontrollers, key, { propagationPolicy: 'Background' });
  await eventually('its pods gone', async () => ((await podsOf('old')).length === 0 ? true : undefined));
});

test('a stateful set starts its pods in order, each with its claim, and keeps their names', async () => {
  const key = { namespace, name: 'db' };
  const spec = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } };
  const claim = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'data' }, spec };
  for (const name of ['disk-1', 'disk-2', 'disk-3']) {
    const disk = volumeDraft(name, { capacity: { storage: '1Gi' }, hostPath: { path: '/data' } });
    await plane.client.create(persistentvolumes, undefined, disk);
  }
  await plane.client.create(statefulsets, namespace, {
    metadata: { name: key.name },
    spec: {
      replicas: 3,
      serviceName: 'db',
      selector: { matchLabels: { app: 'db' } },
      template: template('db'),
      volumeClaimTemplates: [claim],
    },
  });
  const updated = async (count: number) =>
    eventually(`${count} updated`, async () => {
      const { status, metadata } = await plane.client.get(statefulsets, key);
      const current =
        status?.observedGeneration === metadata.generation && status?.currentRevision === status?.updateRevision;
      return current && status?.readyReplicas === count && status.replicas === count ? status : undefined;
    });
  await updated(3);
  const created = await podsOf('db');
  assert.deepEqual(created.map(({ metadata }) => metadata.name).sort(), ['db-0', 'db-1', 'db-2']);
  await plane.client.patch(statefulsets, key, 'strategic', newImage);
  await updated(3);
  assert.deepEqual([...new Set((await podsOf('db')).map(({ spec: own }) => own?.containers[0]?.image))], ['app:2']);
  await plane.client.patch(statefulsets, key, 'merge', { spec: { replicas: 1 } });
  await updated(1);
  assert.deepEqual(
    (await podsOf('db')).map(({ metadata }) => metadata.name),
    ['db-0'],
  );
  const claims = (await plane.client.list(persistentvolumeclaims, { namespace })).items.map(
    ({ metadata }) => metadata.name,
  );
  assert.deepEqual(claims.sort(), ['data-db-0', 'data-db-1', 'data-db-2']);
});

test('claims of a stateful set go with the pod that is one too many, and with the set, where it says so', async () => {
  const key = { namespace, name: 'kept' };
  const spec = {
    accessModes: ['ReadWriteOnce'],
    resources: { requests: { storage: '1Gi' } },
    storageClassName: 'none',
  };
  const claim = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'data' }, spec };
  for (const name of ['kept-1', 'kept-2']) {
    const given = { capacity: { storage: '1Gi' }, hostPath: { path: '/data' }, storageClassName: 'none' };
    await plane.client.create(persistentvolumes, undefined, volumeDraft(name, given));
  }
  await plane.client.create(statefulsets, namespace, {
    metadata: { name: key.name },
    spec: {
      replicas: 2,
      serviceName: 'kept',
      selector: { matchLabels: { app: 'kept' } },
      template: template('kept'),
      volumeClaimTemplates: [claim],
      persistentVolumeClaimRetentionPolicy: { whenScaled: 'Delete', whenDeleted: 'Retain' },
    },
  });
  const claimsAre = async (names: string[]) =>
    eventually(`claims ${names.join(', ')}`, async () => {
      const { items } = await plane.client.list(persistentvolumeclaims, { namespace });
      const own = items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith('data-kept-'));
      return JSON.stringify(own.sort()) === JSON.stringify(names) ? items : undefined;
    });
  await eventually(
    'both are ready',
    async () => (await plane.client.get(statefulsets, key)).status?.readyReplicas === 2,
  );
  await plane.client.patch(statefulsets, key, 'merge', { spec: { replicas: 1 } });
  await claimsAre(['data-kept-0']);
  const policy = { whenScaled: 'Delete', whenDeleted: 'Delete' };
  await plane.client.patch(statefulsets, key, 'merge', { spec: { persistentVolumeClaimRetentionPolicy: policy } });
  await eventually('the set owns the claim', async () => {
    const { metadata } = await plane.client.get(persistentvolumeclaims, { namespace, name: 'data-kept-0' });
    return metadata.ownerReferences?.[0]?.kind === 'StatefulSet';
  });
  await plane.client.delete(statefulsets, key, { propagationPolicy: 'Background' });
  await claimsAre([]);
});

test('a disruption budget lets as many pods be evicted as it can spare', async () => {
  const selector = { matchLabels: { app: 'spare' } };
  await plane.client.create(deployments, namespace, {
    metadata: { name: 'spare' },
    spec: { replicas: 2, selector, template: template('spare') },
  });
  await plane.client.create(poddisruptionbudgets, namespace, {
    metadata: { name: 'spare' },
    spec: { minAvailable: 2, selector },
  });
  const allowed = async (count: number) =>
    eventually(`${count} disruptions allowed`, async () => {
      const { status } = await plane.client.get(poddisruptionbudgets, { namespace, name: 'spare' });
      return status?.disruptionsAllowed === count && status.currentHealthy === 2 + count ? status : undefined;
    });
  await allowed(0);
  const evict = async () => {
    const [victim] = await podsOf('spare');
    const key = { namespace, name: victim?.metadata.name ?? '' };
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: key };
    await plane.client.createSubresource(pods, key, 'eviction', body, { timeoutMs: 2000 });
  };
  await assert.rejects(evict(), (error: Error) => isTooManyRequests(error) || error.name === 'TimeoutError');
  await plane.client.patch(deployments, { namespace, name: 'spare' }, 'merge', { spec: { replicas: 3 } });
  await allowed(1);
  await evict();
});

test('hand-made endpoints are mirrored for the proxies', async () => {
  await plane.client.create(services, namespace, { metadata: { name: 'outside' }, spec: { ports: [{ port: 80 }] } });
  const subsets = [{ addresses: [{ ip: '192.0.2.7' }], ports: [{ port: 8080 }] }];
  await plane.client.create(endpoints, namespace, { metadata: { name: 'outside' }, subsets });
  const slices = async () =>
    (await plane.client.list(endpointslices, { namespace, labelSelector: 'kubernetes.io/service-name=outside' })).items;
  const [slice] = await eventually('mirror', async () => {
    const found = await slices();
    return found.length === 1 ? found : undefined;
  });
  assert.deepEqual(
    slice?.endpoints?.map(({ addresses }) => addresses),
    [['192.0.2.7']],
  );
  await plane.client.delete(endpoints, { namespace, name: 'outside' });
  await eventually('mirror gone', async () => ((await slices()).length === 0 ? true : undefined));
});

test('a token secret is filled, and goes with its account', async () => {
  const annotations = { 'kubernetes.io/service-account.name': 'default' };
  await plane.client.create(secrets, namespace, {
    metadata: { name: 'token', annotations },
    type: 'kubernetes.io/service-account-token',
  });
  const filled = await eventually('token', async () => {
    const found = await plane.client.get(secrets, { namespace, name: 'token' });
    return found.data?.['token'] === undefined ? undefined : found;
  });
  assert.deepEqual(Object.keys(filled.data ?? {}).sort(), ['ca.crt', 'namespace', 'token']);
});

test('a pod gets the resource claim of its template, hears its name, and takes it along', async () => {
  await plane.client.create(resourceclaimtemplates, namespace, {
    metadata: { name: 'gpu' },
    spec: { spec: { devices: { requests: [{ name: 'r', exactly: { deviceClassName: 'gpu.example.com' } }] } } },
  });
  const key = { namespace, name: 'claiming' };
  const containers = [{ name: 'c', image: 'i', resources: { claims: [{ name: 'gpu' }] } }];
  await plane.client.create(pods, namespace, {
    metadata: { name: key.name },
    spec: { containers, resourceClaims: [{ name: 'gpu', resourceClaimTemplateName: 'gpu' }], schedulerName: 'nobody' },
  });
  const name = await eventually('the pod hears its name', async () => {
    const { status } = await plane.client.get(pods, key);
    return status?.resourceClaimStatuses?.[0]?.resourceClaimName;
  });
  const { items } = await plane.client.list(resourceclaims, { namespace });
  assert.deepEqual(
    items.map(({ metadata }) => metadata.name),
    [name],
  );
  assert.equal(items[0]?.metadata.annotations?.['resource.kubernetes.io/pod-claim-name'], 'gpu');
  await plane.client.delete(pods, key, { gracePeriodSeconds: 0 });
  await eventually(
    'the claim is gone',
    async () => (await plane.client.list(resourceclaims, { namespace })).items.length === 0,
  );
});
