// What conformance asks of scheduling: room, selectors, host ports, preemption, priority classes and limit ranges.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findCondition } from '#kube/api/conditions.ts';
import type { Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import {
  events,
  limitranges,
  namespaces,
  nodes,
  pods,
  priorityclasses,
  replicasets,
  serviceaccounts,
} from '#kube/api/generated/resources.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { addUsableNodes } from '../../support/usable-nodes.ts';

const namespace = 'default';
const patienceMs = 60_000;
const bound = { timeout: 180_000 };
const foo = 'example.com/foo';
let plane: TestControlPlane;

async function addRoom(name: string, amount: string): Promise<void> {
  const status = { capacity: { [foo]: amount }, allocatable: { [foo]: amount } };
  await plane.client.patch(nodes, { name }, 'strategic', { status }, { subresource: 'status' });
}

before(async () => {
  plane = await startControlPlane();
  await addUsableNodes(plane, ['n1', 'n2']);
  await addRoom('n1', '1000');
  await addRoom('n2', '1000');
  for (const [name, value] of [
    ['low', 1],
    ['medium', 100],
    ['high', 1000],
  ] as const) {
    await plane.client.create(priorityclasses, undefined, { metadata: { name }, value });
  }
}, bound);

after(async () => plane.stop(), bound);

interface Wish {
  /** Of the extended resource. */
  amount?: string;
  cpu?: string;
  spec?: Partial<PodSpec>;
  metadata?: Pod['metadata'];
}

async function create(name: string, { amount, cpu, spec, metadata }: Wish = {}): Promise<void> {
  const requests = { ...(amount === undefined ? {} : { [foo]: amount }), ...(cpu === undefined ? {} : { cpu }) };
  const resources = { requests, limits: requests };
  await plane.client.create(pods, metadata?.namespace ?? namespace, {
    metadata: { ...metadata, name },
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: 'c', image: 'i', resources }], ...spec },
  });
}

const get = (name: string, inNamespace = namespace) => plane.client.get(pods, { namespace: inNamespace, name });

async function running(name: string, inNamespace = namespace): Promise<Pod> {
  return eventually(
    `${name} running`,
    async () => {
      const found = await get(name, inNamespace);
      return found.status?.phase === 'Running' ? found : undefined;
    },
    patienceMs,
  );
}

/** The condition's message, once the scheduler has said why, and the event's. */
async function refused(name: string): Promise<string> {
  const message = await eventually(
    `${name} refused`,
    async () => {
      const condition = findCondition((await get(name)).status?.conditions, 'PodScheduled');
      return condition?.reason === 'Unschedulable' ? condition.message : undefined;
    },
    patienceMs,
  );
  await eventually(
    'event',
    async () => {
      const { items } = await plane.client.list(events, { namespace });
      return items.find(({ reason, involvedObject }) => reason === 'FailedScheduling' && involvedObject.name === name);
    },
    patienceMs,
  );
  return message;
}

async function isGone(name: string): Promise<boolean> {
  try {
    return (await get(name)).metadata.deletionTimestamp !== undefined;
  } catch (error) {
    return isNotFound(error);
  }
}

async function clear(...names: string[]): Promise<void> {
  for (const name of names) {
    await plane.client.delete(pods, { namespace, name }, { gracePeriodSeconds: 0 }).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
  }
}

async function accountOf(inNamespace: string): Promise<void> {
  const key = { namespace: inNamespace, name: 'default' };
  await eventually('account', async () => plane.client.get(serviceaccounts, key), patienceMs);
}

const on = (name: string) => ({ nodeSelector: { 'kubernetes.io/hostname': name } });

test('SchedulerPredicates validates resource limits of pods that are allowed to run', bound, async () => {
  await create('fill-1', { cpu: '6', spec: on('n1') });
  await create('fill-2', { cpu: '6', spec: on('n2') });
  await running('fill-1');
  await running('fill-2');
  await create('additional', { cpu: '4' });
  assert.match(await refused('additional'), /^0\/2 nodes are available: 2 Insufficient cpu\./);
  await clear('fill-1', 'fill-2', 'additional');
});

