// What deletions take with them: dependents by ownership, and everything in a namespace, on a node without containers.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Namespace, Pod } from '#kube/api/generated/core-v1.ts';
import type { DeleteOptions } from '#kube/api/generated/meta-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { ApiClient, ObjectKey } from '#kube/client/types.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const gone = { code: 'NotFound' };
const labels = { app: 'owned' };
const template = { metadata: { labels }, spec: { containers: [{ name: 'nginx', image: 'nginx' }] } };

describe('deletion', { timeout: 240_000 }, () => {
  let plane: TestControlPlane;
  let client: ApiClient;
  let spaces = 0;
  before(async () => {
    plane = await startControlPlane();
    client = plane.client;
    await plane.addNode('n1');
    await eventually('a node to run on', async () => {
      const node = await client.get(resources.nodes, { name: 'n1' });
      return (node.spec?.taints ?? []).length === 0;
    });
  });
  after(() => plane?.stop());

  async function newNamespace(name = `deletion-${++spaces}`): Promise<string> {
    await client.create(resources.namespaces, undefined, { metadata: { name }, spec: {} });
    await eventually('its service account', async () =>
      client.get(resources.serviceaccounts, { namespace: name, name: 'default' }),
    );
    return name;
  }

  const isGone = (resource: Resource, key: ObjectKey): Promise<boolean> =>
    eventually(`no ${resource.singular} ${key.name}`, async () => {
      await assert.rejects(client.get(resource, key), gone);
      return true;
    });

  const listIn = async <T extends KubeObject>(resource: Resource<T>, namespace: string): Promise<T[]> =>
    (await client.list(resource, { namespace })).items;

  async function createController(namespace: string, name: string, replicas: number) {
    const controller = await client.create(resources.replicationcontrollers, namespace, {
      metadata: { name },
      spec: { replicas, selector: { app: name }, template: { ...template, metadata: { labels: { app: name } } } },
    });
    await eventually('its pods', async () => {
      const found = await client.get(resources.replicationcontrollers, { namespace, name });
      return found.status?.replicas === replicas;
    });
    return controller;
  }

  /** That a collector which is at work leaves something alone shows in what it does to something made later. */
  async function collectorHasPassed(namespace: string): Promise<void> {
    const name = `collected-${Math.random().toString(36).slice(2)}`;
    await client.create(resources.configmaps, namespace, {
      metadata: {
        name,
        ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'never-was', uid: 'never-was' }],
      },
    });
    await isGone(resources.configmaps, { namespace, name });
  }

  it('Garbage collector should delete pods created by rc when not orphaning', async () => {
    const namespace = await newNamespace();
    await createController(namespace, 'simple', 2);
    const key = { namespace, name: 'simple' };
    await client.delete(resources.replicationcontrollers, key, { propagationPolicy: 'Background' });
    await isGone(resources.replicationcontrollers, key);
    await eventually('no pod', async () => (await listIn(resources.pods, namespace)).length === 0);
  });

  it('Garbage collector should orphan pods created by rc if delete options say so', async () => {
    const namespace = await newNamespace();
    await createController(namespace, 'orphaning', 4);
    const key = { namespace, name: 'orphaning' };
    await client.delete(resources.replicationcontrollers, key, { propagationPolicy: 'Orphan' });
    await isGone(resources.replicationcontrollers, key);
    await collectorHasPassed(namespace);
    const pods = await listIn(resources.pods, namespace);
    assert.equal(pods.length, 4);
    assert.ok(pods.every(({ metadata }) => (metadata.ownerReferences ?? []).length === 0));
  });

  for (const [name, options, isOrphaning] of [
    ['Garbage collector should delete RS created by deployment when not orphaning', 'Background', false],
    [
      'Garbage collector should orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan',
      'Orphan',
      true,
    ],
  ] as const) {
    it(name, async () => {
      const namespace = await newNamespace();
      const key = { namespace, name: 'simple' };
      await client.create(resources.deployments, namespace, {
        metadata: { name: key.name },
        spec: { replicas: 2, selector: { matchLabels: labels }, template },
      });
      await eventually('its replica set', async () => (await listIn(resources.replicasets, namespace)).length === 1);
      const deleteOptions: DeleteOptions = { propagationPolicy: options };
      await client.delete(resources.deployments, key, deleteOptions);
      await isGone(resources.deployments, key);
      if (!isOrphaning) {
        await eventually('no replica set', async () => (await listIn(resources.replicasets, namespace)).length === 0);
        await eventually('no pod', async () => (await listIn(resources.pods, namespace)).length === 0);
        return;
      }
      await collectorHasPassed(namespace);
      const [set, ...others] = await listIn(resources.replicasets, namespace);
      assert.deepEqual([set?.metadata.ownerReferences ?? [], others], [[], []]);
    });
  }

  it('Garbage collector should keep the rc around until all its pods are deleted if the deleteOptions says so', async () => {
    const namespace = await newNamespace();
    await createController(namespace, 'foreground', 3);
    const key = { namespace, name: 'foreground' };
    const [held] = await listIn(resources.pods, namespace);
    assert.ok(held !== undefined);
    const heldKey = { namespace, name: held.metadata.name };
    await client.patch(resources.pods, heldKey, 'merge', { metadata: { finalizers: ['example.com/held'] } });
    await client.delete(resources.replicationcontrollers, key, { propagationPolicy: 'Foreground' });
    await eventually('one pod left', async () => (await listIn(resources.pods, namespace)).length === 1);
    const waiting = await client.get(resources.replicationcontrollers, key);
    assert.deepEqual(waiting.metadata.finalizers, ['foregroundDeletion']);
    assert.notEqual(waiting.metadata.deletionTimestamp, undefined);
    await client.patch(resources.pods, heldKey, 'merge', { metadata: { finalizers: null } });
    await isGone(resources.replicationcontrollers, key);
    assert.deepEqual(await listIn(resources.pods, namespace), []);
  });

  it("Garbage collector should not delete dependents that have both valid owner and owner that's waiting for dependents to be deleted", async () => {
    const namespace = await newNamespace();
    await createController(namespace, 'to-be-deleted', 4);
    const stays = await createController(namespace, 'stays', 0);
    const pods = await listIn(resources.pods, namespace);
    const shared = pods.slice(0, 2);
    for (const { metadata } of shared) {
      const owner = { apiVersion: 'v1', kind: 'ReplicationController', name: 'stays', uid: stays.metadata.uid };
      await client.patch(resources.pods, { namespace, name: metadata.name }, 'strategic', {
        metadata: { ownerReferences: [owner] },
      });
    }
    const key = { namespace, name: 'to-be-deleted' };
    await client.delete(resources.replicationcontrollers, key, { propagationPolicy: 'Foreground' });
    await isGone(resources.replicationcontrollers, key);
    const left = await eventually('two pods left', async () => {
      const found = await listIn(resources.pods, namespace);
      return found.length === 2 ? found : undefined;
    });
    const names = (list: Pod[]) => list.map(({ metadata }) => metadata.name).sort();
    assert.deepEqual(names(left), names(shared));
    for (const { metadata } of left) {
      assert.equal(metadata.deletionTimestamp, undefined);
      assert.deepEqual(
        metadata.ownerReferences?.map(({ name }) => name),
        ['stays'],
      );
    }
  });

  it('Garbage collector should not be blocked by dependency circle', async () => {
    const namespace = await newNamespace();
    const names = ['pod1', 'pod2', 'pod3'];
    const uids = new Map<string, string | undefined>();
    for (const name of names) {
      const pod = await client.create(resources.pods, namespace, { metadata: { name }, spec: template.spec });
      uids.set(name, pod.metadata.uid);
    }
    for (const [index, name] of names.entries()) {
      const owner = names[(index + 2) % 3] ?? '';
      const reference = {
        apiVersion: 'v1',
        kind: 'Pod',
        name: owner,
        uid: uids.get(owner),
        controller: true,
        blockOwnerDeletion: true,
      };
      await client.patch(resources.pods, { namespace, name }, 'strategic', {
        metadata: { ownerReferences: [reference] },
      });
    }
    await client.delete(resources.pods, { namespace, name: 'pod1' }, { propagationPolicy: 'Foreground' });
    await eventually('no pod', async () => (await listIn(resources.pods, namespace)).length === 0);
  });

  for (const [name, resource, spec] of [
    ['Namespaces should ensure that all pods are removed when a namespace is deleted', resources.pods, template.spec],
    [
      'Namespaces should ensure that all services are removed when a namespace is deleted',
      resources.services,
      { selector: labels, ports: [{ port: 80, targetPort: 80 }] },
    ],
  ] as const) {
    it(name, async () => {
      const namespace = await newNamespace();
      const key = { namespace, name: 'inside' };
      await client.create(resource as Resource, namespace, { metadata: { name: key.name }, ...{ spec } });
      if (resource === resources.pods)
        await eventually('the pod runs', async () => {
          const { status } = await client.get(resources.pods, key);
          return status?.phase === 'Running';
        });
      await client.delete(resources.namespaces, { name: namespace });
      await isGone(resources.namespaces, { name: namespace });
      await newNamespace(namespace);
      await assert.rejects(client.get(resource as Resource, key), gone);
    });
  }

  it('OrderedNamespaceDeletion namespace deletion should delete pod first', async () => {
    const namespace = await newNamespace();
    const held = { finalizers: ['e2e.example.com/finalizer'] };
    await client.create(resources.pods, namespace, {
      metadata: { name: 'held', ...held },
      spec: template.spec,
    });
    await client.create(resources.configmaps, namespace, { metadata: { name: 'later', ...held } });
    await client.delete(resources.namespaces, { name: namespace });
    const [pod, map] = [
      { namespace, name: 'held' },
      { namespace, name: 'later' },
    ] as const;
    await eventually('the pod is asked to go', async () => {
      const { metadata } = await client.get(resources.pods, pod);
      return metadata.deletionTimestamp !== undefined;
    });
    await eventually('the namespace says what it waits for', async () => {
      const { status } = await client.get(resources.namespaces, { name: namespace });
      return status?.conditions?.some(
        ({ type, status: value }) => type === 'NamespaceFinalizersRemaining' && value === 'True',
      );
    });
    assert.equal((await client.get(resources.configmaps, map)).metadata.deletionTimestamp, undefined);
    await client.patch(resources.pods, pod, 'merge', { metadata: { finalizers: null } });
    await isGone(resources.pods, pod);
    await eventually('the config map is asked to go', async () => {
      const { metadata } = await client.get(resources.configmaps, map);
      return metadata.deletionTimestamp !== undefined;
    });
    await client.patch(resources.configmaps, map, 'merge', { metadata: { finalizers: null } });
    await isGone(resources.namespaces, { name: namespace });
  });

  const changeNamespace = (name: string, change: (namespace: Namespace) => Namespace, subresource?: string) =>
    eventually('a write of the newest version', async () => {
      const changed = change(await client.get(resources.namespaces, { name }));
      return subresource === undefined
        ? client.update(resources.namespaces, changed)
        : client.updateSubresource(resources.namespaces, changed, subresource);
    });

  it('Namespaces should patch a Namespace', async () => {
    const name = await newNamespace();
    await client.patch(resources.namespaces, { name }, 'strategic', {
      metadata: { labels: { testLabel: 'testValue' } },
    });
    const { metadata } = await client.get(resources.namespaces, { name });
    assert.equal(metadata.labels?.['testLabel'], 'testValue');
  });

  it('Namespaces should apply an update to a Namespace', async () => {
    const name = await newNamespace();
    const updated = await changeNamespace(name, (namespace) => ({
      ...namespace,
      metadata: { ...namespace.metadata, labels: { ...namespace.metadata.labels, updated: 'yes' } },
    }));
    assert.equal(updated.metadata.labels?.['updated'], 'yes');
    assert.equal(updated.metadata.labels?.['kubernetes.io/metadata.name'], name);
  });

  it('Namespaces should apply changes to a namespace status', async () => {
    const name = await newNamespace();
    const condition = (type: string) => ({ type, status: 'True', reason: 'E2E', message: 'Set by a test' });
    const patch = { metadata: { annotations: { patched: 'yes' } }, status: { conditions: [condition('StatusPatch')] } };
    const patched = await client.patch(resources.namespaces, { name }, 'merge', patch, { subresource: 'status' });
    assert.equal(patched.metadata.annotations?.['patched'], 'yes');
    assert.equal(patched.status?.conditions?.[0]?.type, 'StatusPatch');
    const updated = await changeNamespace(
      name,
      (namespace) => ({
        ...namespace,
        status: {
          ...namespace.status,
          conditions: [...(namespace.status?.conditions ?? []), condition('StatusUpdate')],
        },
      }),
      'status',
    );
    assert.deepEqual(
      [updated.status?.phase, ...(updated.status?.conditions ?? []).map(({ type }) => type)],
      ['Active', 'StatusPatch', 'StatusUpdate'],
    );
  });

  it('Namespaces should apply a finalizer to a Namespace', async () => {
    const name = await newNamespace();
    const held = 'e2e.example.com/fakeFinalizer';
    const finalize = (finalizers: string[]) =>
      changeNamespace(name, (namespace) => ({ ...namespace, spec: { finalizers } }), 'finalize');
    const finalized = await finalize(['kubernetes', held]);
    assert.deepEqual(finalized.spec?.finalizers, ['kubernetes', held]);
    await client.delete(resources.namespaces, { name });
    await eventually('only the added finalizer is left', async () => {
      const { spec, status } = await client.get(resources.namespaces, { name });
      return status?.phase === 'Terminating' && spec?.finalizers?.join() === held;
    });
    await finalize([]);
    await isGone(resources.namespaces, { name });
  });
});
