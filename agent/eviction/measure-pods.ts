// What pods use of memory, processes and disk, measured when the node is short of something and pods are put in order.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import type { PodRuntime } from '../runtime-cache/pod-runtime.ts';
import type { CgroupStatsReader } from '../stats/cgroup-stats.ts';
import { measureDirectory } from '../volume/measure-usage.ts';
import type { VolumeManager } from '../volume/volume-manager.ts';
import { isOnLocalDisk } from './plan-local-storage-eviction.ts';
import type { ContainerUsage, PodUsage } from './rank-pods.ts';

export interface MeasureOptions {
  reader: CgroupStatsReader;
  runtime: Pick<RuntimeService, 'listContainerStats'>;
  volumes: Pick<VolumeManager, 'mounted'>;
  runtimeOf(podUid: string): PodRuntime | undefined;
  pathOf(pod: Pod): string;
  /** The directory of a pod's logs. */
  logsOf(pod: Pod): string;
}

/** What a container wrote into its own file system. */
type Written = ReadonlyMap<string, { bytes: number; inodes: number }>;

async function sizeOf(path: string): Promise<{ usedBytes: number; inodesUsed: number }> {
  // Not there, or gone while it was counted.
  return measureDirectory(path).catch(() => ({ usedBytes: 0, inodesUsed: 0 }));
}

async function measurePod(
  options: MeasureOptions,
  pod: Pod,
  written: Written | undefined,
): Promise<PodUsage | undefined> {
  const { reader } = options;
  const uid = pod.metadata.uid ?? '';
  const path = options.pathOf(pod);
  const own = reader.read(path);
  const runtime = options.runtimeOf(uid);
  if (own === undefined && runtime === undefined) return undefined;
  const groups = reader.children(path);
  const containers = new Map<string, ContainerUsage>();
  for (const { id, name, state } of runtime?.containers ?? []) {
    const before = containers.get(name);
    const group = state === 'running' ? groups.find((item) => item.includes(id)) : undefined;
    const memoryBytes = group === undefined ? before?.memoryBytes : reader.read(`${path}/${group}`)?.memory.workingSet;
    const logs =
      before !== undefined || written === undefined
        ? { usedBytes: before?.logBytes ?? 0, inodesUsed: before?.logInodes ?? 0 }
        : await sizeOf(`${options.logsOf(pod)}/${name}`);
    containers.set(name, {
      memoryBytes,
      rootBytes: (before?.rootBytes ?? 0) + (written?.get(id)?.bytes ?? 0),
      rootInodes: (before?.rootInodes ?? 0) + (written?.get(id)?.inodes ?? 0),
      logBytes: logs.usedBytes,
      logInodes: logs.inodesUsed,
    });
  }
  let volumeBytes = 0;
  let volumeInodes = 0;
  for (const { request, measure } of written === undefined ? [] : options.volumes.mounted(uid)) {
    if (request.bound !== undefined || !isOnLocalDisk(request.volume)) continue;
    const usage = await measure().catch(() => undefined);
    volumeBytes += usage?.usedBytes ?? 0;
    volumeInodes += usage?.inodesUsed ?? 0;
  }
  const memoryBytes = own?.memory.workingSet;
  return { memoryBytes, processes: own?.threads ?? 0, volumeBytes, volumeInodes, containers };
}

/** Measures all pods; their disks only `withDisk`, which takes a walk through their files. */
export async function measurePods(
  options: MeasureOptions,
  pods: readonly Pod[],
  withDisk: boolean,
  signal: AbortSignal,
): Promise<(pod: Pod) => PodUsage | undefined> {
  let written: Written | undefined;
  if (withDisk) {
    const stats = await options.runtime.listContainerStats(signal).catch(() => []);
    written = new Map(
      stats.map(({ attributes, writableLayer }) => [
        attributes?.id ?? '',
        {
          bytes: Number(writableLayer?.usedBytes?.value ?? 0),
          inodes: Number(writableLayer?.inodesUsed?.value ?? 0),
        },
      ]),
    );
  }
  const usage = new Map<Pod, PodUsage | undefined>();
  for (const pod of pods) {
    signal.throwIfAborted();
    usage.set(pod, await measurePod(options, pod, written));
  }
  return (pod) => usage.get(pod);
}
