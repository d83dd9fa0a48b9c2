// Requests and limits as the numbers the kernel takes: shares, quota, bytes and the score of the OOM killer.
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { amountsOf, isSidecar, type ResourceAmounts } from '#kube/api/pod-resources.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import type { LinuxContainerResources } from '#proto/generated/cri/runtime/v1/LinuxContainerResources.ts';
import { type UnifiedMemorySettings, unifiedMemory } from './unified-memory.ts';

const minShares = 2;
const maxShares = 262144;
const minQuotaUs = 1000;
const systemCriticalPriority = 2_000_000_000;

/** What the node and the configuration contribute. */
export interface ResourceSettings {
  memoryCapacityBytes: number;
  /** Sizes as the runtime names them, for example 2MB. */
  hugepageSizes: string[];
  cpuCfsQuota: boolean;
  cpuCfsQuotaPeriodMs: number;
  /** Where cgroups are of version 2. */
  unified?: UnifiedMemorySettings | undefined;
}

/** cpu.shares of so many thousandths of a processor. */
export function milliCpuToShares(milliCpu: number): number {
  if (milliCpu === 0) return minShares;
  return Math.min(Math.max(Math.floor((milliCpu * 1024) / 1000), minShares), maxShares);
}

/** Microseconds of processor time in each period, 0 for no limit. */
export function milliCpuToQuota(milliCpu: number, periodUs: number): number {
  return milliCpu === 0 ? 0 : Math.max(Math.floor((milliCpu * periodUs) / 1000), minQuotaUs);
}

function memoryRequest(container: Container): number {
  return quantityValue(container.resources?.requests?.['memory']);
}

function burstableOomScore(requestBytes: number, capacityBytes: number): number {
  const score = 1000 - Math.floor((1000 * requestBytes) / capacityBytes);
  // Above every guaranteed pod, below every best effort one.
  if (score < 3) return 3;
  return score === 1000 ? 999 : score;
}

/** Each container's part of what the pod requests as a whole beyond what its containers do. */
function sharedMemory(pod: Pod): number {
  const whole = pod.spec.resources?.requests?.['memory'];
  if (whole === undefined) return 0;
  const running = [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter(isSidecar)];
  const own = running.reduce((sum, container) => sum + memoryRequest(container), 0);
  return Math.max(Math.floor((quantityValue(whole) - own) / running.length), 0);
}

/** oom_score_adj of a container's processes (pkg/kubelet/qos/policy.go). */
export function oomScoreAdj(pod: Pod, container: Container, memoryCapacityBytes: number): number {
  if ((pod.spec.priority ?? 0) >= systemCriticalPriority) return -997;
  switch (qosClassOf(pod)) {
    case 'Guaranteed':
      return -997;
    case 'BestEffort':
      return 1000;
    default: {
      const shared = sharedMemory(pod);
      const own = burstableOomScore(memoryRequest(container) + shared, memoryCapacityBytes);
      const sidecar = pod.spec.initContainers?.some((item) => item.name === container.name) && isSidecar(container);
      if (!sidecar) return own;
      const least = Math.min(...pod.spec.containers.map(memoryRequest));
      return Math.min(own, burstableOomScore(least + shared, memoryCapacityBytes));
    }
  }
}

/** cpu request and limit in thousandths, the limit standing in for an absent request. */
function cpuOf(requests: ResourceAmounts, limits: ResourceAmounts) {
  const limit = limits.get('cpu') ?? 0;
  const request = requests.get('cpu') ?? limit;
  return { request, limit };
}

function linuxResources(
  requests: ResourceAmounts,
  limits: ResourceAmounts,
  settings: ResourceSettings,
): LinuxContainerResources {
  const cpu = cpuOf(requests, limits);
  const periodUs = settings.cpuCfsQuotaPeriodMs * 1000;
  const memoryLimit = limits.get('memory') ?? 0;
  const quota = settings.cpuCfsQuota ? milliCpuToQuota(cpu.limit, periodUs) : 0;
  return {
    cpuShares: milliCpuToShares(cpu.request),
    ...(settings.cpuCfsQuota ? { cpuPeriod: periodUs } : {}),
    ...(quota > 0 ? { cpuQuota: quota } : {}),
    ...(memoryLimit > 0 ? { memoryLimitInBytes: memoryLimit } : {}),
  };
}

/** The resources of one container. */
export function containerResources(
  pod: Pod,
  container: Container,
  settings: ResourceSettings,
): LinuxContainerResources {
  const { requests, limits } = container.resources ?? {};
  const memoryLimit = quantityValue(limits?.['memory']);
  const unified = settings.unified === undefined ? {} : unifiedMemory(pod, container, settings.unified);
  const swaps = settings.unified?.swapBehavior === 'LimitedSwap' && settings.unified.swapBytes > 0;
  return {
    ...linuxResources(amountsOf(requests), amountsOf(limits), settings),
    ...(memoryLimit > 0 && !swaps ? { memorySwapLimitInBytes: memoryLimit } : {}),
    ...(Object.keys(unified).length > 0 ? { unified } : {}),
    oomScoreAdj: oomScoreAdj(pod, container, settings.memoryCapacityBytes),
    hugepageLimits: settings.hugepageSizes.map((pageSize) => ({
      pageSize,
      limit: hugepageLimit(limits, pageSize),
    })),
  };
}

function hugepageLimit(limits: Record<string, string> | undefined, pageSize: string): number {
  const name = `hugepages-${pageSize.replace(/B$/, 'i')}`;
  return quantityValue(limits?.[name]);
}

/** The resources of a whole pod, for its sandbox; amounts as kube/api/pod-resources counts them. */
export function sandboxResources(
  requests: ResourceAmounts,
  limits: ResourceAmounts,
  settings: ResourceSettings,
): LinuxContainerResources {
  return linuxResources(requests, limits, settings);
}
