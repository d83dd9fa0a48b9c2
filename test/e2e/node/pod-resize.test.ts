// Running pods get other resources: through the resize subresource, down to the cgroups of their containers.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Container, Pod, ResourceRequirements } from '#kube/api/generated/core-v1.ts';
import { pods, resourcequotas } from '#kube/api/generated/resources.ts';
import { milliValue, quantityValue } from '#kube/api/quantity.ts';
import { systemExec } from '#kube/process/exec.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { containerStatus, isReady, type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

const cgroupRoot = '/sys/fs/cgroup';

/** cpu request, cpu limit, memory request, memory limit; empty: none. */
type Amounts = [string, string, string, string];

function resourcesOf([cpuRequest, cpuLimit, memoryRequest, memoryLimit]: Amounts): ResourceRequirements {
  const list = (cpu: string, memory: string) => ({
    ...(cpu === '' ? {} : { cpu }),
    ...(memory === '' ? {} : { memory }),
  });
  return { requests: list(cpuRequest, memoryRequest), limits: list(cpuLimit, memoryLimit) };
}

const guaranteed = (cpu: string, memory: string): Amounts => [cpu, cpu, memory, memory];

function sleeper(name: string, amounts: Amounts, extra: Partial<Container> = {}): Container {
  return script('trap exit TERM; sleep 3600 & wait', { name, resources: resourcesOf(amounts), ...extra });
}

const resizeConditions = (pod: Pod) =>
  (pod.status?.conditions ?? []).filter(({ type }) => type === 'PodResizePending' || type === 'PodResizeInProgress');

