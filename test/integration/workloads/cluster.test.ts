import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findCondition } from '#kube/api/conditions.ts';
import {
  configmaps,
  deployments,
  namespaces,
  nodes,
  pods,
  serviceaccounts,
  services,
} from '#kube/api/generated/resources.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane(['--node-monitor-grace-period=3s', '--cluster-cidr=10.244.0.0/16,fd00:10:244::/56']);
  await plane.addNode('n1');
});

after(async () => plane.stop());

async function readyNode(name: string) {
  return eventually(`${name} usable`, async () => {
    const node = await plane.client.get(nodes, { name });
    const usable = (node.spec?.taints ?? []).length === 0 && node.spec?.podCIDR !== undefined;
    return usable && findCondition(node.status?.conditions, 'Ready')?.status === 'True' ? node : undefined;
  });
}

test('a new namespace gets its service account and root certificate, and keeps them', async () => {
  await plane.client.create(namespaces, undefined, { metadata: { name: 'fresh' }, spec: {} });
  const key = { namespace: 'fresh', name: 'kube-root-ca.crt' };
  const first = await eventually('certificate', async () => plane.client.get(configmaps, key));
  assert.match(first.data?.['ca.crt'] ?? '', /BEGIN CERTIFICATE/);
  await eventually('account', async () => plane.client.get(serviceaccounts, { namespace: 'fresh', name: 'default' }));
  await plane.client.patch(configmaps, key, 'merge', { data: { 'ca.crt': 'changed' } });
  await eventually('certificate restored', async () => {
    const current = await plane.client.get(configmaps, key);
    return current.data?.['ca.crt'] === first.data?.['ca.crt'] ? true : undefined;
  });
  await plane.client.delete(configmaps, key);
  await eventually('certificate back', async () => plane.client.get(configmaps, key));
});

test('deleting a namespace deletes everything in it', async () => {
  const namespace = 'doomed';
  await plane.client.create(namespaces, undefined, { metadata: { name: namespace }, spec: {} });
  await eventually('account', async () => plane.client.get(serviceaccounts, { namespace, name: 'default' }));
  const labels = { app: 'web' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } };
  await plane.client.create(deployments, namespace, {
    metadata: { name: 'web' },
    spec: { replicas: 2, selector: { matchLabels: labels }, template },
  });
  await plane.client.create(services, namespace, {
    metadata: { name: 'web' },
    spec: { selector: labels, ports: [{ port: 80 }] },
  });
  await eventually('pods', async () =>
    (await plane.client.list(pods, { namespace })).items.length === 2 ? true : undefined,
  );
  await plane.client.delete(namespaces, { name: namespace });
  await eventually('namespace gone', async () => {
    try {
      await plane.client.get(namespaces, { name: namespace });
      return undefined;
    } catch (error) {
      return isNotFound(error) ? true : undefined;
    }
  });
  assert.equal((await plane.client.list(pods, { namespace })).items.length, 0);
});

test('a namespace says which finalizer keeps it', async () => {
  const namespace = 'held';
  await plane.client.create(namespaces, undefined, { metadata: { name: namespace }, spec: {} });
  await plane.client.create(configmaps, namespace, { metadata: { name: 'kept', finalizers: ['example.com/keep'] } });
  await plane.client.delete(namespaces, { name: namespace });
  const held = await eventually('conditions', async () => {
    const current = await plane.client.get(namespaces, { name: namespace });
    return findCondition(current.status?.conditions, 'NamespaceFinalizersRemaining')?.status === 'True'
      ? current
      : undefined;
  });
  assert.equal(
    findCondition(held.status?.conditions, 'NamespaceFinalizersRemaining')?.message,
    'Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances',
  );
  await plane.client.patch(configmaps, { namespace, name: 'kept' }, 'merge', { metadata: { finalizers: null } });
  await eventually('namespace gone', async () => {
    const { items } = await plane.client.list(namespaces, { fieldSelector: `metadata.name=${namespace}` });
    return items.length === 0 ? true : undefined;
  });
});

test('a node is given a pod range of its own of each family, and made usable when it reports', async () => {
  const first = await readyNode('n1');
  assert.match(first.spec?.podCIDR ?? '', /^10\.244\.\d+\.0\/24$/);
  assert.equal(first.spec?.podCIDRs?.[0], first.spec?.podCIDR);
  assert.match(first.spec?.podCIDRs?.[1] ?? '', /^fd00:10:244:[0-9a-f]*:?:\/64$/);
});

test('a pod that fits nowhere says why, and is placed as soon as it can be', async () => {
  const containers = [{ name: 'c', image: 'i' }];
  await plane.client.create(pods, 'default', {
    metadata: { name: 'picky' },
    spec: { nodeSelector: { disk: 'ssd' }, containers },
  });
  const waiting = await eventually('condition', async () => {
    const found = await plane.client.get(pods, { namespace: 'default', name: 'picky' });
    return findCondition(found.status?.conditions, 'PodScheduled')?.reason === 'Unschedulable' ? found : undefined;
  });
  assert.match(
    findCondition(waiting.status?.conditions, 'PodScheduled')?.message ?? '',
    /^0\/1 nodes are available: 1 node\(s\) didn't match Pod's node affinity\/selector\./,
  );
  await plane.client.patch(nodes, { name: 'n1' }, 'merge', { metadata: { labels: { disk: 'ssd' } } });
  await eventually('running', async () => {
    const found = await plane.client.get(pods, { namespace: 'default', name: 'picky' });
    return found.status?.phase === 'Running' ? found : undefined;
  });
});

test('a node that falls silent is marked, its pods are not ready, and they leave it when their time is up', async () => {
  const kill = await plane.addNode('n2', { victim: 'yes' });
  await readyNode('n2');
  const containers = [{ name: 'c', image: 'i' }];
  const tolerations = ['not-ready', 'unreachable'].map((key) => ({
    key: `node.kubernetes.io/${key}`,
    operator: 'Exists',
    effect: 'NoExecute',
    tolerationSeconds: 1,
  }));
  const key = { namespace: 'default', name: 'moved' };
  await plane.client.create(pods, 'default', {
    metadata: { name: 'moved' },
    spec: { nodeSelector: { victim: 'yes' }, tolerations, containers },
  });
  await eventually('running', async () =>
    (await plane.client.get(pods, key)).status?.phase === 'Running' ? true : undefined,
  );
  await kill();
  const silent = await eventually(
    'node marked',
    async () => {
      const node = await plane.client.get(nodes, { name: 'n2' });
      return findCondition(node.status?.conditions, 'Ready')?.status === 'Unknown' ? node : undefined;
    },
    20_000,
  );
  assert.equal(findCondition(silent.status?.conditions, 'Ready')?.reason, 'NodeStatusUnknown');
  await eventually('pod not ready', async () => {
    const found = await plane.client.get(pods, key);
    return findCondition(found.status?.conditions, 'Ready')?.status === 'False' ? found : undefined;
  });
  const leaving = await eventually('pod leaving', async () => {
    const found = await plane.client.get(pods, key);
    return found.metadata.deletionTimestamp === undefined ? undefined : found;
  });
  assert.equal(findCondition(leaving.status?.conditions, 'DisruptionTarget')?.reason, 'DeletionByTaintManager');
});
