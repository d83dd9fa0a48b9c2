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
  };
}

/** Shares of the burstable class: the sum of what its pods ask for. */
export function computeBurstableShares(pods: readonly Pod[]): number {
  const total = pods
    .filter((pod) => qosClassOf(pod) === 'Burstable')
    .reduce((sum, pod) => sum + (podRequests(pod).get('cpu') ?? 0), 0);
  return milliCpuToShares(total);
}

/** Limits of the cgroup of all pods, which enforce the node's allocatable. */
export function computeNodeLimits(allocatable: ResourceAmounts, enforce: boolean): CgroupLimits {
  return {
    cpuShares: milliCpuToShares(allocatable.get('cpu') ?? 0),
    ...(enforce ? { memoryBytes: allocatable.get('memory') ?? -1 } : {}),
  };
}
