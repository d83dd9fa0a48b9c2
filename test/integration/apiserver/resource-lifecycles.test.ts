// Every resource that nodes and storage stand on goes through its life at the API: created, found, watched, changed,
// deleted alone and with others. Their controllers run beside the server.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import { apiVersionOf, type KubeObject, type Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

type Fields = Record<string, unknown>;
const notFound = { code: 'NotFound' };

type Thing = KubeObject & Fields;

/** Objects of any kind, with fields read as they come. */
const anyOf = (resource: Resource): Resource<Thing> => resource as Resource<Thing>;

/** A resource, and what its objects have besides metadata. */
interface Subject {
  resource: Resource;
  fields: Fields;
  /** Changed by the update; absent: only metadata is. */
  changed?: Fields;
  /** What is patched into the status, and what it is updated to; absent: the resource has none that clients write. */
  status?: readonly [Fields, Fields];
  /** Whether the server has written what it writes into the status by itself; absent: nothing. */
  isSettled?: (object: Thing) => boolean;
}

const template = { spec: { containers: [{ name: 'nginx', image: 'nginx' }] } };
const claimSpec = { devices: { requests: [{ name: 'one', exactly: { deviceClassName: 'gpu' } }] } };
const matchNothing = [
  { apiGroups: ['apps'], apiVersions: ['v1'], operations: ['CREATE'], resources: ['nothing-of-this-name'] },
];
const condition = (type: string, reason: string) => ({
  type,
  status: 'False',
  reason,
  message: 'Set by a test',
  lastTransitionTime: '2026-01-01T00:00:00Z',
});
const volumeSource = { hostPath: { path: '/tmp/none' } };

