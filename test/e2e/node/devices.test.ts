// Devices of a plugin on a real node: capacity, allocation into containers, health, restarts of plugin and agent.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Container } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { startDevicePlugin, type TestDevicePlugin } from '../../support/device-plugin.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';
import { reconfigureAgent } from '../../support/reconfigure-agent.ts';

const resource = 'tests.berth.io/gadget';
const healthy = (...ids: string[]) => ids.map((ID) => ({ ID, health: 'Healthy' }));

describe('device plugins', { skip: clustersUnavailable() ?? false }, () => {
  let node: NodeCluster;
  let plugin: TestDevicePlugin;
  let directory = '';
  const startPlugin = () =>
    startDevicePlugin({
      directory,
      resource,
      devices: healthy('a', 'b', 'c'),
      preStart: true,
      preferred: (available, size) => [...available].sort().reverse().slice(0, size),
      allocate: (ids) => ({
        envs: { GADGETS: ids.join(',') },
        mounts: [{ containerPath: '/etc/gadget-host', hostPath: '/etc/hostname', readOnly: true }],
        devices: [{ containerPath: '/dev/gadget', hostPath: '/dev/null', permissions: 'rw' }],
      }),
    });
  before(async () => {
    node = await startNodeCluster();
    directory = join(node.cluster.layout.nodes[0]?.kubeletDir ?? '', 'device-plugins');
    plugin = await startPlugin();
  });
  after(async () => {
    await plugin?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  const counts = async () => {
    const { capacity, allocatable } = (await node.node()).status ?? {};
    return [capacity?.[resource], allocatable?.[resource]];
  };
  const become = (what: string, ...expected: string[]) =>
    eventually(what, async () => JSON.stringify(await counts()) === JSON.stringify(expected));
  const user = (count: number, text = 'exec sleep 600'): Container =>
    script(text, { resources: { limits: { [resource]: `${count}` } } });

  it('counts devices, and gives a container those that the plugin prefers, with all that comes with them', async () => {
    await become('three devices', '3', '3');
    const namespace = await node.namespace();
    await node.createPod(namespace, { name: 'user', spec: { containers: [user(2)] } });
    await node.waitReady(namespace, 'user');
    assert.equal((await node.shell(namespace, 'user', 'echo $GADGETS')).trim(), 'c,b');
    await node.shell(namespace, 'user', 'test -c /dev/gadget && test -s /etc/gadget-host');
    assert.deepEqual(plugin.calls, [
      ['Allocate', ['c', 'b']],
      ['PreStartContainer', ['c', 'b']],
    ]);
    await node.client.delete(pods, { namespace, name: 'user' });
    await node.waitGone(namespace, 'user');
  });

  it('takes unhealthy devices out, and refuses a pod for which too few are left', async () => {
    plugin.tell([...healthy('a', 'b'), { ID: 'c', health: 'Unhealthy' }]);
    await become('one unhealthy device', '3', '2');
    const namespace = await node.namespace();
    await node.createPod(namespace, { name: 'many', spec: { nodeName: node.nodeName, containers: [user(3)] } });
    const many = await node.waitEnded(namespace, 'many');
    assert.equal(many.status?.reason, `OutOf${resource}`);
    plugin.tell(healthy('a', 'b', 'c'));
    await become('three devices again', '3', '3');
  });

  it('keeps what containers have over restarts of the agent and of the plugin', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, { name: 'keeper', spec: { containers: [user(2)] } });
    await node.waitReady(namespace, 'keeper');
    await reconfigureAgent(node.cluster, {});
    await become('devices after the restart', '3', '3');
    await node.createPod(namespace, { name: 'late', spec: { containers: [user(1)] } });
    await node.waitReady(namespace, 'late');
    assert.equal((await node.shell(namespace, 'late', 'echo $GADGETS')).trim(), 'a');
    await plugin[Symbol.asyncDispose]();
    await become('none without the plugin', '3', '0');
    assert.equal((await node.pod(namespace, 'keeper')).status?.phase, 'Running');
    plugin = await startPlugin();
    await become('devices of the new plugin', '3', '3');
    for (const name of ['keeper', 'late']) {
      await node.client.delete(pods, { namespace, name }, { gracePeriodSeconds: 0 });
      await node.waitGone(namespace, name);
    }
  });

  it('gives what an init container had to the container after it', async () => {
    const namespace = await node.namespace();
    const init = { ...user(1, 'echo $GADGETS > /dev/termination-log'), name: 'init' };
    await node.createPod(namespace, {
      name: 'again',
      spec: { restartPolicy: 'Never', initContainers: [init], containers: [user(1, 'echo $GADGETS')] },
    });
    await node.waitEnded(namespace, 'again');
    const pod = await node.pod(namespace, 'again');
    const had = pod.status?.initContainerStatuses?.[0]?.state?.terminated?.message?.trim();
    assert.equal((await node.logs(namespace, 'again')).trim(), had);
  });
});