describe('in-place resize of pods', { skip: clustersUnavailable() ?? false, concurrency: 4 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  function resize(namespace: string, name: string, changes: Record<string, Amounts>): Promise<Pod> {
    const containers = Object.entries(changes).map(([container, amounts]) => ({
      name: container,
      resources: resourcesOf(amounts),
    }));
    return node.client.patch(
      pods,
      { namespace, name },
      'strategic',
      { spec: { containers } },
      { subresource: 'resize' },
    );
  }

  /** Waits until the resize of this generation is seen and done. */
  const settled = (namespace: string, name: string, generation: number | undefined) =>
    node.waitForPod(
      namespace,
      name,
      'it has its new resources',
      (pod) => pod.status?.observedGeneration === generation && resizeConditions(pod).length === 0 && isReady(pod),
    );

  /** The directory of a cgroup; others come and go meanwhile. */
  async function findGroup(controller: string, name: string): Promise<string> {
    const root = join(cgroupRoot, controller, node.cluster.layout.nodes[0]?.cgroupRoot ?? '');
    const { stdout } = await systemExec('find', [root, '-type', 'd', '-name', name]);
    assert.notEqual(stdout.trim(), '', `no cgroup ${name}`);
    return stdout.trim();
  }

  /** What the kernel gives the container, in the hierarchy of version 1. */
  async function kernelLimits(name: string, pod: Pod) {
    const id = containerStatus(pod, name)?.containerID?.replace('containerd://', '') ?? '';
    const value = async (controller: string, file: string) => {
      return Number(await readFile(join(await findGroup(controller, id), file), 'utf8'));
    };
    return {
      shares: await value('cpu', 'cpu.shares'),
      quota: await value('cpu', 'cpu.cfs_quota_us'),
      memory: await value('memory', 'memory.limit_in_bytes'),
    };
  }

  async function verify(pod: Pod, expected: Record<string, Amounts>, restarts: Record<string, number> = {}) {
    for (const [name, amounts] of Object.entries(expected)) {
      const status = containerStatus(pod, name);
      const wanted = resourcesOf(amounts);
      assert.deepEqual(status?.resources?.limits ?? {}, wanted.limits, `limits of ${name}`);
      assert.deepEqual(status?.resources?.requests ?? {}, wanted.requests, `requests of ${name}`);
      assert.deepEqual(status?.allocatedResources ?? {}, wanted.requests, `allocated to ${name}`);
      assert.equal(status?.restartCount, restarts[name] ?? 0, `restarts of ${name}`);
      const [cpuRequest, cpuLimit, , memoryLimit] = amounts;
      const { shares, quota, memory } = await kernelLimits(name, pod);
      const request = milliValue(cpuRequest === '' ? cpuLimit || '0' : cpuRequest);
      assert.equal(shares, Math.max(Math.floor((request * 1024) / 1000), 2), `shares of ${name}`);
      assert.equal(quota, cpuLimit === '' ? -1 : Math.max(milliValue(cpuLimit) * 100, 1000), `quota of ${name}`);
      if (memoryLimit !== '') assert.equal(memory, quantityValue(memoryLimit), `memory of ${name}`);
    }
  }

  /** Creates a pod, resizes it, and back again. */
  async function there(before: Record<string, Amounts>, after: Record<string, Amounts>, back = true): Promise<void> {
    const namespace = await node.namespace();
    const containers = Object.entries(before).map(([name, amounts]) => sleeper(name, amounts));
    await node.createPod(namespace, { name: 'resized', spec: { containers } });
    await node.waitReady(namespace, 'resized');
    const { metadata } = await resize(namespace, 'resized', after);
    await verify(await settled(namespace, 'resized', metadata.generation), { ...before, ...after });
    if (!back) return;
    const again = await resize(namespace, 'resized', before);
    await verify(await settled(namespace, 'resized', again.metadata.generation), before);
  }

  it('Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers - increase cpu & mem on c1, c2, decrease cpu & mem on c3 - net increase', () =>
    there(
      { c1: guaranteed('20m', '30Mi'), c2: guaranteed('20m', '30Mi'), c3: guaranteed('40m', '60Mi') },
      { c1: guaranteed('40m', '50Mi'), c2: guaranteed('40m', '50Mi'), c3: guaranteed('20m', '40Mi') },
    ));

  it('Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers - increase cpu & mem on c1, decrease cpu & mem on c2, c3 - net decrease', () =>
    there(
      { c1: guaranteed('20m', '30Mi'), c2: guaranteed('40m', '60Mi'), c3: guaranteed('40m', '60Mi') },
      { c1: guaranteed('30m', '40Mi'), c2: guaranteed('20m', '40Mi'), c3: guaranteed('20m', '40Mi') },
    ));

  it('Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers - increase: CPU (c1,c3), memory (c2, c3) ; decrease: CPU (c2)', () =>
    there(
      { c1: guaranteed('20m', '30Mi'), c2: guaranteed('40m', '30Mi'), c3: guaranteed('20m', '30Mi') },
      { c1: guaranteed('40m', '30Mi'), c2: guaranteed('20m', '50Mi'), c3: guaranteed('40m', '50Mi') },
    ));

  it('Pod InPlace Resize Container burstable pods - extended 6 containers - various operations performed (including adding limits and requests)', () =>
    there(
      {
        c1: ['20m', '40m', '20Mi', '40Mi'],
        c2: ['20m', '40m', '20Mi', '40Mi'],
        c3: ['20m', '', '20Mi', ''],
        c4: ['', '', '', ''],
        c5: ['20m', '', '', ''],
        c6: ['', '', '20Mi', '40Mi'],
      },
      {
        c1: ['30m', '60m', '30Mi', '60Mi'],
        c2: ['10m', '20m', '10Mi', '30Mi'],
        c3: ['20m', '40m', '20Mi', '40Mi'],
        c4: ['20m', '', '20Mi', ''],
        c5: ['30m', '50m', '20Mi', '40Mi'],
        c6: ['20m', '40m', '20Mi', '50Mi'],
      },
      false,
    ));

  it('Pod InPlace Resize Container burstable pods - extended resize with equivalents', () =>
    there({ c1: ['2m', '10m', '20Mi', '40Mi'] }, { c1: ['1m', '5m', '20Mi', '40Mi'] }));

  it('Pod InPlace Resize Container resize pod via the replace endpoint', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'resized',
      spec: { containers: [sleeper('c1', guaranteed('20m', '30Mi'))] },
    });
    await node.waitReady(namespace, 'resized');
    const target = { namespace, name: 'resized' };
    const path = `/api/v1/namespaces/${namespace}/pods/resized/resize`;
    const current = await node.client.raw<Pod>({ method: 'GET', path });
    const [container] = current.spec.containers;
    const wanted = guaranteed('40m', '50Mi');
    const spec = { ...current.spec, containers: [{ ...container, name: 'c1', resources: resourcesOf(wanted) }] };
    const { metadata } = await node.client.raw<Pod>({ method: 'PUT', path, body: { ...current, spec } });
    const done = await settled(namespace, 'resized', metadata.generation);
    await verify(done, { c1: wanted });
    const seen = await node.client.raw<Pod>({ method: 'GET', path });
    assert.deepEqual(seen, await node.client.get(pods, target));
    const { resources: _dropped, ...bare } = { ...container, name: 'c1' };
    const without = { ...seen, spec: { ...seen.spec, containers: [bare] } };
    await assert.rejects(node.client.raw({ method: 'PUT', path, body: without }), /cannot be removed/);
  });

  it('restarts a container only where its policy asks for it', async () => {
    const namespace = await node.namespace();
    const resizePolicy = [
      { resourceName: 'cpu', restartPolicy: 'NotRequired' },
      { resourceName: 'memory', restartPolicy: 'RestartContainer' },
    ];
    await node.createPod(namespace, {
      name: 'resized',
      spec: { containers: [sleeper('c1', guaranteed('20m', '30Mi'), { resizePolicy })] },
    });
    await node.waitReady(namespace, 'resized');
    const cpu = await resize(namespace, 'resized', { c1: guaranteed('30m', '30Mi') });
    await verify(await settled(namespace, 'resized', cpu.metadata.generation), { c1: guaranteed('30m', '30Mi') });
    const memory = await resize(namespace, 'resized', { c1: guaranteed('30m', '40Mi') });
    const done = await settled(namespace, 'resized', memory.metadata.generation);
    await verify(done, { c1: guaranteed('30m', '40Mi') }, { c1: 1 });
    const reasons = (await node.events(namespace, 'resized')).map(({ reason }) => reason);
    assert.ok(reasons.includes('ResizeStarted') && reasons.includes('ResizeCompleted'), reasons.join(' '));
  });

  it('resizes sidecars, and pods as a whole', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'resized',
      spec: {
        resources: resourcesOf(['100m', '200m', '100Mi', '200Mi']),
        initContainers: [sleeper('side', ['20m', '40m', '20Mi', '40Mi'], { restartPolicy: 'Always' })],
        containers: [sleeper('c1', ['20m', '40m', '20Mi', '40Mi'])],
      },
    });
    await node.waitReady(namespace, 'resized');
    const wanted: Amounts = ['30m', '50m', '20Mi', '50Mi'];
    const changes = {
      resources: resourcesOf(['150m', '300m', '100Mi', '300Mi']),
      initContainers: [{ name: 'side', resources: resourcesOf(wanted) }],
    };
    const target = { namespace, name: 'resized' };
    const options = { subresource: 'resize' } as const;
    const { metadata } = await node.client.patch(pods, target, 'strategic', { spec: changes }, options);
    const done = await settled(namespace, 'resized', metadata.generation);
    await verify(done, { side: wanted, c1: ['20m', '40m', '20Mi', '40Mi'] });
    assert.deepEqual(done.status?.resources, resourcesOf(['150m', '300m', '100Mi', '300Mi']));
    assert.deepEqual(done.status?.allocatedResources, { cpu: '150m', memory: '100Mi' });
    const group = await findGroup('memory', `pod${done.metadata.uid}`);
    assert.equal(Number(await readFile(join(group, 'memory.limit_in_bytes'), 'utf8')), quantityValue('300Mi'));
  });

  it('does not take memory that is in use', async () => {
    const namespace = await node.namespace();
    const main = sleeper('c1', guaranteed('20m', '80Mi'), {
      command: ['sh', '-c', 'dd if=/dev/zero of=/dev/shm/fill bs=1M count=40; sleep 3600'],
    });
    await node.createPod(namespace, { name: 'resized', spec: { containers: [main] } });
    await node.waitReady(namespace, 'resized');
    await eventually('the memory is in use', async () => {
      const size = await node.shell(namespace, 'resized', 'stat -c %s /dev/shm/fill', 'c1').catch(() => '0');
      return Number(size) === 40 * 2 ** 20;
    });
    await resize(namespace, 'resized', { c1: guaranteed('20m', '20Mi') });
    const told = await node.waitForPod(namespace, 'resized', 'it says so', (pod) =>
      resizeConditions(pod).some(({ reason }) => reason === 'Error'),
    );
    const [condition] = resizeConditions(told);
    assert.equal(condition?.type, 'PodResizeInProgress');
    assert.match(
      condition?.message ?? '',
      /^attempting to set container "c1" memory limit \(20971520\) below current usage/,
    );
    assert.equal(containerStatus(told, 'c1')?.resources?.limits?.['memory'], '80Mi');
    await node.shell(namespace, 'resized', 'rm /dev/shm/fill', 'c1');
    await settled(namespace, 'resized', told.metadata.generation);
  });

  it('count towards the quota of their namespace', async () => {
    const namespace = await node.namespace();
    await node.client.create(resourcequotas, namespace, {
      metadata: { name: 'cpu' },
      spec: { hard: { 'requests.cpu': '60m' } },
    });
    await eventually('the quota is known', async () => {
      const quota = await node.client.get(resourcequotas, { namespace, name: 'cpu' });
      return quota.status?.hard?.['requests.cpu'] === '60m';
    });
    await node.createPod(namespace, {
      name: 'resized',
      spec: { containers: [sleeper('c1', guaranteed('20m', '30Mi'))] },
    });
    await node.waitReady(namespace, 'resized');
    await assert.rejects(resize(namespace, 'resized', { c1: guaranteed('80m', '30Mi') }), /exceeded quota: cpu/);
    const { metadata } = await resize(namespace, 'resized', { c1: guaranteed('60m', '30Mi') });
    await settled(namespace, 'resized', metadata.generation);
    await eventually('the quota has counted it', async () => {
      const quota = await node.client.get(resourcequotas, { namespace, name: 'cpu' });
      return quota.status?.used?.['requests.cpu'] === '60m';
    });
  });

  it('says when the node can never give what is asked for', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'resized',
      spec: { containers: [sleeper('c1', guaranteed('20m', '30Mi'))] },
    });
    await node.waitReady(namespace, 'resized');
    await resize(namespace, 'resized', { c1: guaranteed('500', '30Mi') });
    const told = await node.waitForPod(namespace, 'resized', 'it says so', (pod) => resizeConditions(pod).length > 0);
    const [condition] = resizeConditions(told);
    assert.equal(condition?.reason, 'Infeasible');
    assert.match(condition?.message ?? '', /^Node didn't have enough capacity: cpu, requested: 500000, capacity: \d+$/);
    const back = await resize(namespace, 'resized', { c1: guaranteed('20m', '30Mi') });
    await settled(namespace, 'resized', back.metadata.generation);
  });
});