/** By the names of the behaviours they prove. */
const lifecycles: Record<string, Subject> = {
  'ConfigMap should run through a ConfigMap lifecycle': {
    resource: resources.configmaps,
    fields: { data: { valueName: 'value' } },
    changed: { data: { valueName: 'value1' } },
  },
  'ConfigMap should update ConfigMap successfully': {
    resource: resources.configmaps,
    fields: { data: { 'data-1': 'value-1' } },
    changed: { data: { 'data-1': 'value-2', 'data-2': 'value-3' } },
  },
  'PodTemplates should run the lifecycle of PodTemplates': { resource: resources.podtemplates, fields: { template } },
  'PodTemplates should replace a pod template': { resource: resources.podtemplates, fields: { template } },
  'PodTemplates should delete a collection of pod templates': {
    resource: resources.podtemplates,
    fields: { template },
  },
  'Lease lease API should be available': {
    resource: resources.leases,
    fields: { spec: { holderIdentity: 'holder', leaseDurationSeconds: 30, leaseTransitions: 0 } },
    changed: {
      spec: {
        holderIdentity: 'holder2',
        leaseDurationSeconds: 60,
        acquireTime: '2026-01-01T00:00:00.000000Z',
        renewTime: '2026-01-01T00:00:01.000000Z',
        leaseTransitions: 1,
      },
    },
  },
  'Node Lifecycle should run through the lifecycle of a node': { resource: resources.nodes, fields: {} },
  'RuntimeClass should support RuntimeClasses API operations': {
    resource: resources.runtimeclasses,
    fields: { handler: 'some-handler' },
  },
  '[DRA] CRUD Tests resource.k8s.io/v1 DeviceClass': {
    resource: resources.deviceclasses,
    fields: { spec: { selectors: [{ cel: { expression: 'device.driver == "gpu.example.com"' } }] } },
    changed: { spec: { selectors: [{ cel: { expression: 'device.driver == "other.example.com"' } }] } },
  },
  '[DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim': {
    resource: resources.resourceclaims,
    fields: { spec: claimSpec },
  },
  '[DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate': {
    resource: resources.resourceclaimtemplates,
    fields: { spec: { spec: claimSpec } },
  },
  '[DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice': {
    resource: resources.resourceslices,
    fields: {
      spec: {
        driver: 'gpu.example.com',
        nodeName: 'some-node',
        pool: { name: 'pool', generation: 1, resourceSliceCount: 1 },
        devices: [{ name: 'gpu-0' }],
      },
    },
  },
  'CSIInlineVolumes should run through the lifecycle of a CSIDriver': {
    resource: resources.csidrivers,
    fields: { spec: { attachRequired: false, podInfoOnMount: true, volumeLifecycleModes: ['Ephemeral'] } },
  },
  'CSINodes CSI Conformance should run through the lifecycle of a csinode': {
    resource: resources.csinodes,
    fields: { spec: { drivers: [] } },
  },
  'CSIStorageCapacity should support CSIStorageCapacities API operations': {
    resource: resources.csistoragecapacities,
    fields: { storageClassName: 'fast', nodeTopology: { matchLabels: { zone: 'a' } }, capacity: '1Gi' },
    changed: { storageClassName: 'fast', nodeTopology: { matchLabels: { zone: 'a' } }, capacity: '2Gi' },
  },
  'StorageClasses CSI Conformance should run through the lifecycle of a StorageClass': {
    resource: resources.storageclasses,
    fields: { provisioner: 'e2e-fake-provisioner', reclaimPolicy: 'Delete' },
  },
  'VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment': {
    resource: resources.volumeattachments,
    fields: {
      spec: { attacher: 'e2e-test.csi.k8s.io', nodeName: 'some-node', source: { persistentVolumeName: 'pv' } },
    },
  },
  'VolumeAttributesClass should run through the lifecycle of a VolumeAttributesClass': {
    resource: resources.volumeattributesclasses,
    fields: { driverName: 'e2e-fake-csi-driver', parameters: { foo: 'bar' } },
  },
  'EndpointSlice should support creating EndpointSlice API operations': {
    resource: resources.endpointslices,
    fields: { addressType: 'IPv4', endpoints: [{ addresses: ['192.0.2.1'], conditions: {} }], ports: [] },
    changed: { endpoints: [{ addresses: ['192.0.2.2'], conditions: {} }] },
  },
  'IngressClass API should support creating IngressClass API operations': {
    resource: resources.ingressclasses,
    fields: { spec: { controller: 'example.com/controller' } },
  },
  'Ingress API should support creating Ingress API operations': {
    resource: resources.ingresses,
    fields: { spec: { defaultBackend: { service: { name: 'default-backend', port: { number: 80 } } } } },
    status: [
      { loadBalancer: { ingress: [{ ip: '169.1.1.1' }] } },
      { loadBalancer: { ingress: [{ ip: '169.1.1.2' }] } },
    ],
  },
  'Services should complete a service status lifecycle': {
    resource: resources.services,
    fields: { spec: { type: 'LoadBalancer', ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 80 }] } },
    status: [
      { loadBalancer: { ingress: [{ ip: '203.0.113.1', ipMode: 'VIP' }] } },
      {
        loadBalancer: {},
        conditions: [
          {
            type: 'StatusUpdate',
            status: 'True',
            reason: 'E2E',
            message: 'Set from e2e test',
            lastTransitionTime: '2026-01-01T00:00:00Z',
          },
        ],
      },
    ],
  },
  'API priority and fairness should support FlowSchema API operations': {
    resource: resources.flowschemas,
    fields: {
      spec: {
        matchingPrecedence: 10_000,
        priorityLevelConfiguration: { name: 'global-default' },
        distinguisherMethod: { type: 'ByUser' },
        rules: [
          {
            subjects: [{ kind: 'User', user: { name: 'example-e2e-non-existent-user' } }],
            nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
          },
        ],
      },
    },
    status: [
      { conditions: [condition('patchStatus', 'Dangling')] },
      { conditions: [condition('updateStatus', 'Dangling')] },
    ],
    isSettled: ({ status }) => JSON.stringify(status ?? {}).includes('"Dangling"'),
  },
  'API priority and fairness should support PriorityLevelConfiguration API operations': {
    resource: resources.prioritylevelconfigurations,
    fields: {
      spec: {
        type: 'Limited',
        limited: { nominalConcurrencyShares: 2, lendablePercent: 0, limitResponse: { type: 'Reject' } },
      },
    },
    status: [
      { conditions: [condition('patchStatus', 'Concurrent')] },
      { conditions: [condition('updateStatus', 'Concurrent')] },
    ],
  },
  'ValidatingAdmissionPolicy should support ValidatingAdmissionPolicy API operations': {
    resource: resources.validatingadmissionpolicies,
    fields: {
      spec: {
        matchConstraints: { resourceRules: matchNothing },
        validations: [{ expression: 'object.spec.replicas <= 100' }],
      },
    },
    status: [
      { observedGeneration: 1, conditions: [condition('PatchStatus', 'PatchStatus')] },
      { observedGeneration: 1, conditions: [condition('UpdateStatus', 'UpdateStatus')] },
    ],
    isSettled: ({ status }) => JSON.stringify(status ?? {}).includes('"observedGeneration":1'),
  },
  'ValidatingAdmissionPolicy should support ValidatingAdmissionPolicyBinding API operations': {
    resource: resources.validatingadmissionpolicybindings,
    fields: { spec: { policyName: 'replicalimit-policy.example.com', validationActions: ['Deny'] } },
  },
  'MutatingAdmissionPolicy should support MutatingAdmissionPolicy API operations': {
    resource: resources.mutatingadmissionpolicies,
    fields: {
      spec: {
        matchConstraints: { resourceRules: matchNothing },
        reinvocationPolicy: 'Never',
        mutations: [
          {
            patchType: 'ApplyConfiguration',
            applyConfiguration: { expression: 'Object{spec: Object.spec{replicas: 1}}' },
          },
        ],
      },
    },
  },
  'MutatingAdmissionPolicy should support MutatingAdmissionPolicyBinding API operations': {
    resource: resources.mutatingadmissionpolicybindings,
    fields: { spec: { policyName: 'mutate-policy.example.com' } },
  },
  'Services should delete a collection of services': {
    resource: resources.services,
    fields: { spec: { ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 80 }] } },
  },
};

