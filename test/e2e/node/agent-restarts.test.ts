// The agent is killed again and again under its pods: nothing that a user can see may change by that.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { isAlive, readRunState } from '../../../cli/up/run-state.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { containerStatus, isReady, type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

const podCount = 50;
const restarts = 20;

/** What of a pod must stay. */
function facts({ metadata, status }: Pod) {
  const all = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  const condition = (type: string) => {
    const found = status?.conditions?.find((item) => item.type === type);
    return [type, found?.status, found?.lastTransitionTime];
  };
  return {
    uid: metadata.uid,
    phase: status?.phase,
    ip: status?.podIP,
    containers: all.map(({ name, containerID, restartCount, ready, started }) => ({
      name,
      containerID,
      restartCount,
      ready,
      started,
    })),
    conditions: ['Ready', 'ContainersReady', 'Initialized', 'PodReadyToStartContainers'].map(condition),
  };
}

const byName = (list: readonly Pod[]) =>
  new Map(
    [...list]
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
      .map((pod) => [pod.metadata.name, facts(pod)]),
  );

describe('an agent that is killed again and again', { skip: clustersUnavailable() ?? false }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  async function runState() {
    const state = await readRunState(node.cluster.layout.stateFile);
    const agent = state?.processes.find(({ name }) => name.startsWith('agent'));
    assert.ok(state !== undefined && agent !== undefined);
    return { agent, supervisor: state.supervisor };
  }

  /**
   * Runs the agent in the supervisor's place, which waits longer and longer before it starts one again. The supervisor
   * sleeps meanwhile, and finds in the end that its agent has died.
   */
  async function ownAgent() {
    const { agent, supervisor } = await runState();
    const read = async (name: string) =>
      (await readFile(`/proc/${agent.pid}/${name}`, 'utf8')).split('\0').slice(0, -1);
    const [command = '', ...args] = await read('cmdline');
    const variables = (await read('environ')).map((line) => [
      line.slice(0, line.indexOf('=')),
      line.slice(line.indexOf('=') + 1),
    ]);
    const cwd = await readlink(`/proc/${agent.pid}/cwd`);
    const wrapped = [`--net=${node.cluster.namespace.path}`, command, ...args];
    process.kill(supervisor.pid, 'SIGSTOP');
    process.kill(agent.pid, 'SIGKILL');
    let current: ChildProcess | undefined;
    const stop = async () => {
      const running = current;
      current = undefined;
      if (running === undefined) return;
      const ended = once(running, 'exit');
      running.kill('SIGKILL');
      await ended;
    };
    return {
      async restart() {
        await stop();
        current = spawn('nsenter', wrapped, { env: Object.fromEntries(variables), cwd, stdio: 'ignore' });
      },
      async end() {
        await stop();
        process.kill(supervisor.pid, 'SIGCONT');
      },
    };
  }

  /** Kills the agent and waits for the next one. */
  async function restartAgent(): Promise<void> {
    const { pid } = (await runState()).agent;
    process.kill(pid, 'SIGKILL');
    await eventually('another agent', async () => {
      const state = await readRunState(node.cluster.layout.stateFile);
      return state?.processes.some((item) => item.name.startsWith('agent') && item.pid !== pid && isAlive(item));
    });
  }

  async function agentServes(namespace: string, pod: string): Promise<void> {
    await eventually('the agent serves again', async () => {
      const answer = await node.cluster.tryKubectl(['exec', '-n', namespace, pod, '-c', 'main', '--', 'true']);
      return answer.exitCode === 0;
    });
  }

  it(`changes no container, restart count or condition of ${podCount} probed pods in ${restarts} restarts`, async () => {
    const namespace = await node.namespace();
    const probe = { exec: { command: ['true'] }, periodSeconds: 1 };
    const probes = { readinessProbe: probe, livenessProbe: probe, startupProbe: probe };
    const kinds = [
      { containers: [script('exec sleep 3600', { readinessProbe: probe })] },
      { containers: [script('exec sleep 3600', probes)] },
      {
        initContainers: [
          script('true', { name: 'first' }),
          script('exec sleep 3600', { name: 'side', restartPolicy: 'Always', ...probes }),
        ],
        containers: [script('exec sleep 3600', probes)],
      },
      { containers: [script('exec sleep 3600', { readinessProbe: { ...probe, exec: { command: ['false'] } } })] },
    ];
    await Promise.all(
      Array.from({ length: podCount }, (_, index) => {
        const spec = kinds[index % kinds.length] ?? kinds[0];
        return spec && node.createPod(namespace, { name: `steady-${index}`, spec });
      }),
    );
    const list = async () => (await node.client.list(pods, { namespace })).items;
    const wantedReady = (index: number) => index % kinds.length !== 3;
    await eventually(
      'all pods are as they should be',
      async () => {
        const all = await list();
        return all.every(
          (pod) =>
            pod.status?.phase === 'Running' && isReady(pod) === wantedReady(Number(pod.metadata.name.split('-')[1])),
        );
      },
      240_000,
      500,
    );
    const before = byName(await list());
    assert.equal(before.size, podCount);

    const agent = await ownAgent();
    try {
      for (let round = 0; round < restarts; round += 1) {
        await agent.restart();
        // Some agents are killed while they still look around, some after they have settled.
        await sleep(500 + (round % 5) * 700);
        assert.deepEqual(byName(await list()), before, `after restart ${round + 1}`);
      }
    } finally {
      await agent.end();
    }
    await agentServes(namespace, 'steady-0');
    await sleep(3000);
    assert.deepEqual(byName(await list()), before, 'in the end');
  });

  it('keeps static pods and their readiness', async () => {
    const layout = node.cluster.layout.nodes[0];
    assert.ok(layout !== undefined);
    const directory = join(layout.stateDir, 'manifests');
    await appendFile(layout.agentConfig, `\nstaticPodPath: ${directory}\n`);
    await mkdir(directory, { recursive: true });
    await restartAgent();
    const manifest = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'static', namespace: 'default' },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [script('exec sleep 3600', { readinessProbe: { exec: { command: ['true'] }, periodSeconds: 5 } })],
      },
    };
    await writeFile(join(directory, 'static.yaml'), JSON.stringify(manifest));
    const name = `static-${node.nodeName}`;
    await node.waitReady('default', name);
    const before = facts(await node.pod('default', name));
    await restartAgent();
    await agentServes('default', name);
    await sleep(3000);
    assert.deepEqual(facts(await node.pod('default', name)), before);
  });

  it('keeps what a pod was given, and goes on with what it waits for', async () => {
    const namespace = await node.namespace();
    const allocatable = Number((await node.node()).status?.allocatable?.['cpu'] ?? '1');
    const amounts = (cpu: string) => ({ requests: { cpu, memory: '32Mi' }, limits: { cpu, memory: '32Mi' } });
    const most = `${allocatable * 1000 - 400}m`;
    await node.createPod(namespace, {
      name: 'large',
      spec: { containers: [script('exec sleep 3600', { resources: amounts(most) })] },
    });
    await node.createPod(namespace, {
      name: 'grows',
      spec: { containers: [script('exec sleep 3600', { resources: amounts('100m') })] },
    });
    await Promise.all([node.waitReady(namespace, 'large'), node.waitReady(namespace, 'grows')]);
    const wanted = { spec: { containers: [{ name: 'main', resources: amounts('600m') }] } };
    await node.client.patch(pods, { namespace, name: 'grows' }, 'strategic', wanted, { subresource: 'resize' });
    const pending = (pod: Pod) => pod.status?.conditions?.find(({ type }) => type === 'PodResizePending');
    await node.waitForPod(namespace, 'grows', 'it waits', (pod) => pending(pod)?.reason === 'Deferred');
    await restartAgent();
    await agentServes(namespace, 'grows');
    await sleep(1000);
    const still = await node.pod(namespace, 'grows');
    assert.equal(pending(still)?.reason, 'Deferred');
    assert.equal(containerStatus(still)?.resources?.requests?.['cpu'], '100m');
    const file = join(node.cluster.layout.nodes[0]?.kubeletDir ?? '', 'allocated_pods_state');
    assert.match(await readFile(file, 'utf8'), /"checksum":\d+/);
    await node.client.delete(pods, { namespace, name: 'large' }, {});
    const grown = await node.waitForPod(
      namespace,
      'grows',
      'it has grown',
      (pod) => containerStatus(pod)?.resources?.requests?.['cpu'] === '600m' && pending(pod) === undefined,
    );
    assert.equal(containerStatus(grown)?.restartCount, 0);
  });
});
