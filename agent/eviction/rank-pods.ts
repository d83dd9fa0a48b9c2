// In which order pods have to go when a resource is short: those that use more than they asked for, then by priority,
// then by how much they use (pkg/kubelet/eviction/helpers.go). Pure.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { podRequests } from '#kube/api/pod-resources.ts';
import { resourceOfSignal, type Signal } from './thresholds.ts';

/** What one container uses. */
export interface ContainerUsage {
  memoryBytes: number | undefined;
  /** What it wrote, and its logs. */
  rootBytes: number;
  rootInodes: number;
  logBytes: number;
  logInodes: number;
}

/** What one pod uses; undefined where it cannot be told. */
export interface PodUsage {
  memoryBytes: number | undefined;
  processes: number;
  volumeBytes: number;
  volumeInodes: number;
  containers: ReadonlyMap<string, ContainerUsage>;
}

/** Whether images and containers have file systems of their own, beside that of volumes and logs. */
export type DiskLayout = 'one' | 'imagefs' | 'split';

type DiskPart = 'root' | 'logs' | 'volumes';

/** Where a pod stands. */
export interface RankedPod {
  pod: Pod;
  usage: number | undefined;
  request: number;
  exceeds: boolean;
}

/** What of a pod's use of the disk counts for a signal. */
export function diskParts(signal: Signal, layout: DiskLayout): readonly DiskPart[] {
  const isNode = signal.startsWith('nodefs');
  switch (layout) {
    case 'one':
      return ['root', 'logs', 'volumes'];
    case 'imagefs':
      return isNode ? ['logs', 'volumes'] : ['root'];
    case 'split':
      return signal.startsWith('imagefs') ? [] : ['root', 'logs', 'volumes'];
  }
}

function diskUse(usage: PodUsage, parts: readonly DiskPart[], inodes: boolean): number {
  let sum = 0;
  for (const container of usage.containers.values()) {
    if (parts.includes('root')) sum += inodes ? container.rootInodes : container.rootBytes;
    if (parts.includes('logs')) sum += inodes ? container.logInodes : container.logBytes;
  }
  if (parts.includes('volumes')) sum += inodes ? usage.volumeInodes : usage.volumeBytes;
  return sum;
}

function usageFor(signal: Signal, layout: DiskLayout, usage: PodUsage | undefined): number | undefined {
  if (usage === undefined) return undefined;
  switch (resourceOfSignal[signal]) {
    case 'memory':
      return usage.memoryBytes;
    case 'pids':
      return usage.processes;
    case 'inodes':
      return diskUse(usage, diskParts(signal, layout), true);
    case 'ephemeral-storage':
      return diskUse(usage, diskParts(signal, layout), false);
  }
}

/** Puts the pods in order, the first to go first. */
export function rankPods(
  pods: readonly Pod[],
  signal: Signal,
  usageOf: (pod: Pod) => PodUsage | undefined,
  layout: DiskLayout,
): RankedPod[] {
  const resource = resourceOfSignal[signal];
  const ranked = pods.map((pod): RankedPod => {
    const usage = usageFor(signal, layout, usageOf(pod));
    const request = podRequests(pod).get(resource) ?? 0;
    // Of process ids nothing can be asked for.
    const exceeds = resource !== 'pids' && (usage === undefined || usage > request);
    return { pod, usage, request, exceeds };
  });
  const over = ({ usage, request }: RankedPod) => (usage === undefined ? Number.POSITIVE_INFINITY : usage - request);
  return ranked.sort((a, b) => {
    if (a.exceeds !== b.exceeds) return a.exceeds ? -1 : 1;
    const priority = (a.pod.spec.priority ?? 0) - (b.pod.spec.priority ?? 0);
    if (priority !== 0) return priority;
    const [x, y] = [over(a), over(b)];
    return x === y ? 0 : y - x;
  });
}
