// The pod rows: create to Ready, bursts, deletion, the idle agent, its metrics, and the idle cluster. Runs inside
// the namespace of a cluster of the bench's own. The floor is the same pods by bare CRI calls.
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';
import { createGrpcRuntimeService, openCriChannel } from '../agent/index.ts';
import { computeLayout } from '../cli/up/layout.ts';
import { readRunState } from '../cli/up/run-state.ts';
import { busyboxImage } from '../packaging/images/build-images.ts';
import { createLoadClient, type LoadClient, mustCall } from './http.ts';
import { cpuSeconds, median, proportionalMb, quantile, type Row, residentMb, timed } from './measure.ts';

const inFlight = 8;
const idleSeconds = 20;
const base = '/api/v1/namespaces/default/pods';

interface PodLine {
  type: string;
  object: { metadata: { name: string }; status?: { conditions?: { type: string; status: string }[] } };
}

interface Burst {
  readySeconds: number;
  latencies: number[];
  goneSeconds: number;
}

/** Creates pods, waits until all are Ready, runs `meanwhile`, deletes them and waits until all are gone. */
export async function burst(
  client: LoadClient,
  node: string,
  count: number,
  meanwhile?: (nameOf: (index: number) => string) => Promise<void>,
  container: object = {},
): Promise<Burst> {
  const created = new Map<string, number>();
  const latencies: number[] = [];
  const ready = new Set<string>();
  let gone = 0;
  const allReady = Promise.withResolvers<void>();
  const allGone = Promise.withResolvers<void>();
  const list = JSON.parse((await mustCall(client, 'GET', `${base}?limit=1`)).toString()) as {
    metadata: { resourceVersion: string };
  };
  const stop = client.stream(`${base}?watch=1&resourceVersion=${list.metadata.resourceVersion}`, (line) => {
    const { type, object } = JSON.parse(line) as PodLine;
    const { name } = object.metadata;
    if (!created.has(name)) return;
    if (type === 'DELETED') {
      gone += 1;
      if (gone === count) allGone.resolve();
    } else if (!ready.has(name) && object.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')) {
      ready.add(name);
      latencies.push((performance.now() - (created.get(name) ?? 0)) / 1000);
      if (ready.size === count) allReady.resolve();
    }
  });
  await sleep(100);
  const run = Math.random().toString(36).slice(2, 7);
  const spec = {
    nodeName: node,
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: 'c',
        image: busyboxImage,
        command: ['sh', '-c', 'trap exit TERM; sleep 3600 & wait'],
        resources: { requests: { cpu: '1m', memory: '4Mi' } },
        ...container,
      },
    ],
  };
  const nameOf = (index: number) => `p-${run}-${index}`;
  const started = performance.now();
  await timed(count, inFlight, async (i) => {
    const name = nameOf(i);
    created.set(name, performance.now());
    await mustCall(client, 'POST', base, { metadata: { name }, spec });
  });
  await allReady.promise;
  const readySeconds = (performance.now() - started) / 1000;
  await meanwhile?.(nameOf);
  const deleting = performance.now();
  await timed(count, inFlight, async (i) => void (await mustCall(client, 'DELETE', `${base}/${nameOf(i)}`)));
  await allGone.promise;
  stop();
  return { readySeconds, latencies, goneSeconds: (performance.now() - deleting) / 1000 };
}