test('SchedulerPredicates validates that NodeSelector is respected if not matching', bound, async () => {
  await create('restricted', { spec: { nodeSelector: { label: 'nonempty' } } });
  assert.equal(
    await refused('restricted'),
    "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
  );
  await clear('restricted');
});

test('SchedulerPredicates validates that NodeSelector is respected if matching', bound, async () => {
  await plane.client.patch(nodes, { name: 'n2' }, 'merge', { metadata: { labels: { 'e2e.example/only': '42' } } });
  await create('with-labels', { spec: { nodeSelector: { 'e2e.example/only': '42' } } });
  assert.equal((await running('with-labels')).spec?.nodeName, 'n2');
  await clear('with-labels');
});

test(
  'SchedulerPredicates validates that there exists conflict between pods with same hostPort and protocol but one using 0.0.0.0 hostIP',
  bound,
  async () => {
    const withPort = (hostIP: string) => ({
      ...on('n1'),
      containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 8080, hostPort: 54322, hostIP }] }],
    });
    await create('pod4', { spec: withPort('') });
    await running('pod4');
    await create('pod5', { spec: withPort('127.0.0.1') });
    assert.match(await refused('pod5'), /1 node\(s\) didn't have free ports for the requested pod ports/);
    await clear('pod4', 'pod5');
  },
);

test('SchedulerPreemption validates basic preemption works', bound, async () => {
  await create('victim', { amount: '600', spec: { ...on('n1'), priorityClassName: 'low' } });
  await create('spared', { amount: '600', spec: { ...on('n2'), priorityClassName: 'medium' } });
  await running('victim');
  await running('spared');
  await create('preemptor', { amount: '600', spec: { priorityClassName: 'high' } });
  assert.equal((await running('preemptor')).spec?.nodeName, 'n1');
  assert.equal(await isGone('victim'), true);
  assert.equal(await isGone('spared'), false);
  const { items } = await plane.client.list(events, { namespace });
  assert.ok(items.some(({ reason, involvedObject }) => reason === 'Preempted' && involvedObject.name === 'victim'));
  await clear('spared', 'preemptor');
});

test('SchedulerPreemption validates lower priority pod preemption by critical pod', bound, async () => {
  await create('victim', { amount: '600', spec: { ...on('n1'), priorityClassName: 'low' } });
  await create('spared', { amount: '600', spec: { ...on('n2'), priorityClassName: 'high' } });
  await running('victim');
  await running('spared');
  const metadata = { namespace: 'kube-system', name: 'critical' };
  await create('critical', { amount: '600', spec: { priorityClassName: 'system-cluster-critical' }, metadata });
  assert.equal((await running('critical', 'kube-system')).spec?.nodeName, 'n1');
  assert.equal(await isGone('victim'), true);
  await plane.client.delete(pods, metadata, { gracePeriodSeconds: 0 });
  await clear('spared');
});

test('SchedulerPreemption validates pod disruption condition is added to the preempted pod', bound, async () => {
  const finalizers = ['example.com/test-finalizer'];
  await create('held', {
    amount: '1000',
    spec: { ...on('n1'), priorityClassName: 'low' },
    metadata: { name: 'held', finalizers },
  });
  await running('held');
  await create('preemptor', { amount: '1000', spec: { ...on('n1'), priorityClassName: 'high' } });
  const held = await eventually(
    'condition',
    async () => {
      const found = await get('held');
      return findCondition(found.status?.conditions, 'DisruptionTarget') === undefined ? undefined : found;
    },
    patienceMs,
  );
  const condition = findCondition(held.status?.conditions, 'DisruptionTarget');
  assert.deepEqual(
    [condition?.status, condition?.reason, condition?.message],
    ['True', 'PreemptionByScheduler', 'default-scheduler: preempting to accommodate a higher priority pod'],
  );
  await plane.client.patch(pods, { namespace, name: 'held' }, 'merge', { metadata: { finalizers: null } });
  assert.equal((await running('preemptor')).spec?.nodeName, 'n1');
  await clear('held', 'preemptor');
});

