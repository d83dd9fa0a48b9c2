// Limits of the cgroups of pods and classes from what pods ask for (pkg/kubelet/cm/helpers_linux.go). Pure.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { podLimits, podRequests, type ResourceAmounts } from '#kube/api/pod-resources.ts';
import { milliCpuToQuota, milliCpuToShares } from '../container/container-resources.ts';
import { containersOf } from '../container/pod-containers.ts';
import type { CgroupLimits } from './cgroup-fs.ts';

/** Settings of the node. */
export interface LimitSettings {
  cpuCfsQuota: boolean;
  cpuCfsQuotaPeriodMs: number;
  /** Negative: no limit. */
  podPidsLimit: number;
  /** Page sizes of the machine, as the kernel names them. */
  hugepageSizes?: readonly string[] | undefined;
  /** The feature MemoryQoS: what pods ask for is kept from being reclaimed. */
  memoryQos?: boolean | undefined;
}

/** Whether every container has a limit for the resource: only then the pod as a whole has one. */
function allLimited(pod: Pod, resource: string): boolean {
  if (pod.spec.resources?.limits?.[resource] !== undefined) return true;
  return containersOf(pod)
    .filter(({ kind }) => kind !== 'ephemeral')
    .every(({ container }) => container.resources?.limits?.[resource] !== undefined);
}

/** Limits of one pod's cgroup. */
export function computePodLimits(pod: Pod, settings: LimitSettings): CgroupLimits {
  const requests = podRequests(pod);
  const limits = podLimits(pod);
  const periodUs = settings.cpuCfsQuotaPeriodMs * 1000;
  const shares = milliCpuToShares(requests.get('cpu') ?? limits.get('cpu') ?? 0);
  const qos = qosClassOf(pod);
  const quota =
    qos !== 'BestEffort' && settings.cpuCfsQuota && allLimited(pod, 'cpu')
      ? milliCpuToQuota(limits.get('cpu') ?? 0, periodUs)
      : 0;
  const memory = qos !== 'BestEffort' && allLimited(pod, 'memory') ? (limits.get('memory') ?? 0) : 0;
  return {
    cpuShares: qos === 'BestEffort' ? 2 : shares,
    ...(quota > 0 ? { cpuPeriodUs: periodUs, cpuQuotaUs: quota } : {}),
    ...(memory > 0 ? { memoryBytes: memory } : {}),
    ...(settings.podPidsLimit > 0 ? { pids: settings.podPidsLimit } : {}),
    ...hugepageLimits(limits, settings.hugepageSizes ?? []),
    ...(settings.memoryQos === true ? { memoryMinBytes: requests.get('memory') ?? 0 } : {}),
  };
}

/** What may be used of each page size: nothing where nothing was asked for. */
function hugepageLimits(limits: ResourceAmounts, sizes: readonly string[]): Pick<CgroupLimits, 'hugepages'> {
  if (sizes.length === 0) return {};
  const bytes = (size: string) => limits.get(`hugepages-${size.replace(/B$/, 'i')}`) ?? 0;
  return { hugepages: Object.fromEntries(sizes.map((size) => [size, bytes(size)])) };
}

/** Shares of the burstable class: the sum of what its pods ask for. */
export function computeBurstableShares(pods: readonly Pod[]): number {
  const total = pods
    .filter((pod) => qosClassOf(pod) === 'Burstable')
    .reduce((sum, pod) => sum + (podRequests(pod).get('cpu') ?? 0), 0);
  return milliCpuToShares(total);
}

/** What all pods together may have: the machine without what is reserved. Evictions begin before that is used up. */
export function computePodsShare(capacity: ResourceAmounts, reserved: readonly ResourceAmounts[]): ResourceAmounts {
  const left = (name: string, amount: number) =>
    Math.max(amount - reserved.reduce((sum, amounts) => sum + (amounts.get(name) ?? 0), 0), 0);
  return new Map([...capacity].map(([name, amount]) => [name, left(name, amount)]));
}

/** Limits of the cgroup of all pods. */
export function computeNodeLimits(
  share: ResourceAmounts,
  enforce: boolean,
  sizes: readonly string[] = [],
): CgroupLimits {
  return {
    cpuShares: milliCpuToShares(share.get('cpu') ?? 0),
    ...(enforce
      ? {
          memoryBytes: share.get('memory') ?? -1,
          ...(share.has('pid') ? { pids: share.get('pid') } : {}),
          ...hugepageLimits(share, sizes),
        }
      : {}),
  };
}

/** Limits of a cgroup to which something is reserved; `compressible`: only of its share of the processors. */
export function computeReservedLimits(reserved: ResourceAmounts, compressible: boolean): CgroupLimits {
  const shares = reserved.has('cpu') ? { cpuShares: milliCpuToShares(reserved.get('cpu') ?? 0) } : {};
  if (compressible) return shares;
  return {
    ...shares,
    ...(reserved.has('memory') ? { memoryBytes: reserved.get('memory') } : {}),
    ...(reserved.has('pid') ? { pids: reserved.get('pid') } : {}),
  };
}

/** What the classes keep from being reclaimed: the sum of what their pods ask for. */
export function computeMemoryMin(pods: readonly Pod[]): { all: number; burstable: number } {
  const sum = (list: readonly Pod[]) => list.reduce((total, pod) => total + (podRequests(pod).get('memory') ?? 0), 0);
  return { all: sum(pods), burstable: sum(pods.filter((pod) => qosClassOf(pod) === 'Burstable')) };
}
