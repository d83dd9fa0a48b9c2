// /stats/summary: the statistics of node, pods and containers as one object (k8s.io/kubelet/pkg/apis/stats/v1alpha1).
import type { ContainerStats__Output } from '#proto/generated/cri/runtime/v1/ContainerStats.ts';
import type { VolumeStats } from '../volume/volume-stats.ts';
import type { CgroupStats } from './cgroup-stats.ts';
import type { InterfaceStats } from './process-stats.ts';
import { podCgroups } from './render-resource.ts';
import type { NodeSample, SampledCgroup } from './sampler.ts';

/** A filesystem as the kernel counts it. */
export interface FsStats {
  availableBytes: number;
  capacityBytes: number;
  usedBytes: number;
  inodesFree: number;
  inodes: number;
  inodesUsed: number;
}

/** What the summary is made from besides the sample. */
export interface SummaryInputs {
  nodeName: string;
  bootedAtMs: number;
  memoryBytes: number;
  nodeFs: FsStats | undefined;
  imageFs: FsStats | undefined;
  /** From the runtime: what containers have written. */
  containerStats: ContainerStats__Output[];
  /** Bytes of a container's logs. */
  logBytes(containerId: string): number | undefined;
  /** Volumes of a pod. */
  volumes(podUid: string): readonly VolumeStats[];
  maxPids: number;
  processes: number;
}

type Json = Record<string, unknown>;

function iso(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

function cpu(cgroup: SampledCgroup, time: string): Json {
  const { nanoCores } = cgroup;
  return {
    time,
    ...(nanoCores === undefined ? {} : { usageNanoCores: nanoCores }),
    usageCoreNanoSeconds: cgroup.stats.cpu.totalNs,
  };
}

function memory({ memory: stats, spec }: CgroupStats, time: string, total?: number): Json {
  const limit = total ?? (spec.memoryLimit > 0 ? spec.memoryLimit : undefined);
  return {
    time,
    ...(limit === undefined ? {} : { availableBytes: Math.max(limit - stats.workingSet, 0) }),
    usageBytes: stats.usage,
    workingSetBytes: stats.workingSet,
    rssBytes: stats.rss,
    pageFaults: stats.pageFaults,
    majorPageFaults: stats.majorPageFaults,
  };
}

function network(interfaces: readonly InterfaceStats[], time: string): Json | undefined {
  const list = interfaces.map(({ name, rxBytes, rxErrors, txBytes, txErrors }) => ({
    name,
    rxBytes,
    rxErrors,
    txBytes,
    txErrors,
  }));
  const main = list.find(({ name }) => name === 'eth0') ?? list[0];
  return main === undefined ? undefined : { time, ...main, interfaces: list };
}

function filesystem(fs: FsStats | undefined, time: string): Json | undefined {
  return fs === undefined ? undefined : { time, ...fs };
}

function containerSummary(cgroup: SampledCgroup, inputs: SummaryInputs, time: string): Json {
  const { container, stats } = cgroup;
  const written = inputs.containerStats.find(({ attributes }) => attributes?.id === container?.id)?.writableLayer;
  const logs = inputs.logBytes(container?.id ?? '');
  const { usedBytes: _, inodesUsed: __, ...disk } = inputs.imageFs ?? { usedBytes: 0, inodesUsed: 0 };
  const { usedBytes: ___, inodesUsed: ____, ...logDisk } = inputs.nodeFs ?? { usedBytes: 0, inodesUsed: 0 };
  return {
    name: container?.name,
    startTime: iso(container?.startedAtMs ?? 0),
    cpu: cpu(cgroup, time),
    memory: memory(stats, time),
    ...(written
      ? {
          rootfs: {
            time,
            ...disk,
            usedBytes: written.usedBytes?.value ?? 0,
            inodesUsed: written.inodesUsed?.value ?? 0,
          },
        }
      : {}),
    ...(logs === undefined ? {} : { logs: { time, ...logDisk, usedBytes: logs } }),
    swap: { time, swapUsageBytes: stats.memory.swap },
  };
}

function volumeSummary({ isLocal: _, abnormal, ...volume }: VolumeStats, time: string): Json {
  return { time, ...volume, ...(abnormal === undefined ? {} : { volumeHealthStats: { abnormal } }) };
}

function podSummary(cgroup: SampledCgroup, sample: NodeSample, inputs: SummaryInputs, time: string): Json {
  const { pod, stats } = cgroup;
  const own = sample.cgroups.filter((item) => item.pod === pod && item !== cgroup);
  const interfaces = own.flatMap((item) => item.interfaces);
  const containers = own
    .filter(({ container }) => container !== undefined)
    .map((item) => containerSummary(item, inputs, time));
  const used = containers.reduce((sum, item) => {
    const { rootfs, logs } = item as { rootfs?: { usedBytes?: number }; logs?: { usedBytes?: number } };
    return sum + (rootfs?.usedBytes ?? 0) + (logs?.usedBytes ?? 0);
  }, 0);
  const volumes = inputs.volumes(pod?.uid ?? '');
  const inVolumes = volumes.filter(({ isLocal }) => isLocal).reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  const { usedBytes: _, inodesUsed: __, ...disk } = inputs.nodeFs ?? { usedBytes: 0, inodesUsed: 0 };
  const started = pod?.sandboxes[0]?.createdAtMs ?? stats.createdAtMs;
  return {
    podRef: { name: pod?.name, namespace: pod?.namespace, uid: pod?.uid },
    startTime: iso(started),
    containers,
    cpu: cpu(cgroup, time),
    memory: memory(stats, time),
    network: network(interfaces, time),
    ...(volumes.length > 0 ? { volume: volumes.map((volume) => volumeSummary(volume, time)) } : {}),
    'ephemeral-storage': { time, ...disk, usedBytes: used + inVolumes },
    process_stats: { process_count: own.reduce((sum, item) => sum + item.stats.processes.length, 0) },
    swap: { time, swapUsageBytes: stats.memory.swap },
  };
}

/** Computes the summary; with `onlyCpuAndMemory` all else is left out. */
export function computeSummary(sample: NodeSample, inputs: SummaryInputs, onlyCpuAndMemory: boolean): Json {
  const time = iso(sample.atMs);
  const root = sample.cgroups.find(({ id }) => id === '/');
  const pods = podCgroups(sample).map((cgroup) => podSummary(cgroup, sample, inputs, time));
  if (onlyCpuAndMemory) {
    for (const pod of pods) {
      for (const key of ['network', 'volume', 'ephemeral-storage', 'process_stats']) delete pod[key];
      for (const container of pod['containers'] as Json[]) for (const key of ['rootfs', 'logs']) delete container[key];
    }
  }
  const node: Json = {
    nodeName: inputs.nodeName,
    startTime: iso(inputs.bootedAtMs),
    ...(root === undefined ? {} : { cpu: cpu(root, time), memory: memory(root.stats, time, inputs.memoryBytes) }),
  };
  if (!onlyCpuAndMemory) {
    node['network'] = network(root?.interfaces ?? [], time);
    node['fs'] = filesystem(inputs.nodeFs, time);
    node['runtime'] = { imageFs: filesystem(inputs.imageFs, time), containerFs: filesystem(inputs.imageFs, time) };
    node['rlimit'] = { time, maxpid: inputs.maxPids, curproc: inputs.processes };
    if (root !== undefined) node['swap'] = { time, swapUsageBytes: root.stats.memory.swap };
  }
  return { node, pods };
}
