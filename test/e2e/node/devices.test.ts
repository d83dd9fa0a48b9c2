// Devices of a plugin on a real node: capacity, allocation into containers, health, restarts of plugin and agent.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { credentials } from '@grpc/grpc-js';
import type { Container } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import type { AllocatableResourcesResponse__Output } from '#proto/generated/podresources/v1/AllocatableResourcesResponse.ts';
import type { ListPodResourcesResponse__Output } from '#proto/generated/podresources/v1/ListPodResourcesResponse.ts';
import { loadPodResourcesPackage } from '../../../agent/pod-resources/pod-resources-server.ts';
import { parseCpuSet } from '../../../agent/resource-manager/cpu-set.ts';
import { startDevicePlugin, type TestDevicePlugin } from '../../support/device-plugin.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';
import { reconfigureAgent } from '../../support/reconfigure-agent.ts';

type Ask<Q, A> = (request: Q, answer: (error: Error | null, value?: A) => void) => void;

const resource = 'tests.berth.io/gadget';
const healthy = (...ids: string[]) => ids.map((ID) => ({ ID, health: 'Healthy' }));

describe('device plugins', { skip: clustersUnavailable() ?? false }, () => {
  let node: NodeCluster;
  let plugin: TestDevicePlugin;
  let directory = '';
  const kubeletDir = () => node.cluster.layout.nodes[0]?.kubeletDir ?? '';
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
    const configuration = {
      cpuManagerPolicy: 'static',
      memoryManagerPolicy: 'Static',
      systemReserved: { cpu: '500m', memory: '100Mi' },
      evictionHard: { 'memory.available': '50Mi' },
      reservedMemory: [{ numaNode: 0, limits: { memory: '150Mi' } }],
    };
    node = await startNodeCluster({ configuration });
    directory = join(kubeletDir(), 'device-plugins');
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
    const health = async () => {
      const [status] = (await node.pod(namespace, 'keeper')).status?.containerStatuses ?? [];
      const [shown] = status?.allocatedResourcesStatus ?? [];
      return [shown?.name, ...(shown?.resources ?? []).map((device) => `${device.resourceID} ${device.health}`)].join();
    };
    await eventually(
      'its devices are told unhealthy',
      async () => (await health()) === `${resource},b Unhealthy,c Unhealthy`,
    );
    const before = (await node.pod(namespace, 'keeper')).status?.containerStatuses?.[0];
    await reconfigureAgent(node.cluster, {});
    await become('none until the plugin is back', '0', '0');
    await eventually(
      'nothing is known of the devices',
      async () => (await health()) === `${resource},b Unknown,c Unknown`,
    );
    plugin = await startPlugin();
    await become('devices of the new plugin', '3', '3');
    const keeper = await node.pod(namespace, 'keeper');
    assert.equal(keeper.status?.phase, 'Running', keeper.status?.message);
    const { containerID, restartCount } = keeper.status?.containerStatuses?.[0] ?? {};
    assert.deepEqual([containerID, restartCount], [before?.containerID, 0]);
    await eventually('they are healthy again', async () => (await health()) === `${resource},b Healthy,c Healthy`);
    for (const name of ['keeper', 'late']) {
      await node.client.delete(pods, { namespace, name }, { gracePeriodSeconds: 1 });
      await node.waitGone(namespace, name);
    }
  });

  it('tells others which container has what', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, { name: 'shown', spec: { containers: [user(1)] } });
    await node.waitReady(namespace, 'shown');
    const socket = join(kubeletDir(), 'pod-resources/kubelet.sock');
    const { PodResourcesLister } = loadPodResourcesPackage().v1;
    const client = new PodResourcesLister(`unix://${socket}`, credentials.createInsecure());
    try {
      const listed = await promisify(client.List.bind(client) as Ask<object, ListPodResourcesResponse__Output>)({});
      assert.ok(listed !== undefined);
      const shown = listed.podResources.find(({ name }) => name === 'shown');
      assert.deepEqual(
        shown?.containers.map(({ name, devices }) => [
          name,
          devices.map(({ resourceName, deviceIds }) => [resourceName, deviceIds]),
        ]),
        [['main', [[resource, ['c']]]]],
      );
      const all = await promisify(
        client.GetAllocatableResources.bind(client) as Ask<object, AllocatableResourcesResponse__Output>,
      )({});
      assert.ok(all !== undefined);
      assert.deepEqual(
        all.devices.flatMap(({ deviceIds }) => deviceIds),
        ['a', 'b', 'c'],
      );
      assert.equal(all.cpuIds.length, cpus().length - 1);
      const missing = promisify(client.Get.bind(client) as Ask<object, object>)({
        podName: 'x',
        podNamespace: namespace,
      });
      await assert.rejects(missing, /pod x in namespace .* not found/);
    } finally {
      client.close();
    }
    await node.client.delete(pods, { namespace, name: 'shown' }, { gracePeriodSeconds: 1 });
    await node.waitGone(namespace, 'shown');
  });

  it('gives a guaranteed container a processor of its own, and keeps others off it', async () => {
    const namespace = await node.namespace();
    const resources = { limits: { cpu: '1', memory: '32Mi' } };
    const allowed = async (name: string) =>
      (await node.shell(namespace, name, 'sed -n s/^Cpus_allowed_list://p /proc/1/status')).trim();
    const sleeper = (name: string, extra: Partial<Container>) =>
      node.createPod(namespace, { name, spec: { containers: [script('exec sleep 600', extra)] } });
    await sleeper('shared', {});
    await node.waitReady(namespace, 'shared');
    await sleeper('own', { resources });
    await node.waitReady(namespace, 'own');
    const own = await allowed('own');
    assert.match(own, /^\d+$/);
    await eventually('the other one leaves it', async () => !parseCpuSet(await allowed('shared')).has(Number(own)));
    const { uid = '' } = (await node.pod(namespace, 'own')).metadata;
    if (existsSync('/sys/fs/cgroup/cpu')) {
      const [, group = ''] =
        /:[^:]*\bcpu\b[^:]*:(.*)/.exec(await node.shell(namespace, 'own', 'cat /proc/1/cgroup')) ?? [];
      for (const path of [group, join(group, '..')]) {
        const quota = await readFile(join('/sys/fs/cgroup/cpu', path, 'cpu.cfs_quota_us'), 'utf8');
        assert.equal(quota.trim(), '-1', path);
      }
    }
    const nodes = await node.shell(namespace, 'own', 'sed -n s/^Mems_allowed_list://p /proc/1/status');
    assert.equal(nodes.trim(), '0');
    const state = JSON.parse(await readFile(join(kubeletDir(), 'memory_manager_state'), 'utf8'));
    assert.deepEqual(state.entries[uid].main, [{ numaAffinity: [0], type: 'memory', size: 32 * 2 ** 20 }]);
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
