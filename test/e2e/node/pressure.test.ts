// A node that is short of memory, process ids or disk: conditions, taint, one pod after the other, and what is told.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { after, before, describe, it } from 'node:test';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import type { Explanation } from '../../../agent/explain/explanation.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { busyboxImage, type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';
import { reconfigureAgent } from '../../support/reconfigure-agent.ts';

const mebi = 1024 * 1024;
const forPods = 600;

const condition = (node: Node, type: string) => node.status?.conditions?.find((item) => item.type === type);
const target = (pod: Pod) => pod.status?.conditions?.find(({ type }) => type === 'DisruptionTarget');

describe('pressure on the node', { skip: clustersUnavailable() ?? false }, () => {
  let node: NodeCluster;
  before(async () => {
    // What all pods together may have is small: the machine itself is never short.
    const reserved = `${Math.floor(totalmem() / mebi) - forPods}Mi`;
    node = await startNodeCluster({
      configuration: {
        systemReserved: { memory: reserved },
        evictionHard: { 'memory.available': '250Mi' },
        evictionPressureTransitionPeriod: '5s',
      },
    });
  });
  after(() => node?.[Symbol.asyncDispose]());

  const memoryUser = (name: string, megabytes: number, request?: string) => ({
    name,
    spec: {
      restartPolicy: 'Never' as const,
      volumes: [{ name: 'ram', emptyDir: { medium: 'Memory' } }],
      containers: [
        script(`dd if=/dev/zero of=/ram/x bs=1M count=${megabytes} 2>/dev/null; exec sleep 600`, {
          volumeMounts: [{ name: 'ram', mountPath: '/ram' }],
          ...(request === undefined ? {} : { resources: { requests: { memory: request } } }),
        }),
      ],
    },
  });

  const whileUnder = (type: string) =>
    eventually(`condition ${type}`, async () => condition(await node.node(), type)?.status === 'True', 60_000);
  const calmAgain = (type: string) =>
    eventually(`no condition ${type}`, async () => condition(await node.node(), type)?.status === 'False', 60_000);

  it('tells of a process that ran out of memory in a container that goes on', async () => {
    const namespace = await node.namespace();
    const eat = 'head -c 200m /dev/zero | tail';
    await node.createPod(namespace, {
      name: 'eater',
      spec: { containers: [script(`${eat}; exec sleep 600`, { resources: { limits: { memory: '40Mi' } } })] },
    });
    const told = await eventually('its event', async () =>
      (await node.events(namespace, 'eater')).find(({ reason }) => reason === 'OOMKilling'),
    );
    assert.match(told.message ?? '', /^Process \w+ \(pid \d+\) was killed: out of memory$/);
    assert.equal(told.involvedObject.fieldPath, 'spec.containers{main}');
    assert.equal((await node.pod(namespace, 'eater')).status?.containerStatuses?.[0]?.restartCount, 0);
    const count = async () => {
      const path = `/api/v1/nodes/${node.nodeName}/proxy/metrics/cadvisor`;
      const { stdout } = await node.cluster.tryKubectl(['get', '--raw', path]);
      return /container_oom_events_total\{container="main",[^}]*pod="eater"[^}]*\} (\d+)/.exec(stdout)?.[1];
    };
    const before = await eventually('the count', async () => ((await count()) === '1' ? '1' : undefined));
    await reconfigureAgent(node.cluster, {});
    assert.equal(await eventually('the count of the next agent', count), before);
    await node.client.delete(pods, { namespace, name: 'eater' }, { gracePeriodSeconds: 1 });
    await node.waitGone(namespace, 'eater');
  });

  it('ends the pod that uses most beyond what it asked for, tells why, and calms down', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, memoryUser('modest', 60, '100Mi'));
    await node.waitReady(namespace, 'modest');
    await node.createPod(namespace, memoryUser('greedy', 330));
    const pod = await node.waitEnded(namespace, 'greedy', 60_000);
    assert.deepEqual([pod.status?.phase, pod.status?.reason], ['Failed', 'Evicted']);
    const { message = '' } = pod.status ?? {};
    assert.match(message, /^The node was low on resource: memory. Threshold quantity: 250Mi, available: \d+Ki. /);
    assert.match(message, /Container main was using \d+Ki, request is 0, has larger consumption of memory. $/);
    assert.deepEqual([target(pod)?.status, target(pod)?.reason], ['True', 'TerminationByKubelet']);
    await whileUnder('MemoryPressure');
    await eventually('the taint', async () =>
      (await node.node()).spec?.taints?.some(({ key }) => key === 'node.kubernetes.io/memory-pressure'),
    );
    const events = await eventually('its event', async () => {
      const found = (await node.events(namespace, 'greedy')).find(({ reason }) => reason === 'Evicted');
      return found;
    });
    assert.equal(events.message, message.trim() === events.message ? message.trim() : message);
    assert.equal(events.metadata.annotations?.['starved_resource'], 'memory');
    assert.equal(events.metadata.annotations?.['offending_containers'], 'main');
    await eventually('the event of the node', async () =>
      (await node.events('default', node.nodeName)).some(({ reason }) => reason === 'EvictionThresholdMet'),
    );
    assert.equal((await node.pod(namespace, 'modest')).status?.phase, 'Running');

    const path = `/api/v1/nodes/${node.nodeName}/proxy/explain/${namespace}/greedy`;
    const explained = JSON.parse((await node.cluster.tryKubectl(['get', '--raw', path])).stdout) as Explanation;
    const { eviction } = explained;
    assert.equal(eviction?.signal, 'allocatableMemory.available');
    assert.equal(eviction.threshold.quantity, '250Mi');
    assert.ok(eviction.observed.available < 250 * mebi);
    assert.ok(Math.abs(eviction.observed.capacity - forPods * mebi) <= mebi);
    const names = eviction.ranking.map(({ name }) => name);
    assert.ok(names.indexOf('greedy') < names.indexOf('modest'));
    await calmAgain('MemoryPressure');
    const metrics = await node.cluster.tryKubectl(['get', '--raw', `/api/v1/nodes/${node.nodeName}/proxy/metrics`]);
    assert.match(metrics.stdout, /kubelet_evictions\{eviction_signal="allocatableMemory.available"\} 1/);
  });

  it('refuses pods that ask for nothing while memory is short', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, memoryUser('greedy', 330));
    await node.waitEnded(namespace, 'greedy', 60_000);
    await whileUnder('MemoryPressure');
    const name = 'late';
    const { spec } = memoryUser(name, 1);
    await node.createPod(namespace, { name, spec: { ...spec, nodeName: node.nodeName } });
    const late = await node.waitEnded(namespace, name);
    const { reason, message } = late.status ?? {};
    assert.equal(reason, 'Evicted');
    assert.equal(message, 'Pod was rejected: The node had condition: [MemoryPressure]. ');
    await calmAgain('MemoryPressure');
  });

  it('keeps the record of an eviction over a restart of the agent', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, memoryUser('greedy', 330));
    await node.waitEnded(namespace, 'greedy', 60_000);
    await reconfigureAgent(node.cluster, {
      evictionHard: { 'nodefs.available': '99%' },
      evictionPressureTransitionPeriod: '5s',
      imageMinimumGCAge: '1s',
    });
    const path = `/api/v1/nodes/${node.nodeName}/proxy/explain/${namespace}/greedy`;
    const explained = await eventually('the record', async () => {
      const { stdout } = await node.cluster.tryKubectl(['get', '--raw', path]);
      return (JSON.parse(stdout) as Explanation).eviction;
    });
    assert.equal(explained.signal, 'allocatableMemory.available');
  });

  it('removes images that nobody uses before pods have to go for the disk', async () => {
    await whileUnder('DiskPressure');
    const [{ containerdSocket = '' } = {}] = node.cluster.layout.nodes;
    const ctr = (...args: string[]) =>
      execOrThrow(systemExec, 'ctr', ['-a', containerdSocket, '-n', 'k8s.io', ...args]);
    assert.ok((await ctr('images', 'list', '-q')).includes(busyboxImage), 'the images of the cluster itself stay');
    const list = await node.client.list(pods, { namespace: 'kube-system' });
    const critical = list.items.filter(({ spec }) => (spec.priority ?? 0) >= 2_000_000_000);
    for (const { status, metadata } of critical) assert.notEqual(status?.reason, 'Evicted', metadata.name);
    await reconfigureAgent(node.cluster, { evictionHard: { 'memory.available': '1Mi' } });
    await calmAgain('DiskPressure');
    assert.ok(await readFile(`${node.cluster.layout.nodes[0]?.agentConfig}`, 'utf8'));
  });
});
