// A large cluster on this machine: hollow nodes, full of pods, and what one Deployment among them takes. The sizes can
// be made smaller by SCALE_NODES and SCALE_PODS.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBenchedControlPlane, stopBenchedControlPlane } from './api-server.ts';
import { type LoadClient, mustCall } from './http.ts';
import { cpuSeconds, type Row, residentMb } from './measure.ts';
import { type RolloutBounds, watchRollout } from './watch-rollout.ts';

const berth = join(import.meta.dirname, '../packaging/berth');
const nodeCount = Number(process.env['SCALE_NODES'] ?? '5000');
const podCount = Number(process.env['SCALE_PODS'] ?? '50000');
const replicas = 1000;
const idleSeconds = 20;
const deploymentsPath = '/apis/apps/v1/namespaces/default/deployments';
const podsPath = '/api/v1/namespaces/default/pods';

/** Resolves when all nodes are registered. */
async function startFleet(kubeconfig: string): Promise<ChildProcess> {
  const args = ['hollow', `--nodes=${nodeCount}`, '--zones=3', `--kubeconfig=${kubeconfig}`, '--keep'];
  const fleet = spawn(berth, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const registered = Promise.withResolvers<void>();
  fleet.stdout.on('data', (chunk: Buffer) => {
    if (chunk.toString().includes('are registered')) registered.resolve();
  });
  fleet.once('exit', () => registered.reject(new Error('the hollow nodes ended while starting')));
  await registered.promise;
  return fleet;
}

function deployment(name: string, image: string) {
  const labels = { app: name };
  const containers = [{ name: 'c', image, resources: { requests: { cpu: '50m', memory: '64Mi' } } }];
  return {
    metadata: { name },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  };
}

/** Waits until so many replicas of a Deployment are available. */
async function available(client: LoadClient, name: string): Promise<void> {
  for (;;) {
    const answer = await mustCall(client, 'GET', `${deploymentsPath}/${name}`);
    const { status } = JSON.parse(answer.toString()) as { status?: { availableReplicas?: number } };
    if (status?.availableReplicas === replicas) return;
    await sleep(100);
  }
}

/** Processor time of both processes over a while, in cores. */
async function coresOf(pids: readonly number[], seconds: number): Promise<number[]> {
  const before = pids.map(cpuSeconds);
  await sleep(seconds * 1000);
  return pids.map((pid, index) => (cpuSeconds(pid) - (before[index] ?? 0)) / seconds);
}

async function rollout(client: LoadClient): Promise<Row[]> {
  const name = 'measured';
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const bounds: RolloutBounds = { most: replicas * 1.25, least: replicas * 0.75 };
  const watching = watchRollout(client, `${podsPath}?watch=1&labelSelector=app%3D${name}`, bounds);
  await mustCall(client, 'POST', deploymentsPath, deployment(name, 'pause:1'));
  await watching.bound(replicas);
  const boundSeconds = seconds();
  await available(client, name);
  const readySeconds = seconds();
  watching.begin();
  const updated = performance.now();
  const current = JSON.parse((await mustCall(client, 'GET', `${deploymentsPath}/${name}`)).toString());
  current.spec.template.spec.containers[0].image = 'pause:2';
  await mustCall(client, 'PUT', `${deploymentsPath}/${name}`, current);
  await watching.allRun('pause:2', replicas);
  const updateSeconds = (performance.now() - updated) / 1000;
  const { violations, fewest, most } = watching.end();
  return [
    { work: 'Deployment of 1,000 replicas: all bound', unit: 's', berth: boundSeconds, budget: '<= 3 s' },
    { work: 'same: all available', unit: 's', berth: readySeconds, budget: '-' },
    { work: 'same: rolling update', unit: 's', berth: updateSeconds, budget: '-' },
    { work: 'same: moments beyond maxSurge or maxUnavailable', unit: '', berth: violations, budget: '0' },
    { work: 'same: fewest ready pods', unit: 'pods', berth: fewest, budget: '>= 750' },
    { work: 'same: most pods', unit: 'pods', berth: most, budget: '<= 1,250' },
  ];
}

/** Runs all rows on one control plane. */
export async function benchScale(): Promise<Row[]> {
  const plane = await startBenchedControlPlane([
    '--cluster-cidr=10.0.0.0/8',
    '--service-cluster-ip-range=172.20.0.0/16',
  ]);
  const { client, child, dir } = plane;
  let fleet: ChildProcess | undefined;
  try {
    const started = performance.now();
    fleet = await startFleet(join(dir, 'admin.kubeconfig'));
    const registerSeconds = (performance.now() - started) / 1000;
    const pids = [child.pid ?? 0, fleet.pid ?? 0];
    const nodes = nodeCount.toLocaleString('en');
    const rows: Row[] = [
      { work: `${nodes} hollow nodes: all registered`, unit: 's', berth: registerSeconds, budget: '-' },
    ];
    const idle = async (what: string) => {
      const [server, agents] = await coresOf(pids, idleSeconds);
      const row = (work: string, unit: string, value: number): Row => ({ work, unit, berth: value, budget: '-' });
      rows.push(
        row(`${what}: processor of the control plane`, 'cores', server ?? 0),
        row('same: of all agents together', 'cores', agents ?? 0),
        row('same: memory of the control plane', 'MB', residentMb(pids[0] ?? 0)),
        row('same: of all agents together', 'MB', residentMb(pids[1] ?? 0)),
      );
    };
    await idle('heartbeats of idle nodes');
    const fills = Math.floor(podCount / replicas) - 1;
    const filling = performance.now();
    for (let index = 0; index < fills; index += 1) {
      const name = `fill-${index}`;
      await mustCall(client, 'POST', deploymentsPath, deployment(name, 'pause:1'));
      await available(client, name);
      process.stderr.write(
        `${(index + 1) * replicas} pods after ${((performance.now() - filling) / 1000).toFixed(0)} s\n`,
      );
    }
    const fillSeconds = (performance.now() - filling) / 1000;
    rows.push({
      work: `${(fills * replicas).toLocaleString('en')} pods of Deployments, all available`,
      unit: 'pods/s',
      berth: (fills * replicas) / fillSeconds,
      budget: '-',
    });
    rows.push(...(await rollout(client)));
    await idle(`${nodes} nodes with ${podCount.toLocaleString('en')} pods`);
    return rows;
  } finally {
    if (fleet !== undefined && fleet.exitCode === null) {
      const ended = once(fleet, 'exit');
      fleet.kill('SIGTERM');
      await ended;
    }
    await stopBenchedControlPlane(plane);
  }
}