/** The same pods without a kubelet: seconds to start all, and to stop and remove all. */
async function bareCri(socket: string, count: number): Promise<{ start: number; stop: number }> {
  const channel = openCriChannel(`unix://${socket}`);
  const runtime = createGrpcRuntimeService(channel, 120_000);
  const sandboxes: string[] = [];
  const containers: string[] = [];
  const run = Math.random().toString(36).slice(2, 7);
  const start = await timed(count, inFlight, async (i) => {
    const config: PodSandboxConfig = {
      metadata: { name: `f-${run}-${i}`, uid: `f-${run}-${i}`, namespace: 'floor', attempt: 0 },
      linux: { cgroupParent: `/berth-bench-floor/${run}-${i}` },
    };
    const sandbox = await runtime.runPodSandbox(config, '');
    sandboxes.push(sandbox);
    const container = {
      metadata: { name: 'c', attempt: 0 },
      image: { image: busyboxImage },
      command: ['sh', '-c', 'trap exit TERM; sleep 3600 & wait'],
      linux: {},
    };
    const id = await runtime.createContainer(sandbox, container, config);
    containers.push(id);
    await runtime.startContainer(id);
  });
  const stop = await timed(count, inFlight, async (i) => {
    await runtime.stopContainer(containers[i] ?? '', 1);
    await runtime.stopPodSandbox(sandboxes[i] ?? '');
    await runtime.removePodSandbox(sandboxes[i] ?? '');
  });
  channel.close();
  return { start, stop };
}

/** Resident memory of a Node process that does nothing. */
async function bareNodeMb(): Promise<number> {
  const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'], { stdio: 'ignore' });
  await sleep(1000);
  const mb = residentMb(child.pid ?? 0);
  child.kill();
  return mb;
}

/** Processors in use over a time. */
export async function cores(pids: readonly number[], seconds = idleSeconds): Promise<number> {
  const total = () => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const before = total();
  await sleep(seconds * 1000);
  return (total() - before) / seconds;
}

/** Seconds each step of starting a pod took on average, as the agent exports it. */
async function stepRows(agentClient: LoadClient): Promise<Row[]> {
  const text = (await mustCall(agentClient, 'GET', '/metrics')).toString();
  const family = 'berth_pod_start_step_duration_seconds';
  const read = (suffix: string) =>
    new Map(
      [...text.matchAll(new RegExp(`^${family}_${suffix}\\{step="(\\w+)"\\} (\\S+)$`, 'gm'))].map((m) => [
        m[1],
        Number(m[2]),
      ]),
    );
  const counts = read('count');
  return [...read('sum')].map(([step, sum]) => ({
    work: `of the pods above, step ${step}: mean time`,
    unit: 'ms',
    berth: (sum / (counts.get(step) ?? 1)) * 1000,
    budget: '-',
  }));
}

/** How far the probes of a container are from a grid of one second, in milliseconds, by its log. */
async function probeDrift(client: LoadClient, name: string): Promise<number> {
  const log = (
    await mustCall(client, 'GET', `${base}/${name}/log?timestamps=true&sinceSeconds=${idleSeconds}`)
  ).toString();
  const times = log
    .split('\n')
    .filter((line) => line.includes('response'))
    .map((line) => Date.parse(line.slice(0, line.indexOf(' '))));
  const [first = 0] = times;
  return Math.max(...times.map((time) => Math.abs(time - first - Math.round((time - first) / 1000) * 1000)));
}

/** 100 pods with an HTTP probe each second: what the probes cost, and how punctual they are. */
async function probeRows(client: LoadClient, node: string, agent: number, idle: number): Promise<Row[]> {
  let used = 0;
  const drifts: number[] = [];
  const container = {
    command: ['httpd', '-f', '-vv', '-p', '8080', '-h', '/etc'],
    readinessProbe: { httpGet: { port: 8080, path: '/hostname' }, periodSeconds: 1 },
  };
  await burst(
    client,
    node,
    100,
    async (nameOf) => {
      await sleep(5000);
      used = await cores([agent]);
      for (let i = 0; i < 20; i += 1) drifts.push(await probeDrift(client, nameOf(i)));
    },
    container,
  );
  return [
    { work: '100 pods with an HTTP probe each second', unit: 'cores', berth: used - idle, budget: '<= 0.05 cores' },
    { work: 'same: drift of a probe in 20 s, worst of 20', unit: 'ms', berth: Math.max(...drifts), budget: '< 50 ms' },
  ];
}

