// Pods as API objects and as what runs: created, watched, changed, counted generations, deleted alone and together.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { pods, runtimeclasses } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { WatchEvent } from '#kube/client/types.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

type NamedPod = Pod & KubeObject;

const sleeping = { containers: [script('exec sleep 600')] };

describe('pods', { skip: clustersUnavailable() ?? false, concurrency: 8 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  const find = async (namespace: string, labelSelector: string) =>
    (await node.client.list(pods, { namespace, labelSelector })).items;
  const replace = (namespace: string, name: string, change: (pod: NamedPod) => NamedPod) =>
    eventually('an update without a conflict', async () =>
      node.client.update<NamedPod>(pods, change(await node.client.get<NamedPod>(pods, { namespace, name }))),
    );

  it('Pods should get a host IP', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, { name: 'hosted', spec: sleeping });
    const { status } = await node.waitForPod(
      namespace,
      'hosted',
      'a host IP',
      (pod) => pod.status?.hostIP !== undefined,
    );
    const addresses = (await node.node()).status?.addresses ?? [];
    assert.equal(status?.hostIP, addresses.find(({ type }) => type === 'InternalIP')?.address);
  });

  it('Pods should be submitted and removed', async () => {
    const namespace = await node.namespace();
    const labelSelector = 'time=now';
    const { metadata } = await node.client.list(pods, { namespace, labelSelector });
    const stop = new AbortController();
    const seen: WatchEvent<Pod>[] = [];
    const watching = (async () => {
      const options = { namespace, labelSelector, resourceVersion: metadata.resourceVersion, signal: stop.signal };
      for await (const event of node.client.watch<NamedPod>(pods, options)) {
        seen.push(event);
        if (event.type === 'DELETED') return;
      }
    })();
    await node.createPod(namespace, {
      name: 'submitted',
      metadata: { name: 'submitted', labels: { time: 'now' } },
      spec: { ...sleeping, terminationGracePeriodSeconds: 30 },
    });
    assert.equal((await find(namespace, labelSelector)).length, 1);
    await eventually('the addition in the watch', async () => seen[0]?.type === 'ADDED');
    await node.waitReady(namespace, 'submitted');
    await node.client.delete(pods, { namespace, name: 'submitted' }, { gracePeriodSeconds: 2 });
    await watching;
    const last = seen.at(-1);
    assert.equal(last?.type, 'DELETED');
    const changes = seen.flatMap((event) => (event.type === 'MODIFIED' ? [event.object] : []));
    assert.ok(changes.some(({ status }) => status?.phase === 'Running'));
    assert.ok(changes.some((pod) => pod.metadata.deletionTimestamp !== undefined));
    assert.deepEqual(await find(namespace, labelSelector), []);
    stop.abort();
  });

  it('Pods should be updated', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'changing',
      metadata: { name: 'changing', labels: { time: 'one' } },
      spec: sleeping,
    });
    assert.equal((await find(namespace, 'time=one')).length, 1);
    await node.waitReady(namespace, 'changing');
    await replace(namespace, 'changing', (pod) => ({ ...pod, metadata: { ...pod.metadata, labels: { time: 'two' } } }));
    assert.equal((await find(namespace, 'time=two')).length, 1);
    assert.deepEqual(await find(namespace, 'time=one'), []);
  });

  it('Pods should allow activeDeadlineSeconds to be updated', async () => {
    const namespace = await node.namespace();
    const labels = { time: 'short' };
    await node.createPod(namespace, { name: 'limited', metadata: { name: 'limited', labels }, spec: sleeping });
    assert.equal((await find(namespace, 'time=short')).length, 1);
    await node.waitReady(namespace, 'limited');
    await replace(namespace, 'limited', (pod) => ({ ...pod, spec: { ...pod.spec, activeDeadlineSeconds: 5 } }));
    const ended = await node.waitForPod(namespace, 'limited', 'it fails', ({ status }) => status?.phase === 'Failed');
    assert.equal(ended.status?.reason, 'DeadlineExceeded');
  });

  it('Pods should delete a collection of pods', async () => {
    const namespace = await node.namespace();
    const labels = { type: 'Testing' };
    const names = ['one', 'two', 'three'];
    await Promise.all(
      names.map((name) =>
        node.createPod(namespace, {
          name,
          metadata: { name, labels },
          spec: { ...sleeping, terminationGracePeriodSeconds: 1 },
        }),
      ),
    );
    for (const name of names) await node.waitReady(namespace, name);
    assert.equal((await find(namespace, 'type=Testing')).length, 3);
    await node.client.deleteCollection(pods, { namespace, labelSelector: 'type=Testing' });
    await eventually('all are gone', async () => (await find(namespace, 'type=Testing')).length === 0);
  });

  it('Pods should patch a pod status', async () => {
    const namespace = await node.namespace();
    const labels = { test: 'pod-status' };
    await node.createPod(namespace, { name: 'patched', metadata: { name: 'patched', labels }, spec: sleeping });
    await node.waitReady(namespace, 'patched');
    assert.equal((await find(namespace, 'test=pod-status')).length, 1);
    const key = { namespace, name: 'patched' };
    const status = { status: { message: 'Patched by e2e test', reason: 'E2E' } };
    const patched = await node.client.patch(pods, key, 'strategic', status, { subresource: 'status' });
    assert.equal(patched.status?.message, 'Patched by e2e test');
    assert.equal(patched.status?.reason, 'E2E');
  });

  it('Pods should run through the lifecycle of Pods and PodStatus', async () => {
    const namespace = await node.namespace();
    const labels = { 'test-pod-static': 'true' };
    const key = { namespace, name: 'lifecycle' };
    await node.createPod(namespace, { name: key.name, metadata: { name: key.name, labels }, spec: sleeping });
    await node.waitReady(namespace, key.name);
    await node.client.patch(pods, key, 'strategic', {
      metadata: { labels: { 'test-pod': 'patched' } },
      spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image: 'localhost/berth/busybox:1' }] },
    });
    const path = `/api/v1/namespaces/${namespace}/pods/${key.name}/status`;
    assert.equal((await node.client.raw<Pod>({ method: 'GET', path })).metadata.labels?.['test-pod'], 'patched');
    await eventually('a replaced status', async () => {
      const current = await node.client.raw<NamedPod>({ method: 'GET', path });
      const conditions = current.status?.conditions?.map((each) =>
        each.type === 'Ready' ? { ...each, status: 'False' } : each,
      );
      const body = { ...current, status: { ...current.status, ...(conditions === undefined ? {} : { conditions }) } };
      const answer = await node.client.raw<Pod>({ method: 'PUT', path, body });
      assert.equal(answer.status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'False');
      return true;
    });
    // What a client says of readiness the agent puts right.
    await node.waitReady(namespace, key.name);
    await node.client.deleteCollection(pods, { namespace, labelSelector: 'test-pod-static=true' });
    await node.waitGone(namespace, key.name);
  });

  const generations = ({ metadata, status }: Pod) => [metadata.generation, status?.observedGeneration];

  it('Pods Extended (pod generation) Pod Generation pod generation should start at 1 and increment per update', async () => {
    const namespace = await node.namespace();
    const created = await node.createPod(namespace, {
      name: 'counted',
      metadata: { name: 'counted', generation: 100 },
      spec: { ...sleeping, tolerations: [] },
    });
    assert.equal(created.metadata.generation, 1);
    await node.waitReady(namespace, 'counted');
    const observed = (generation: number) =>
      node.waitForPod(namespace, 'counted', `generation ${generation} is observed`, (pod) => {
        assert.equal(pod.metadata.generation, generation);
        return pod.status?.observedGeneration === generation;
      });
    // Scheduling is no change of what the pod is to be; binding sets a field of the spec, which counts.
    const { metadata } = await node.pod(namespace, 'counted');
    let generation = metadata.generation ?? 0;
    await observed(generation);
    const changes: ((pod: NamedPod) => NamedPod)[] = [
      (pod) => ({ ...pod, spec: { ...pod.spec, activeDeadlineSeconds: 3600 } }),
      (pod) => ({ ...pod, spec: { ...pod.spec, activeDeadlineSeconds: 1800 } }),
      (pod) => ({
        ...pod,
        spec: {
          ...pod.spec,
          tolerations: [...(pod.spec.tolerations ?? []), { key: 'foo', operator: 'Exists', effect: 'NoSchedule' }],
        },
      }),
    ];
    for (const change of changes) {
      await replace(namespace, 'counted', change);
      generation += 1;
      await observed(generation);
    }
    await node.client.patch(pods, { namespace, name: 'counted' }, 'merge', { metadata: { labels: { a: 'b' } } });
    await observed(generation);
  });

  it('Pods Extended (pod generation) Pod Generation custom-set generation on new pods and graceful delete', async () => {
    const namespace = await node.namespace();
    const created = await node.createPod(namespace, {
      name: 'counted',
      metadata: { name: 'counted', generation: 100, finalizers: ['example.com/look'] },
      spec: { ...sleeping, terminationGracePeriodSeconds: 20 },
    });
    assert.equal(created.metadata.generation, 1);
    const [before] = generations(await node.waitReady(namespace, 'counted'));
    await node.client.delete(pods, { namespace, name: 'counted' });
    const deleted = await node.pod(namespace, 'counted');
    assert.notEqual(deleted.metadata.deletionTimestamp, undefined);
    assert.equal(deleted.metadata.generation, (before ?? 0) + 1);
    await node.waitForPod(namespace, 'counted', 'the new one is observed', (pod) => {
      const [wanted, observed] = generations(pod);
      return wanted === observed;
    });
    const finalizers = { metadata: { finalizers: null } };
    await node.client.patch(pods, { namespace, name: 'counted' }, 'merge', finalizers);
    await node.waitGone(namespace, 'counted');
  });

  it('Pods Extended (pod generation) Pod Generation issue 500 podspec updates and verify generation and observedGeneration eventually converge', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, { name: 'counted', spec: { ...sleeping, activeDeadlineSeconds: 10_000 } });
    const [start] = generations(await node.waitReady(namespace, 'counted'));
    for (let update = 1; update < 500; update += 1) {
      const change = { spec: { activeDeadlineSeconds: 10_000 - update } };
      await node.client.patch(pods, { namespace, name: 'counted' }, 'merge', change);
    }
    const last = (start ?? 0) + 499;
    await node.waitForPod(namespace, 'counted', 'the last one is observed', (pod) => {
      return pod.metadata.generation === last && pod.status?.observedGeneration === last;
    });
  });

  const withClass = (runtimeClassName: string) => ({ ...sleeping, runtimeClassName });
  const makeClass = async (fields: { overhead?: { podFixed: Record<string, string> } } = {}) => {
    const name = `class-${Math.random().toString(36).slice(2, 10)}`;
    await node.client.create(runtimeclasses, undefined, { metadata: { name }, handler: 'some-handler', ...fields });
    return name;
  };
  const forbidden = { code: 'Forbidden' };

  it('RuntimeClass should reject a Pod requesting a non-existent RuntimeClass', async () => {
    const namespace = await node.namespace();
    await assert.rejects(node.createPod(namespace, { spec: withClass('nonexistent') }), forbidden);
  });

  it('RuntimeClass should reject a Pod requesting a deleted RuntimeClass', async () => {
    const namespace = await node.namespace();
    const name = await makeClass();
    await node.client.delete(runtimeclasses, { name });
    await eventually('the refusal', async () => {
      await assert.rejects(node.createPod(namespace, { spec: withClass(name) }), forbidden);
      return true;
    });
  });

  for (const [name, overhead] of [
    ['RuntimeClass should schedule a Pod requesting a RuntimeClass without PodOverhead', undefined],
    [
      'RuntimeClass should schedule a Pod requesting a RuntimeClass and initialize its Overhead',
      { podFixed: { cpu: '10m', memory: '1Mi' } },
    ],
  ] as const) {
    it(name, async () => {
      const namespace = await node.namespace();
      const runtimeClassName = await makeClass(overhead === undefined ? {} : { overhead });
      const created = await eventually('the class is known', () =>
        node.createPod(namespace, { name: 'classy', spec: withClass(runtimeClassName) }),
      );
      assert.deepEqual(created.spec.overhead, overhead?.podFixed);
      const pod = await node.waitForPod(namespace, 'classy', 'it is scheduled', ({ status }) =>
        (status?.conditions ?? []).some(({ type, status: is }) => type === 'PodScheduled' && is === 'True'),
      );
      assert.equal(pod.spec.nodeName, node.nodeName);
    });
  }
});