describe('lives of resources', { concurrency: 6 }, () => {
  let plane: TestControlPlane;
  let client: ApiClient;
  let sets = 0;
  before(async () => {
    plane = await startControlPlane();
    client = plane.client;
  });
  after(() => plane?.stop());

  async function isServed({ group, version, plural, kind, namespaced }: Resource): Promise<void> {
    if (group !== '') {
      const { groups } = await client.raw<{ groups: { name: string; versions: { version: string }[] }[] }>({
        method: 'GET',
        path: '/apis',
      });
      const found = groups.find(({ name }) => name === group);
      assert.ok(found?.versions.some((each) => each.version === version));
    }
    const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
    const { resources: served } = await client.raw<{
      resources: { name: string; kind: string; namespaced: boolean; verbs: string[] }[];
    }>({ method: 'GET', path });
    const own = served.find(({ name }) => name === plural);
    assert.equal(own?.kind, kind);
    assert.equal(own?.namespaced, namespaced);
    const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];
    assert.deepEqual([...(own?.verbs ?? [])].sort(), verbs);
  }

  /** Collects what a watcher of a label sees, as `TYPE name`. */
  function watchSet(resource: Resource, labelSelector: string, resourceVersion: string | undefined) {
    const seen: string[] = [];
    const stop = new AbortController();
    const done = (async () => {
      try {
        for await (const event of client.watch(resource, { labelSelector, resourceVersion, signal: stop.signal })) {
          seen.push(`${event.type} ${event.type === 'ERROR' ? event.object.message : event.object.metadata.name}`);
        }
      } catch (error) {
        if (!stop.signal.aborted) throw error;
      }
    })();
    return {
      seen,
      stop: async () => {
        stop.abort();
        await done;
      },
    };
  }

  for (const [name, { resource: typed, fields, changed, status, isSettled }] of Object.entries(lifecycles)) {
    const resource = anyOf(typed);
    it(name, async () => {
      sets += 1;
      const set = `set-${sets}`;
      const labelSelector = `test=${set}`;
      const namespace = resource.namespaced ? 'default' : undefined;
      const key = (letter: string) => ({ namespace, name: `${set}-${letter}` });
      const make = (letter: string) =>
        client.create(resource, namespace, {
          metadata: { name: key(letter).name, labels: { test: set } },
          ...fields,
        });
      await isServed(resource);
      const start = await client.list(resource, { labelSelector });
      assert.deepEqual(start.items, []);
      const watcher = watchSet(resource, labelSelector, start.metadata.resourceVersion);

      const created = await make('a');
      const read = await eventually('the object as the server completes it', async () => {
        const found = await client.get(resource, key('a'));
        return (isSettled?.(found) ?? true) ? found : undefined;
      });
      if (isSettled === undefined) assert.deepEqual(read, created);
      assert.equal(read.metadata.uid, created.metadata.uid);
      assert.equal(read.apiVersion, apiVersionOf(resource));
      await assert.rejects(make('a'), { code: 'AlreadyExists' });
      await make('b');
      const listed = await client.list(resource, { labelSelector });
      assert.deepEqual(listed.items.map(({ metadata }) => metadata.name).sort(), [key('a').name, key('b').name]);

      for (const type of ['merge', 'strategic'] as const) {
        await client.patch(resource, key('a'), type, { metadata: { labels: { [type]: 'patched' } } });
        const patched = await client.get(resource, key('a'));
        assert.equal(patched.metadata.labels?.[type], 'patched');
        assert.equal(patched.metadata.labels?.['test'], set);
      }
      await assert.rejects(client.update(resource, { ...read, ...changed }), { code: 'Conflict' });
      const current = await client.get(resource, key('a'));
      const annotations = { updated: 'yes' };
      await client.update(resource, {
        ...current,
        ...changed,
        metadata: { ...current.metadata, annotations },
      });
      const updated = await client.get(resource, key('a'));
      assert.deepEqual(updated.metadata.annotations, annotations);
      for (const [field, value] of Object.entries(changed ?? {})) assert.deepEqual(updated[field], value);

      if (status !== undefined) {
        const [patched, replaced] = status;
        const at = { subresource: 'status' };
        await client.patch(resource, key('a'), 'merge', { status: patched }, at);
        /** The server may add its own part again at once. */
        const has = (object: Thing, wanted: Fields) =>
          isSettled === undefined
            ? assert.deepEqual(object['status'], wanted)
            : assert.partialDeepStrictEqual(object['status'], wanted);
        has(await client.get(resource, key('a')), patched);
        await eventually('an update of the newest status', async () =>
          client.updateSubresource(resource, { ...(await client.get(resource, key('a'))), status: replaced }, 'status'),
        );
        has(await client.get(resource, key('a')), replaced);
      }

      await client.delete(resource, key('a'));
      await eventually('the first is gone', async () =>
        client.get(resource, key('a')).then(
          () => false,
          () => true,
        ),
      );
      await assert.rejects(client.get(resource, key('a')), notFound);
      await make('c');
      const other = await client.create(resource, namespace, {
        metadata: { name: key('other').name },
        ...fields,
      });
      await client.deleteCollection(resource, { namespace, labelSelector });
      await eventually('the rest is gone', async () => {
        return (await client.list(resource, { labelSelector })).items.length === 0;
      });
      assert.equal((await client.get(resource, key('other'))).metadata.uid, other.metadata.uid);
      await client.delete(resource, key('other'));

      const both = (type: string) => watcher.seen.filter((line) => line.startsWith(`${type} `)).length;
      await eventually('all deletions in the watch', async () => both('DELETED') === 3);
      assert.equal(both('ADDED'), 3);
      assert.ok(both('MODIFIED') >= 3);
      assert.equal(both('ERROR'), 0);
      await watcher.stop();
    });
  }

  for (const [name, resource] of [
    ['ConfigMap should fail to create ConfigMap with empty key', resources.configmaps],
    ['Secrets should fail to create secret due to empty secret key', resources.secrets],
  ] as const) {
    it(name, async () => {
      const create = client.create(anyOf(resource), 'default', {
        metadata: { name: 'empty-key' },
        data: { '': 'dmFsdWUtMQ==' },
      });
      await assert.rejects(create, { code: 'Invalid' });
      await assert.rejects(client.get(resource, { namespace: 'default', name: 'empty-key' }), notFound);
    });
  }

  it('CSIInlineVolumes should support CSIVolumeSource in Pod API', async () => {
    const inline = { driver: 'e2e.example.com', readOnly: true, volumeAttributes: { class: 'fast' } };
    const key = { namespace: 'default', name: 'inline' };
    await eventually('the service account', () =>
      client.get(resources.serviceaccounts, { namespace: 'default', name: 'default' }),
    );
    await client.create(resources.pods, 'default', {
      metadata: { name: key.name, labels: { test: 'inline' } },
      spec: {
        volumes: [{ name: 'pod-inline-vol', csi: inline }],
        containers: [
          { name: 'main', image: 'none', volumeMounts: [{ name: 'pod-inline-vol', mountPath: '/mnt/test' }] },
        ],
      },
    });
    const volumes = async () => (await client.get(resources.pods, key)).spec.volumes;
    assert.deepEqual((await volumes())?.[0], { name: 'pod-inline-vol', csi: inline });
    const listed = await client.list(resources.pods, { labelSelector: 'test=inline' });
    assert.deepEqual(listed.items[0]?.spec.volumes?.[0]?.csi, inline);
    await client.patch(resources.pods, key, 'strategic', { metadata: { annotations: { patched: 'true' } } });
    assert.equal((await client.get(resources.pods, key)).metadata.annotations?.['patched'], 'true');
    await client.delete(resources.pods, key, { gracePeriodSeconds: 0 });
    await assert.rejects(client.get(resources.pods, key), notFound);
  });

  const capacity = { storage: '1Gi' };
  const labelled = (name: string, test: string) => ({ name, labels: { test } });
  /** A volume that is kept for one claim of a class nobody provisions. */
  const makePair = async (name: string) => {
    const claimRef = { namespace: 'default', name };
    const volume = await client.create(resources.persistentvolumes, undefined, {
      metadata: labelled(name, name),
      spec: {
        accessModes: ['ReadWriteOnce'],
        capacity,
        persistentVolumeReclaimPolicy: 'Retain',
        storageClassName: name,
        claimRef: { ...claimRef, name: 'somebody-else' },
        ...volumeSource,
      },
    });
    const claim = await client.create(resources.persistentvolumeclaims, 'default', {
      metadata: labelled(name, name),
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: capacity }, storageClassName: name },
    });
    return { volume, claim, volumeKey: { name }, claimKey: { namespace: 'default', name } };
  };
  type Kept = [Resource<PersistentVolume & KubeObject>, { name: string }];
  type Claimed = [Resource<PersistentVolumeClaim & KubeObject>, { namespace: string; name: string }];
  const gone = (resource: Resource, key: { name: string; namespace?: string }) =>
    eventually('it is gone', () =>
      client.get(resource, key).then(
        () => false,
        () => true,
      ),
    );

  it('PersistentVolumes CSI Conformance should run through the lifecycle of a PV and a PVC', async () => {
    for (const round of ['patch', 'update'] as const) {
      const name = `pair-${round}`;
      const { volume, claim, volumeKey, claimKey } = await makePair(name);
      const kept: Kept = [resources.persistentvolumes, volumeKey];
      const claimed: Claimed = [resources.persistentvolumeclaims, claimKey];
      for (const [[resource, key], made] of [
        [kept, volume],
        [claimed, claim],
      ] as const) {
        const found = await client.list(resource as Resource, { labelSelector: `test=${name}` });
        assert.equal(found.items.length, 1);
        const labels = { test: name, [round]: 'done' };
        if (round === 'patch') await client.patch(resource as Resource, key, 'merge', { metadata: { labels } });
        else {
          await eventually('an update without a conflict', async () => {
            const current = await client.get(resource as Resource, key);
            await client.update(resource as Resource, { ...current, metadata: { ...current.metadata, labels } });
            return true;
          });
        }
        const read = await client.get(resource as Resource, key);
        assert.equal(read.metadata.uid, made.metadata.uid);
        assert.deepEqual(read.metadata.labels, labels);
      }
      for (const [resource, key] of [claimed, kept]) {
        const labelSelector = `test=${name}`;
        if (round === 'patch') await client.delete(resource as Resource, key);
        else {
          const namespace = 'namespace' in key ? key.namespace : undefined;
          await client.deleteCollection(resource as Resource, { namespace, labelSelector });
        }
        await gone(resource as Resource, key);
      }
    }
  });

  it('PersistentVolumes CSI Conformance should apply changes to a pv/pvc status', async () => {
    const { volumeKey, claimKey } = await makePair('pair-status');
    const status = { subresource: 'status' };
    const readStatus = async <T>(path: string) => client.raw<T>({ method: 'GET', path });
    const claimPath = '/api/v1/namespaces/default/persistentvolumeclaims/pair-status/status';
    const volumePath = '/api/v1/persistentvolumes/pair-status/status';
    await eventually('both phases', async () => {
      const claim = await readStatus<PersistentVolumeClaim>(claimPath);
      const volume = await readStatus<PersistentVolume>(volumePath);
      return claim.status?.phase === 'Pending' && volume.status?.phase !== undefined;
    });
    const condition = (type: string) => ({ type, status: 'True', reason: 'e2e', message: 'set by a test' });
    await client.patch(
      resources.persistentvolumeclaims,
      claimKey,
      'strategic',
      { status: { conditions: [condition('StatusPatched')] } },
      status,
    );
    let claim = await readStatus<PersistentVolumeClaim & KubeObject>(claimPath);
    assert.equal(claim.status?.conditions?.find(({ type }) => type === 'StatusPatched')?.message, 'set by a test');
    await client.patch(
      resources.persistentvolumes,
      volumeKey,
      'merge',
      { status: { reason: 'E2E', message: 'StatusPatched' } },
      status,
    );
    assert.equal((await readStatus<PersistentVolume>(volumePath)).status?.message, 'StatusPatched');
    const conditions = [condition('StatusUpdated')];
    await eventually('an update without a conflict', async () => {
      claim = await readStatus<PersistentVolumeClaim & KubeObject>(claimPath);
      const changedClaim = { ...claim, status: { ...claim.status, conditions } };
      await client.updateSubresource(resources.persistentvolumeclaims, changedClaim, 'status');
      return true;
    });
    claim = await readStatus<PersistentVolumeClaim & KubeObject>(claimPath);
    assert.equal(claim.status?.conditions?.[0]?.type, 'StatusUpdated');
    await eventually('an update without a conflict', async () => {
      const volume = await readStatus<PersistentVolume & KubeObject>(volumePath);
      const changedVolume = { ...volume, status: { ...volume.status, message: 'StatusUpdated' } };
      await client.updateSubresource(resources.persistentvolumes, changedVolume, 'status');
      return true;
    });
    assert.equal((await readStatus<PersistentVolume>(volumePath)).status?.message, 'StatusUpdated');
    await client.delete(resources.persistentvolumeclaims, claimKey);
    await client.delete(resources.persistentvolumes, volumeKey);
    await gone(resources.persistentvolumeclaims, claimKey);
    await gone(resources.persistentvolumes, volumeKey);
  });

  it('VolumeAttachment Conformance should apply changes to a volumeattachment status', async () => {
    const key = { name: 'attachment-status' };
    const { volumeattachments } = resources;
    await client.create(volumeattachments, undefined, {
      metadata: { name: key.name },
      spec: { attacher: 'e2e-test.csi.k8s.io', nodeName: 'some-node', source: { persistentVolumeName: 'pv' } },
    });
    await client.patch(volumeattachments, key, 'merge', { metadata: { labels: { [key.name]: 'patched' } } });
    const path = `/apis/storage.k8s.io/v1/volumeattachments/${key.name}/status`;
    type Attachment = Awaited<ReturnType<typeof client.get<NonNullable<typeof volumeattachments.objectType>>>>;
    const read = () => client.raw<Attachment>({ method: 'GET', path });
    assert.equal((await read()).metadata.labels?.[key.name], 'patched');
    assert.notEqual((await read()).status?.attached, true);
    const subresource = { subresource: 'status' };
    await client.patch(volumeattachments, key, 'merge', { status: { attached: true } }, subresource);
    const attached = await read();
    assert.equal(attached.status?.attached, true);
    await client.updateSubresource(volumeattachments, { ...attached, status: { attached: false } }, 'status');
    assert.equal((await read()).status?.attached, false);
    await client.delete(volumeattachments, key);
    await assert.rejects(client.get(volumeattachments, key), notFound);
  });
});