test(
  'SchedulerPreemption PreemptionExecutionPath runs ReplicaSets to verify preemption running path',
  bound,
  async () => {
    const sizes = [200, 300, 450, 500];
    const counts = new Map<string, number>();
    const replicaSet = async (index: number) => {
      const labels = { app: `rs-${index + 1}` };
      const requests = { [foo]: `${sizes[index]}` };
      const containers = [{ name: 'c', image: 'i', resources: { requests, limits: requests } }];
      await plane.client.create(priorityclasses, undefined, { metadata: { name: `p${index + 1}` }, value: index + 1 });
      await plane.client.create(replicasets, namespace, {
        metadata: { name: `rs-pod${index + 1}` },
        spec: {
          replicas: 1,
          selector: { matchLabels: labels },
          template: {
            metadata: { labels },
            spec: { ...on('n2'), priorityClassName: `p${index + 1}`, terminationGracePeriodSeconds: 0, containers },
          },
        },
      });
    };
    const podsOf = async (index: number) =>
      (await plane.client.list(pods, { namespace, labelSelector: `app=rs-${index + 1}` })).items;
    const runs = (index: number) =>
      eventually(
        `rs-pod${index + 1} runs`,
        async () => ((await podsOf(index)).some(({ status }) => status?.phase === 'Running') ? true : undefined),
        patienceMs,
      );
    const first: string[] = [];
    for (const index of [0, 1, 2]) {
      await replicaSet(index);
      await runs(index);
      first.push((await podsOf(index))[0]?.metadata.uid ?? '');
    }
    await replicaSet(3);
    await runs(3);
    // The two least important made room, and were replaced by pods that wait; the third kept its place.
    for (const index of [0, 1]) {
      await eventually(
        `another pod of rs-pod${index + 1}`,
        async () => {
          const found = await podsOf(index);
          counts.set(`rs-${index}`, found.length);
          return found.some(({ metadata, status }) => metadata.uid !== first[index] && status?.phase === 'Pending')
            ? true
            : undefined;
        },
        patienceMs,
      );
    }
    assert.equal((await podsOf(2))[0]?.metadata.uid, first[2]);
    for (const index of [0, 1, 2, 3]) {
      await plane.client.delete(
        replicasets,
        { namespace, name: `rs-pod${index + 1}` },
        { propagationPolicy: 'Background' },
      );
    }
  },
);

test(
  'SchedulerPreemption PriorityClass endpoints verify PriorityClass endpoints can be operated with different HTTP methods',
  bound,
  async () => {
    const names = ['pc-1', 'pc-2'];
    for (const [index, name] of names.entries()) {
      await plane.client.create(priorityclasses, undefined, {
        metadata: { name, labels: { e2e: 'pc' } },
        value: index + 1,
      });
    }
    const list = () => plane.client.list(priorityclasses, { labelSelector: 'e2e=pc' });
    assert.equal((await list()).items.length, 2);
    const first = await plane.client.get(priorityclasses, { name: 'pc-1' });
    await assert.rejects(
      plane.client.update(priorityclasses, { ...first, value: 10 }),
      /may not be changed in an update/,
    );
    await assert.rejects(
      plane.client.patch(priorityclasses, { name: 'pc-1' }, 'merge', { value: 10 }),
      /may not be changed/,
    );
    const described = await plane.client.update(priorityclasses, { ...first, description: 'updated' });
    assert.equal(described.description, 'updated');
    const patched = await plane.client.patch(priorityclasses, { name: 'pc-2' }, 'merge', { description: 'patched' });
    assert.equal(patched.description, 'patched');
    await plane.client.deleteCollection(priorityclasses, { labelSelector: 'e2e=pc' });
    assert.equal((await list()).items.length, 0);
  },
);

