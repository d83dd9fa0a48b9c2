// A machine that is a node of a cluster loses its power, and its network: its pods go on or come back, and nothing is left
// over.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { systemClock } from '#kube/process/clock.ts';
import { eventually } from '../support/eventually.ts';
import {
  conditionOf,
  isReady,
  type MachineNode,
  machineNodesUnavailable,
  startMachineNode,
  taintsOf,
} from '../support/machine-node.ts';
import { waitTracesOf } from '../support/node-traces.ts';

const skip = machineNodesUnavailable() ?? false;
const nodeName = 'trouble';
const shutOff = 'node.kubernetes.io/unreachable';
const inMemory = { volumes: [{ name: 'data', emptyDir: { medium: 'Memory' } }] };
const container = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };

describe('a machine without power or network', { skip }, () => {
  let held: MachineNode;

  before(async () => {
    held = await startMachineNode({ name: nodeName, prefix: '10.250.0' });
    await held.install();
    await held.join();
    await held.waitNodeReady();
    await held.createPod('stays', inMemory, container);
    await held.createPod('goes');
    for (const name of ['stays', 'goes']) await held.waitReady(name);
    await waitTracesOf(2, held);
  });
  after(async () => {
    await held?.[Symbol.asyncDispose]();
  });

  it('has its pods again after its power went, first without the API server, then as that wants them', async () => {
    await held.machine.kill();
    await eventually(
      'a node nobody hears of',
      async () => conditionOf(await held.node(), 'Ready')?.status === 'Unknown' && (await taintsOf(held)).length === 2,
      120_000,
      500,
    );
    assert.deepEqual(await taintsOf(held), [shutOff, shutOff]);
    await held.machine.cutOff(true);
    try {
      await held.cluster.kubectl('delete', 'pod', 'goes', '--grace-period=0', '--force');
      await held.createPod('comes');
      await held.machine.boot();
      const running = 'ctr -n k8s.io task ls | grep -c RUNNING';
      await eventually(
        'the last known pods',
        async () => (await held.machine.run(running)).stdout.trim() === '4',
        90_000,
        500,
      ).catch(async (error: unknown) => assert.fail(`${error}\n${await held.journal()}`));
      assert.equal(isReady(await held.node()), false);
    } finally {
      await held.machine.cutOff(false);
    }
    await held.waitNodeReady();
    for (const name of ['stays', 'comes']) await held.waitReady(name);
    assert.equal(await held.restartsOf('stays'), 1);
    assert.equal((await held.cluster.kubectl('logs', 'stays')).trim(), 'up');
    await eventually('no taints', async () => (await taintsOf(held)).length === 0);
    await waitTracesOf(2, held);
  });

  it('goes on when it was cut off for two minutes', async () => {
    const ids = await Promise.all(['stays', 'comes'].map(held.containerOf));
    await held.machine.cutOff(true);
    try {
      await systemClock.sleep(120_000);
      assert.equal(conditionOf(await held.node(), 'Ready')?.status, 'Unknown');
    } finally {
      await held.machine.cutOff(false);
    }
    const back = systemClock.now();
    // Told by a watch, which must not wait on a connection that is dead.
    await held.createPod('told');
    await held.waitNodeReady(60_000);
    await held.waitReady('told');
    assert.deepEqual(await Promise.all(['stays', 'comes'].map(held.containerOf)), ids);
    assert.deepEqual([await held.restartsOf('stays'), await held.restartsOf('comes')], [1, 0]);
    const lease = ['get', 'lease', nodeName, '-n', 'kube-node-lease', '-o', 'jsonpath={.spec.renewTime}'];
    await eventually('a renewed lease', async () => Date.parse(await held.cluster.kubectl(...lease)) > back - 5000);
    assert.equal((await held.cluster.kubectl('exec', 'comes', '--', 'echo', 'well')).trim(), 'well');
    await waitTracesOf(3, held);
  });

  it('has nothing left of its pods in the end', async () => {
    await held.cluster.kubectl('delete', 'pod', '--all', '--timeout=60s');
    await waitTracesOf(0, held);
  });
});
