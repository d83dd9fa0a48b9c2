// What quotas promise to every user of a cluster: usage is counted, limits hold, and what is deleted is given back.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { PodSpec, ResourceQuota, ResourceQuotaSpec, ResourceRequirements } from '#kube/api/generated/core-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const forbidden = { code: 'Forbidden' };
const gone = { code: 'NotFound' };
const dongle = 'example.com/dongle';
const dongles = `requests.${dongle}`;

/** Of everything a little. */
const hard = {
  pods: '5',
  services: '10',
  'services.nodeports': '1',
  'services.loadbalancers': '1',
  replicationcontrollers: '10',
  resourcequotas: '1',
  cpu: '1',
  memory: '500Mi',
  configmaps: '10',
  secrets: '10',
  persistentvolumeclaims: '10',
  'requests.storage': '10Gi',
  'requests.ephemeral-storage': '50Gi',
  'count/replicasets.apps': '5',
  [dongles]: '3',
};

describe('quotas', { concurrency: 4, timeout: 240_000 }, () => {
  let plane: TestControlPlane;
  let client: ApiClient;
  let spaces = 0;
  before(async () => {
    plane = await startControlPlane();
    client = plane.client;
  });
  after(() => plane?.stop());

  /** A namespace of a test's own, with what every namespace is given. */
  async function newNamespace(): Promise<string> {
    spaces += 1;
    const name = `quota-${spaces}`;
    await client.create(resources.namespaces, undefined, { metadata: { name }, spec: {} });
    await eventually('its service account', async () =>
      client.get(resources.serviceaccounts, { namespace: name, name: 'default' }),
    );
    await eventually('its root certificate', async () =>
      client.get(resources.configmaps, { namespace: name, name: 'kube-root-ca.crt' }),
    );
    return name;
  }

  const createQuota = (namespace: string, name: string, spec: ResourceQuotaSpec): Promise<ResourceQuota> =>
    client.create(resources.resourcequotas, namespace, { metadata: { name }, spec });

  const isUsed = (namespace: string, name: string, used: Record<string, string>): Promise<ResourceQuota> =>
    eventually(`${JSON.stringify(used)} in use`, async () => {
      const quota = await client.get(resources.resourcequotas, { namespace, name });
      for (const [resource, amount] of Object.entries(used))
        assert.equal(quota.status?.used?.[resource], amount, `${resource} of ${JSON.stringify(quota.status)}`);
      return quota;
    });

  const createPod = (namespace: string, name: string, needs: ResourceRequirements, spec: Partial<PodSpec> = {}) =>
    client.create(resources.pods, namespace, {
      metadata: { name },
      spec: { containers: [{ name: 'pause', image: 'pause', resources: needs }], ...spec },
    });
  const deletePod = (namespace: string, name: string) =>
    client.delete(resources.pods, { namespace, name }, { gracePeriodSeconds: 0 });

  it('ResourceQuota should create a ResourceQuota and ensure its status is promptly calculated.', async () => {
    const namespace = await newNamespace();
    await createQuota(namespace, 'test-quota', { hard });
    const quota = await isUsed(namespace, 'test-quota', { resourcequotas: '1', pods: '0', configmaps: '1' });
    assert.deepEqual(quota.status?.hard, hard);
  });

  it('ResourceQuota should create a ResourceQuota and capture the life of a service.', async () => {
    const namespace = await newNamespace();
    await createQuota(namespace, 'test-quota', { hard });
    await isUsed(namespace, 'test-quota', { resourcequotas: '1', services: '0' });
    const create = (name: string, type: string, ports = {}) =>
      client.create(resources.services, namespace, {
        metadata: { name },
        spec: { type, ports: [{ port: 80, targetPort: 80 }], ...ports },
      });
    await create('plain', 'ClusterIP');
    await create('node-port', 'NodePort');
    await assert.rejects(create('balanced', 'LoadBalancer', { allocateLoadBalancerNodePorts: true }), forbidden);
    await isUsed(namespace, 'test-quota', { services: '2', 'services.nodeports': '1', 'services.loadbalancers': '0' });
    for (const name of ['plain', 'node-port']) await client.delete(resources.services, { namespace, name });
    await isUsed(namespace, 'test-quota', { services: '0', 'services.nodeports': '0' });
  });

  for (const [name, resource, initially] of [
    [
      'ResourceQuota should create a ResourceQuota and capture the life of a secret.',
      resources.secrets,
      { secrets: '0' },
    ],
    [
      'ResourceQuota should create a ResourceQuota and capture the life of a configMap.',
      resources.configmaps,
      { configmaps: '1' },
    ],
  ] as const) {
    it(name, async () => {
      const namespace = await newNamespace();
      const [[counted = '', before = '']] = [Object.entries(initially)[0] ?? []];
      const full = String(Number(before) + 1);
      await createQuota(namespace, 'test-quota', { hard: { ...hard, [counted]: full } });
      await isUsed(namespace, 'test-quota', { resourcequotas: '1', [counted]: before });
      const create = (name: string) => client.create(resource, namespace, { metadata: { name }, data: {} });
      await create('one');
      await isUsed(namespace, 'test-quota', { [counted]: full });
      await assert.rejects(create('two'), forbidden);
      await client.delete(resource, { namespace, name: 'one' });
      await isUsed(namespace, 'test-quota', { [counted]: before });
    });
  }

  it('ResourceQuota should create a ResourceQuota and capture the life of a pod.', async () => {
    const namespace = await newNamespace();
    await createQuota(namespace, 'test-quota', { hard });
    const none = {
      pods: '0',
      cpu: '0',
      memory: '0',
      'requests.ephemeral-storage': '0',
      [dongles]: '0',
    };
    await isUsed(namespace, 'test-quota', none);
    const requests = { cpu: '500m', memory: '252Mi', 'ephemeral-storage': '30Gi', [dongle]: '2' };
    const pod = await createPod(namespace, 'fits', { requests, limits: { [dongle]: '2' } });
    const used = {
      pods: '1',
      cpu: '500m',
      memory: '252Mi',
      'requests.ephemeral-storage': '30Gi',
      [dongles]: '2',
    };
    await isUsed(namespace, 'test-quota', used);
    await assert.rejects(createPod(namespace, 'too-big', { requests: { cpu: '600m', memory: '100Mi' } }), forbidden);
    await assert.rejects(
      createPod(namespace, 'too-many-dongles', {
        requests: { cpu: '500m', memory: '100Mi', 'ephemeral-storage': '20Gi', [dongle]: '2' },
        limits: { [dongle]: '2' },
      }),
      forbidden,
    );
    const [container] = pod.spec?.containers ?? [];
    assert.ok(container !== undefined);
    const smaller = { requests: { cpu: '100m', memory: '100Mi', 'ephemeral-storage': '10Gi' } };
    const changed = { spec: { containers: [{ name: container.name, resources: smaller }] } };
    const key = { namespace, name: 'fits' };
    await assert.rejects(client.patch(resources.pods, key, 'strategic', changed), { code: 'Invalid' });
    await isUsed(namespace, 'test-quota', used);
    await deletePod(namespace, 'fits');
    await isUsed(namespace, 'test-quota', none);
  });

  it('ResourceQuota should create a ResourceQuota and capture the life of a replication controller.', async () => {
    const namespace = await newNamespace();
    await createQuota(namespace, 'test-quota', { hard });
    await isUsed(namespace, 'test-quota', { replicationcontrollers: '0' });
    const labels = { name: 'counted' };
    const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } };
    const create = () =>
      client.create(resources.replicationcontrollers, namespace, {
        metadata: { name: 'counted' },
        spec: { replicas: 0, selector: labels, template },
      });
    await create();
    await isUsed(namespace, 'test-quota', { replicationcontrollers: '1' });
    await client.delete(
      resources.replicationcontrollers,
      { namespace, name: 'counted' },
      { propagationPolicy: 'Background' },
    );
    await isUsed(namespace, 'test-quota', { replicationcontrollers: '0' });
    await create();
    await isUsed(namespace, 'test-quota', { replicationcontrollers: '1' });
    await client.delete(
      resources.replicationcontrollers,
      { namespace, name: 'counted' },
      { propagationPolicy: 'Orphan' },
    );
    await isUsed(namespace, 'test-quota', { replicationcontrollers: '0' });
  });

  it('ResourceQuota should create a ResourceQuota and capture the life of a replica set.', async () => {
    const namespace = await newNamespace();
    await createQuota(namespace, 'test-quota', { hard });
    await isUsed(namespace, 'test-quota', { 'count/replicasets.apps': '0' });
    const labels = { name: 'counted' };
    await client.create(resources.replicasets, namespace, {
      metadata: { name: 'counted' },
      spec: {
        replicas: 0,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } },
      },
    });
    await isUsed(namespace, 'test-quota', { 'count/replicasets.apps': '1' });
    await client.delete(resources.replicasets, { namespace, name: 'counted' });
    await isUsed(namespace, 'test-quota', { 'count/replicasets.apps': '0' });
  });

  /** Two quotas of opposite scopes: a pod counts in one of them only, and is given back to it. */
  async function countsOnce(
    [inside, outside]: readonly [ResourceQuotaSpec, ResourceQuotaSpec],
    pods: readonly (readonly ['inside' | 'outside', ResourceRequirements, Partial<PodSpec>, Record<string, string>])[],
  ): Promise<void> {
    const namespace = await newNamespace();
    await createQuota(namespace, 'inside', inside);
    await createQuota(namespace, 'outside', outside);
    await isUsed(namespace, 'inside', { pods: '0' });
    await isUsed(namespace, 'outside', { pods: '0' });
    for (const [where, needs, spec, used] of pods) {
      const other = where === 'inside' ? 'outside' : 'inside';
      await createPod(namespace, 'counted', needs, spec);
      await isUsed(namespace, where, { pods: '1', ...used });
      await isUsed(namespace, other, { pods: '0' });
      await deletePod(namespace, 'counted');
      await isUsed(namespace, where, { pods: '0' });
      await eventually('no pod', async () => {
        await assert.rejects(client.get(resources.pods, { namespace, name: 'counted' }), gone);
        return true;
      });
    }
  }

  const burstable = { requests: { cpu: '500m', memory: '200Mi' }, limits: { cpu: '1', memory: '400Mi' } };
  const burstableUse = {
    'requests.cpu': '500m',
    'requests.memory': '200Mi',
    'limits.cpu': '1',
    'limits.memory': '400Mi',
  };
  const computeHard = {
    pods: '5',
    'requests.cpu': '1',
    'requests.memory': '500Mi',
    'limits.cpu': '2',
    'limits.memory': '1Gi',
  };

  it('ResourceQuota should verify ResourceQuota with terminating scopes.', () =>
    countsOnce(
      [
        { hard: computeHard, scopes: ['Terminating'] },
        { hard: computeHard, scopes: ['NotTerminating'] },
      ],
      [
        ['outside', burstable, {}, burstableUse],
        ['inside', burstable, { activeDeadlineSeconds: 3600 }, burstableUse],
      ],
    ));

  it('ResourceQuota should verify ResourceQuota with best effort scope.', () =>
    countsOnce(
      [
        { hard: { pods: '5' }, scopes: ['BestEffort'] },
        { hard: { pods: '5' }, scopes: ['NotBestEffort'] },
      ],
      [
        ['inside', {}, {}, {}],
        ['outside', burstable, {}, {}],
      ],
    ));

  it('ResourceQuota should be able to update and delete ResourceQuota.', async () => {
    const namespace = await newNamespace();
    const key = { namespace, name: 'test-quota' };
    await createQuota(namespace, key.name, { hard: { cpu: '1', memory: '500Mi' } });
    const quota = await client.get(resources.resourcequotas, key);
    assert.deepEqual(quota.spec?.hard, { cpu: '1', memory: '500Mi' });
    await eventually('an update of the newest version', async () =>
      client.update(resources.resourcequotas, {
        ...(await client.get(resources.resourcequotas, key)),
        spec: { hard: { cpu: '2', memory: '1Gi' } },
      }),
    );
    const updated = await client.get(resources.resourcequotas, key);
    assert.deepEqual(updated.spec?.hard, { cpu: '2', memory: '1Gi' });
    await eventually('the new limits in the status', async () => {
      const { status } = await client.get(resources.resourcequotas, key);
      return status?.hard?.['cpu'] === '2';
    });
    await client.delete(resources.resourcequotas, key);
    await assert.rejects(client.get(resources.resourcequotas, key), gone);
  });

  it('ResourceQuota should manage the lifecycle of a ResourceQuota', async () => {
    const namespace = await newNamespace();
    const key = { namespace, name: 'lifecycle' };
    const labelSelector = 'test=lifecycle';
    await client.create(resources.resourcequotas, namespace, {
      metadata: { name: key.name, labels: { test: 'lifecycle' } },
      spec: { hard: { cpu: '1', memory: '500Mi' } },
    });
    const everywhere = await client.list(resources.resourcequotas, { labelSelector });
    assert.deepEqual(
      everywhere.items.map(({ metadata }) => metadata.name),
      [key.name],
    );
    const patch = { metadata: { labels: { patched: 'yes' } }, spec: { hard: { memory: '750Mi' } } };
    const patched = await client.patch(resources.resourcequotas, key, 'strategic', patch);
    assert.deepEqual([patched.spec?.hard?.['memory'], patched.metadata.labels?.['patched']], ['750Mi', 'yes']);
    await client.deleteCollection(resources.resourcequotas, { namespace, labelSelector: 'patched=yes' });
    assert.deepEqual((await client.list(resources.resourcequotas, { labelSelector })).items, []);
  });

  it('ResourceQuota should apply changes to a resourcequota status', async () => {
    const namespace = await newNamespace();
    const key = { namespace, name: 'status' };
    await createQuota(namespace, key.name, { hard: { cpu: '500m', memory: '500Mi' } });
    const calculated = await isUsed(namespace, key.name, { cpu: '0', memory: '0' });
    assert.deepEqual(calculated.status?.hard, { cpu: '500m', memory: '500Mi' });
    const written: string[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      try {
        for await (const { type, object } of client.watch(resources.resourcequotas, {
          namespace,
          resourceVersion: calculated.metadata.resourceVersion,
          signal: stop.signal,
        }))
          if (type === 'MODIFIED') written.push(JSON.stringify(object.status?.hard));
      } catch (error) {
        if (!stop.signal.aborted) throw error;
      }
    })();
    const first = { status: { hard: { cpu: '1', memory: '1Gi' } } };
    const at = { subresource: 'status' };
    const patched = await client.patch(resources.resourcequotas, key, 'strategic', first, at);
    assert.deepEqual(patched.status?.hard, first.status.hard);
    assert.deepEqual(patched.spec?.hard, { cpu: '500m', memory: '500Mi' });
    const second = { cpu: '2', memory: '2Gi' };
    await eventually('an update of the newest status', async () =>
      client.updateSubresource(
        resources.resourcequotas,
        { ...(await client.get(resources.resourcequotas, key)), status: { hard: second, used: {} } },
        'status',
      ),
    );
    // The controller writes what the specification says again, whatever others wrote.
    await eventually('the calculated status', async () => {
      const { status } = await client.get(resources.resourcequotas, key);
      return status?.hard?.['cpu'] === '500m' && status.used?.['memory'] === '0';
    });
    await eventually('all changes in the watch', async () =>
      [first.status.hard, second].every((each) => written.includes(JSON.stringify(each))),
    );
    stop.abort();
    await watching;
  });
});
