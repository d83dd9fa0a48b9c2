// Pods that a taint drives off their node, in their own time. The node is tainted: one test after the other.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { nodes, pods } from '#kube/api/generated/resources.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

const taint = { key: 'kubernetes.io/e2e-evict-taint-key', value: 'evictTaintVal', effect: 'NoExecute' };

describe('taints that evict', { skip: clustersUnavailable() ?? false }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  const setTaints = (taints: object[] | null) =>
    node.client.patch(nodes, { name: node.nodeName }, 'merge', { spec: { taints } });
  const start = async (namespace: string, name: string, tolerationSeconds: number) => {
    const tolerations = [{ ...taint, operator: 'Equal', tolerationSeconds }];
    await node.createPod(namespace, { name, spec: { tolerations, containers: [script('exec sleep 600')] } });
    await node.waitReady(namespace, name);
  };
  const isLeaving = async (namespace: string, name: string) => {
    const [pod] = (await node.client.list(pods, { namespace, fieldSelector: `metadata.name=${name}` })).items;
    return pod === undefined || pod.metadata.deletionTimestamp !== undefined;
  };

  it('NoExecuteTaintManager Single Pod removing taint cancels eviction', async () => {
    const namespace = await node.namespace();
    await start(namespace, 'tolerant', 5);
    try {
      await setTaints([taint]);
      await sleep(2500);
      assert.equal(await isLeaving(namespace, 'tolerant'), false);
    } finally {
      await setTaints(null);
    }
    await sleep(5000);
    assert.equal(await isLeaving(namespace, 'tolerant'), false);
  });

  it('NoExecuteTaintManager Multiple Pods evicts pods with minTolerationSeconds', async () => {
    const namespace = await node.namespace();
    await start(namespace, 'impatient', 2);
    await start(namespace, 'patient', 8);
    const taintedMs = Date.now();
    try {
      await setTaints([taint]);
      await node.waitGone(namespace, 'impatient');
      assert.ok(Date.now() - taintedMs >= 2000);
      assert.equal(await isLeaving(namespace, 'patient'), false);
      await node.waitGone(namespace, 'patient');
      assert.ok(Date.now() - taintedMs >= 8000);
    } finally {
      await setTaints(null);
    }
  });
});