test(
  'LimitRange should create a LimitRange with defaults and ensure pod has those defaults applied.',
  bound,
  async () => {
    await plane.client.create(namespaces, undefined, { metadata: { name: 'limited' }, spec: {} });
    await accountOf('limited');
    const amounts = (cpu: string, memory: string, storage: string) => ({ cpu, memory, 'ephemeral-storage': storage });
    const limits = [
      {
        type: 'Container',
        min: amounts('50m', '100Mi', '100Gi'),
        max: amounts('500m', '500Mi', '500Gi'),
        default: amounts('500m', '500Mi', '500Gi'),
        defaultRequest: amounts('100m', '200Mi', '200Gi'),
      },
    ];
    await plane.client.create(limitranges, 'limited', { metadata: { name: 'limit-range' }, spec: { limits } });
    const container = (resources?: object) => ({ containers: [{ name: 'c', image: 'i', ...(resources ?? {}) }] });
    const plain = await plane.client.create(pods, 'limited', { metadata: { name: 'no-resources' }, spec: container() });
    assert.deepEqual(plain.spec?.containers[0]?.resources, {
      limits: amounts('500m', '500Mi', '500Gi'),
      requests: amounts('100m', '200Mi', '200Gi'),
    });
    const partial = { resources: { requests: { cpu: '300m', memory: '150Mi' }, limits: { cpu: '300m' } } };
    const merged = await plane.client.create(pods, 'limited', {
      metadata: { name: 'partial' },
      spec: container(partial),
    });
    assert.deepEqual(merged.spec?.containers[0]?.resources, {
      limits: { cpu: '300m', memory: '500Mi', 'ephemeral-storage': '500Gi' },
      requests: { cpu: '300m', memory: '150Mi', 'ephemeral-storage': '200Gi' },
    });
    for (const cpu of ['10m', '600m']) {
      const wrong = container({ resources: { requests: { cpu }, limits: { cpu } } });
      await assert.rejects(plane.client.create(pods, 'limited', { metadata: { name: 'wrong' }, spec: wrong }), /cpu/);
    }
    const current = await plane.client.get(limitranges, { namespace: 'limited', name: 'limit-range' });
    const spec = { limits: [{ ...limits[0], type: 'Container', min: { ...limits[0]?.min, cpu: '9m' } }] };
    await plane.client.update(limitranges, { ...current, spec });
    const small = container({ resources: { requests: { cpu: '10m' }, limits: { cpu: '10m' } } });
    await eventually(
      'the new limits count',
      async () => {
        try {
          return await plane.client.create(pods, 'limited', { metadata: { name: 'small' }, spec: small });
        } catch {
          return undefined;
        }
      },
      patienceMs,
    );
    await plane.client.delete(limitranges, { namespace: 'limited', name: 'limit-range' });
  },
);

test('LimitRange should list, patch and delete a LimitRange by collection', bound, async () => {
  const spaces = ['ranges-1', 'ranges-2'];
  const labels = { 'e2e-limits': 'yes' };
  for (const name of spaces) {
    await plane.client.create(namespaces, undefined, { metadata: { name }, spec: {} });
    const limits = [{ type: 'Container', max: { cpu: '500m' } }];
    await plane.client.create(limitranges, name, { metadata: { name: 'lr', labels }, spec: { limits } });
  }
  const list = async () => (await plane.client.list(limitranges, { labelSelector: 'e2e-limits=yes' })).items;
  assert.equal((await list()).length, 2);
  const key = { namespace: 'ranges-1', name: 'lr' };
  const limits = [{ type: 'Container', max: { cpu: '300m' } }];
  const patch = { metadata: { labels: { patched: 'yes' } }, spec: { limits } };
  const patched = await plane.client.patch(limitranges, key, 'merge', patch);
  assert.deepEqual([patched.metadata.labels?.['patched'], patched.spec?.limits[0]?.max?.['cpu']], ['yes', '300m']);
  await plane.client.deleteCollection(limitranges, { namespace: 'ranges-1', labelSelector: 'patched=yes' });
  assert.deepEqual(
    (await list()).map(({ metadata }) => metadata.namespace),
    ['ranges-2'],
  );
});
