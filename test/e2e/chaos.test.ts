// Five minutes of pods coming and going while agent and runtime are killed at random points: in the end everything that
// should run runs, once, what was left alone was never touched, and nothing is left over.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { systemExec } from '#kube/process/exec.ts';
import { type CriChannel, openCriChannel } from '../../agent/cri/grpc-channel.ts';
import { createGrpcRuntimeService } from '../../agent/cri/grpc-runtime-service.ts';
import { createMounter } from '../../agent/volume/mounter.ts';
import type { NodeLayout } from '../../cli/up/layout.ts';
import { readRunState } from '../../cli/up/run-state.ts';
import { clustersUnavailable, startTestCluster, type TestCluster } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';

const image = 'localhost/berth/busybox:1';
const skip = clustersUnavailable() ?? false;
const durationMs = 300_000;
const steadyPods = 5;
const churningPods = 12;
/** A slow machine must not be killed so often that the cluster gives the node up, which touches every pod's status. */
const maxSilentMs = 15_000;
const uidLabel = 'io.kubernetes.pod.uid';

/** Numbers that only look random, so that a run can be repeated. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

const sleeper = { image, command: ['sleep', '3600'] };
// Patient: on a busy machine a runtime that has just started takes its time for a command.
const probe = { exec: { command: ['true'] }, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 10 };
const specs: Record<string, object> = {
  plain: { containers: [{ name: 'c', ...sleeper }] },
  probed: { containers: [{ name: 'c', ...sleeper, readinessProbe: probe, livenessProbe: probe }] },
  initialised: {
    initContainers: [
      { name: 'i', image, command: ['true'] },
      { name: 's', ...sleeper, restartPolicy: 'Always' },
    ],
    containers: [{ name: 'c', ...sleeper }],
  },
  stored: {
    volumes: [
      { name: 'm', emptyDir: { medium: 'Memory' } },
      { name: 'd', emptyDir: {} },
    ],
    containers: [
      {
        name: 'c',
        ...sleeper,
        volumeMounts: [
          { name: 'm', mountPath: '/m' },
          { name: 'd', mountPath: '/d', subPath: 'below' },
        ],
      },
    ],
  },
  crashing: { containers: [{ name: 'c', image, command: ['sh', '-c', 'sleep 2; exit 1'] }] },
};

describe('a node under churn whose agent and runtime are killed', { skip }, () => {
  let cluster: TestCluster;
  let channel: CriChannel;
  let node: NodeLayout;
  const seed = Date.now() % 1_000_000;
  const random = createRandom(seed + 1);
  const kubectl = (...args: string[]) => cluster.kubectl(...args);
  const listPods = async (): Promise<Pod[]> => JSON.parse(await kubectl('get', 'pods', '-o', 'json')).items;

  before(async () => {
    cluster = await startTestCluster();
    const [first] = cluster.layout.nodes;
    assert.ok(first);
    node = first;
    channel = openCriChannel(`unix://${node.containerdSocket}`);
  });
  after(async () => {
    channel?.close();
    await cluster?.[Symbol.asyncDispose]();
  });

  const create = (name: string, kind: string) =>
    cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, labels: { kind } },
      spec: { terminationGracePeriodSeconds: 1, ...specs[kind] },
    });

  async function kill(what: 'agent' | 'containerd'): Promise<void> {
    const state = await readRunState(cluster.layout.stateFile);
    const record = state?.processes.find(({ name }) => name.startsWith(what));
    // It may be between two lives.
    if (record !== undefined) {
      try {
        process.kill(record.pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
  }

  /** How long nothing was heard of the node. */
  async function silentMs(): Promise<number> {
    const path = ['lease', node.name, '-n', 'kube-node-lease', '-o', 'jsonpath={.spec.renewTime}'];
    return Date.now() - Date.parse(await kubectl('get', ...path));
  }

  const factsOf = ({ metadata, status }: Pod) => ({
    name: metadata.name,
    uid: metadata.uid,
    containers: status?.containerStatuses?.map(({ containerID, restartCount }) => [containerID, restartCount]),
    ready: status?.conditions?.find(({ type }) => type === 'Ready'),
  });
  const isSteady = ({ metadata }: Pod) => metadata.name.startsWith('steady-');

  it(`comes out consistent (seed ${seed})`, async () => {
    for (let index = 0; index < steadyPods; index += 1) await create(`steady-${index}`, 'probed');
    await kubectl('wait', '--for=condition=Ready', 'pods', '--all', '--timeout=60s');
    const steadyBefore = (await listPods()).filter(isSteady).map(factsOf);

    const endMs = Date.now() + durationMs;
    const kinds = Object.keys(specs);
    let kills = 0;
    const killing = (async () => {
      while (Date.now() < endMs) {
        await sleep(2000 + random(8000));
        const victim = random(3) === 0 ? 'containerd' : 'agent';
        if ((await silentMs()) > maxSilentMs) continue;
        await kill(victim);
        kills += 1;
      }
    })();
    let serial = 0;
    const alive: string[] = [];
    while (Date.now() < endMs) {
      if (alive.length < churningPods && random(3) > 0) {
        const kind = kinds[random(kinds.length)] ?? 'plain';
        serial += 1;
        const name = `churn-${serial}-${kind}`;
        await create(name, kind);
        alive.push(name);
      } else if (alive.length > 0) {
        const [name = ''] = alive.splice(random(alive.length), 1);
        const force = random(4) === 0 ? ['--force', '--grace-period=0'] : [];
        await kubectl('delete', 'pod', name, '--wait=false', ...force);
      }
      await sleep(random(600));
    }
    await killing;
    assert.ok(kills > 8 && serial > 30, `${kills} kills, ${serial} pods`);

    await eventually(
      'all that should run is ready',
      async () => {
        const pods = await listPods();
        const names = pods.map(({ metadata }) => metadata.name);
        const expected = [...alive, ...steadyBefore.map(({ name }) => name)];
        const waiting = pods.filter(
          ({ metadata, status }) =>
            metadata.labels?.['kind'] !== 'crashing' &&
            status?.conditions?.find(({ type }) => type === 'Ready')?.status !== 'True',
        );
        return waiting.length === 0 && names.toSorted().join() === expected.toSorted().join();
      },
      120_000,
    );
    assert.deepEqual((await listPods()).filter(isSteady).map(factsOf), steadyBefore);

    const runtime = createGrpcRuntimeService(channel, 30_000);
    await eventually(
      'nothing left over',
      async () => {
        const pods = await listPods();
        const uids = new Set(pods.map(({ metadata }) => metadata.uid ?? ''));
        const sandboxes = await runtime.listPodSandbox();
        const ready = sandboxes.filter(({ state }) => state === 'SANDBOX_READY');
        const running = (await runtime.listContainers()).filter(({ state }) => state === 'CONTAINER_RUNNING');
        const keyOf = (labels: Record<string, string>) =>
          `${labels[uidLabel]}/${labels['io.kubernetes.container.name'] ?? ''}`;
        const strays = [...sandboxes, ...running].filter(({ labels }) => !uids.has(labels[uidLabel] ?? ''));
        assert.deepEqual(
          strays.map(({ id }) => id),
          [],
        );
        for (const list of [ready, running]) {
          const keys = list.map(({ labels }) => keyOf(labels));
          assert.equal(new Set(keys).size, keys.length, 'something runs twice');
        }
        const directories = await readdir(join(node.kubeletDir, 'pods'));
        assert.deepEqual(
          directories.filter((uid) => !uids.has(uid)),
          [],
        );
        const mounts = await createMounter(systemExec).listBelow(join(node.kubeletDir, 'pods'));
        assert.deepEqual(
          mounts.filter((path) => ![...uids].some((uid) => path.includes(uid))),
          [],
        );
        const groups = await readdir(join('/sys/fs/cgroup/memory', node.cgroupRoot, 'kubepods/besteffort'));
        const left = groups.filter((name) => name.startsWith('pod') && !uids.has(name.slice(3)));
        assert.deepEqual(left, []);
        return true;
      },
      90_000,
    );
  });
});
