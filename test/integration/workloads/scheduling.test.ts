import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findCondition } from '#kube/api/conditions.ts';
import type { Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import { nodes, pods, priorityclasses } from '#kube/api/generated/resources.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const namespace = 'default';
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await plane.addNode('n1');
  await eventually('usable node', async () => {
    const node = await plane.client.get(nodes, { name: 'n1' });
    return (node.spec?.taints ?? []).length === 0 && node.status?.allocatable !== undefined ? node : undefined;
  });
});

after(async () => plane.stop());

async function create(name: string, cpu: string, spec: Partial<PodSpec> = {}): Promise<void> {
  const containers = [{ name: 'c', image: 'i', resources: { requests: { cpu } } }];
  await plane.client.create(pods, namespace, { metadata: { name }, spec: { containers, ...spec } });
}

async function get(name: string): Promise<Pod> {
  return plane.client.get(pods, { namespace, name });
}

async function running(name: string): Promise<Pod> {
  return eventually(`${name} running`, async () => {
    const found = await get(name);
    return found.status?.phase === 'Running' ? found : undefined;
  });
}

function scheduledMessage(found: Pod): string {
  return findCondition(found.status?.conditions, 'PodScheduled')?.message ?? '';
}

test('a pod waits for room and gets it when another one leaves', async () => {
  await create('big', '6');
  await running('big');
  await create('waiting', '4');
  const waiting = await eventually('reason', async () => {
    const found = await get('waiting');
    return scheduledMessage(found) === '' ? undefined : found;
  });
  assert.equal(
    scheduledMessage(waiting),
    '0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.',
  );
  await plane.client.delete(pods, { namespace, name: 'big' });
  const placed = await running('waiting');
  assert.equal(findCondition(placed.status?.conditions, 'PodScheduled')?.status, 'True');
});

test('a pod of higher priority takes the place of one of lower', async () => {
  await plane.client.create(priorityclasses, undefined, { metadata: { name: 'urgent' }, value: 1000 });
  await create('urgent', '6', { priorityClassName: 'urgent' });
  await running('urgent');
  await assert.rejects(get('waiting'), /not found/);
});

test('a pod with scheduling gates is left alone until they are gone', async () => {
  await create('gated', '10m', { schedulingGates: [{ name: 'example.com/later' }] });
  await create('plain', '10m');
  await running('plain');
  assert.equal((await get('gated')).spec?.nodeName, undefined);
  await plane.client.patch(pods, { namespace, name: 'gated' }, 'merge', { spec: { schedulingGates: null } });
  await running('gated');
});

test('a pod for another scheduler is left alone', async () => {
  await create('other', '10m', { schedulerName: 'other' });
  await create('mine', '10m');
  await running('mine');
  assert.equal((await get('other')).spec?.nodeName, undefined);
});