/** Runs all rows against the cluster of the instance. */
export async function benchPods(instance: string, hostname: string): Promise<Row[]> {
  const layout = computeLayout({ instance, hostname, nodeCount: 1 });
  const [node] = layout.nodes;
  const state = await readRunState(layout.stateFile);
  if (node === undefined || state === undefined) throw new Error(`no cluster ${instance} is up`);
  const pidOf = (prefix: string) => state.processes.find(({ name }) => name.startsWith(prefix))?.pid ?? 0;
  const client = createLoadClient(layout.adminKubeconfig, 16);
  const agentClient = createLoadClient(layout.adminKubeconfig, 1, `https://${state.nodeIP}:10250`);
  const rows: Row[] = [];
  const all = [state.supervisor.pid, ...state.processes.map(({ pid }) => pid)];
  const idleCores = await cores(all);
  rows.push({
    work: 'idle single-node cluster, all processes: resident memory added up',
    unit: 'MB',
    berth: all.reduce((sum, pid) => sum + residentMb(pid), 0),
    budget: '<= 250 MB',
  });
  rows.push({
    work: 'same: memory, what they share counted once',
    unit: 'MB',
    berth: all.reduce((sum, pid) => sum + proportionalMb(pid), 0),
    budget: '-',
  });
  rows.push({ work: 'same: processor', unit: 'cores', berth: idleCores, budget: '<= 0.02 cores' });

  const singles: number[] = [];
  const floors: number[] = [];
  for (let i = 0; i < 7; i += 1) {
    singles.push(...(await burst(client, node.name, 1)).latencies);
    floors.push((await bareCri(node.containerdSocket, 1)).start);
  }
  rows.push({
    work: '1 pod: create to Ready seen by a watcher',
    unit: 's',
    berth: median(singles),
    floor: median(floors),
    budget: '<= 0.30 s',
  });
  const floor30 = await bareCri(node.containerdSocket, 30);
  const burst30 = await burst(client, node.name, 30);
  rows.push({
    work: '30 pods at once, all Ready',
    unit: 's',
    berth: burst30.readySeconds,
    floor: floor30.start,
    budget: '<= 1.15 x floor',
  });

  const agent = pidOf('agent');
  const scrapes: number[] = [];
  const health: number[] = [];
  let agentMb = 0;
  let agentCores = 0;
  const floor100 = await bareCri(node.containerdSocket, 100);
  const burst100 = await burst(client, node.name, 100, async () => {
    await sleep(5000);
    agentCores = await cores([agent]);
    agentMb = residentMb(agent);
    for (let i = 0; i < 10; i += 1) {
      const started = performance.now();
      const scrape = mustCall(agentClient, 'GET', '/metrics/cadvisor');
      // A request beside the scrape waits as long as the event loop is held up.
      const asked = performance.now();
      const answer = await fetch('http://127.0.0.1:10248/healthz');
      await answer.text();
      health.push(performance.now() - asked);
      await scrape;
      scrapes.push(performance.now() - started);
    }
  });
  rows.push({
    work: '100 pods at once, all Ready',
    unit: 's',
    berth: burst100.readySeconds,
    floor: floor100.start,
    budget: '<= 1.15 x floor',
  });
  rows.push({
    work: '100 pods deleted, all gone (grace 1 s)',
    unit: 's',
    berth: burst100.goneSeconds,
    floor: floor100.stop,
    budget: '<= 1.3 x floor',
  });
  rows.push({
    work: 'agent at 100 idle pods: memory',
    unit: 'MB',
    berth: agentMb,
    floor: await bareNodeMb(),
    budget: '<= 120 MB',
  });
  rows.push({ work: 'same: processor', unit: 'cores', berth: agentCores, budget: '<= 0.03 cores' });
  rows.push({ work: '/metrics/cadvisor at 100 pods', unit: 'ms', berth: median(scrapes), budget: '<= 70 ms' });
  rows.push({
    work: 'a health check beside a scrape, worst of 10',
    unit: 'ms',
    berth: quantile(health, 1),
    budget: 'no stall above 20 ms',
  });
  rows.push(...(await stepRows(agentClient)));
  rows.push(...(await probeRows(client, node.name, agent, agentCores)));
  client.close();
  agentClient.close();
  return rows;
}
