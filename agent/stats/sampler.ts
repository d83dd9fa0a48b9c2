// One look at everything on the node: the cgroups of node, pods and containers with what belongs to each. Every
// endpoint is rendered from a sample; requests share one for ten seconds, unless other pods run meanwhile.
import { setImmediate as yieldToOthers } from 'node:timers/promises';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { PodRuntime, RuntimeContainer } from '../runtime-cache/pod-runtime.ts';
import type { CgroupStats, CgroupStatsReader } from './cgroup-stats.ts';
import { createMetricGroups, type MetricGroups } from './metric-groups.ts';
import {
  type InterfaceStats,
  type ProcessStats,
  readInterfaces,
  readOpenFilesLimit,
  readProcessStats,
} from './process-stats.ts';
import { createSlowValues } from './slow-values.ts';

/** A sample is shared for so long while the same containers run. */
const shareMs = 10_000;
/** And for so long whatever runs. */
const burstMs = 1000;
/** Rates need samples at least so far apart. */
const rateMs = 5000;
/** After so many cgroups others get their turn. */
const batch = 8;

/** A cgroup and what is known of it. */
export interface SampledCgroup {
  /** The path, for example /kubepods/besteffort/pod1234. */
  id: string;
  stats: CgroupStats;
  pod: PodRuntime | undefined;
  container: RuntimeContainer | undefined;
  /** Set for the sandbox of a pod, which holds its network. */
  sandboxId: string | undefined;
  interfaces: InterfaceStats[];
  processes: ProcessStats | undefined;
  /** Of the first process. */
  openFilesLimit: number | undefined;
  /** Billionths of a processor in use, over the time since an earlier sample. */
  nanoCores: number | undefined;
}

export interface NodeSample {
  atMs: number;
  cgroups: SampledCgroup[];
}

export interface SamplerOptions {
  reader: CgroupStatsReader;
  clock: Clock;
  pods(): Pod[];
  runtimeOf(podUid: string): PodRuntime | undefined;
  pathOf(pod: Pod): string;
  /** Kills in all containers of that name of the pod, where somebody counts. */
  oomKills?(podUid: string, container: string): number;
  /** Paths of the cgroups above the pods': all pods, and each class. */
  groupPaths: readonly string[];
  /** What is read, and what it costs. */
  groups?: MetricGroups;
}

/** Takes a sample, or hands out the one just taken. */
export type Sample = () => Promise<NodeSample>;

/** Creates the sampler. */
export function createSampler(options: SamplerOptions): Sample {
  const { reader, clock, groups = createMetricGroups() } = options;
  const openFilesLimit = createSlowValues(clock, (pid) => readOpenFilesLimit(Number(pid)));
  let current: { atMs: number; running: string; sample: Promise<NodeSample> } | undefined;
  /** Processor time by cgroup at an earlier time, for rates. */
  let before: { atMs: number; totals: Map<string, number> } | undefined;

  function plain(id: string): SampledCgroup | undefined {
    const stats = groups.spend('sample', () => reader.read(id));
    if (stats === undefined) return undefined;
    return {
      id,
      stats,
      pod: undefined,
      container: undefined,
      sandboxId: undefined,
      interfaces: [],
      processes: undefined,
      openFilesLimit: undefined,
      nanoCores: undefined,
    };
  }

  function interfacesOf(pid: number | 'self'): InterfaceStats[] {
    return groups.isOn('network') ? groups.spend('network', () => readInterfaces(pid)) : [];
  }

  /** What runs, as a text to compare. */
  function running(): string {
    const runtimes = options.pods().map(({ metadata }) => options.runtimeOf(metadata.uid ?? ''));
    const ids = runtimes.map((runtime) => runtime?.containers.filter(({ state }) => state === 'running'));
    return ids.map((list) => list?.map(({ id }) => id).join() ?? '').join(';');
  }

  function podCgroups(pod: Pod, runtime: PodRuntime): SampledCgroup[] {
    const path = options.pathOf(pod);
    const own = plain(path);
    if (own === undefined) return [];
    own.pod = runtime;
    const result = [own];
    for (const name of reader.children(path)) {
      const container = runtime.containers.find(({ id, state }) => state === 'running' && name.includes(id));
      const sandbox = runtime.sandboxes.find(({ id }) => name.includes(id));
      const child = container === undefined && sandbox === undefined ? undefined : plain(`${path}/${name}`);
      if (child === undefined) continue;
      child.pod = runtime;
      child.container = container;
      // A container that was started again has a cgroup that begins at zero.
      const kills = container === undefined ? 0 : (options.oomKills?.(runtime.uid, container.name) ?? 0);
      child.stats.memory.oomKills = Math.max(child.stats.memory.oomKills, kills);
      child.sandboxId = sandbox?.id;
      const [pid] = child.stats.processes;
      if (groups.isOn('process')) {
        groups.spend('process', () => {
          child.processes = readProcessStats(child.stats.processes);
          child.openFilesLimit = pid === undefined ? undefined : openFilesLimit(`${pid}`);
        });
      }
      if (sandbox !== undefined && !sandbox.hostNetwork && pid !== undefined) child.interfaces = interfacesOf(pid);
      result.push(child);
    }
    return result;
  }

  function addRates(sample: NodeSample): void {
    const totals = new Map(sample.cgroups.map(({ id, stats }) => [id, stats.cpu.totalNs]));
    const elapsedMs = before === undefined ? 0 : sample.atMs - before.atMs;
    if (before !== undefined && elapsedMs > 0) {
      for (const cgroup of sample.cgroups) {
        const earlier = before.totals.get(cgroup.id);
        if (earlier === undefined) continue;
        cgroup.nanoCores = Math.max(Math.round(((cgroup.stats.cpu.totalNs - earlier) * 1000) / elapsedMs), 0);
      }
    }
    if (before === undefined || elapsedMs >= rateMs) before = { atMs: sample.atMs, totals };
  }

  async function take(): Promise<NodeSample> {
    const cgroups: SampledCgroup[] = [];
    const root = plain('/');
    if (root !== undefined) cgroups.push({ ...root, interfaces: interfacesOf('self') });
    for (const path of options.groupPaths) {
      const group = plain(path);
      if (group !== undefined) cgroups.push(group);
    }
    let sinceYield = 0;
    for (const pod of options.pods()) {
      const runtime = options.runtimeOf(pod.metadata.uid ?? '');
      if (runtime === undefined) continue;
      const found = podCgroups(pod, runtime);
      cgroups.push(...found);
      sinceYield += found.length;
      if (sinceYield < batch) continue;
      sinceYield = 0;
      await yieldToOthers();
    }
    const sample = { atMs: clock.now(), cgroups };
    addRates(sample);
    return sample;
  }

  return () => {
    const now = clock.monotonicMs();
    const ageMs = current === undefined ? Number.POSITIVE_INFINITY : now - current.atMs;
    if (current !== undefined && ageMs < burstMs) return current.sample;
    const ids = running();
    if (current === undefined || ageMs >= shareMs || ids !== current.running) {
      current = { atMs: now, running: ids, sample: take() };
    }
    return current.sample;
  };
}
