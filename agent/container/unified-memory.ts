// What version 2 cgroups can do with a container's memory beyond its limit: whether it ends as a whole when memory is
// short (singleProcessOOMKill), how much of it may be swapped
// (memorySwap.swapBehavior), and with the feature MemoryQoS what is kept from being reclaimed and where it is slowed
// down (pkg/kubelet/kuberuntime/kuberuntime_container_linux.go). Pure.
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { quantityValue } from '#kube/api/quantity.ts';

const pageBytes = 4096;

/** Settings of a node with version 2 cgroups. */
export interface UnifiedMemorySettings {
  swapBehavior: 'NoSwap' | 'LimitedSwap';
  swapBytes: number;
  memoryBytes: number;
  memoryQos: boolean;
  /** Whether the kernel ends all processes of a container when it ends one for want of memory. */
  groupOomKill: boolean;
  throttlingFactor: number;
}

/** Bytes of swap for a container: as much of it as it asked for of the memory. */
function swapLimit(pod: Pod, container: Container, settings: UnifiedMemorySettings): number {
  const request = quantityValue(container.resources?.requests?.['memory']);
  const limit = quantityValue(container.resources?.limits?.['memory']);
  const critical = (pod.spec.priority ?? 0) >= 2_000_000_000;
  if (settings.swapBehavior === 'NoSwap' || critical || qosClassOf(pod) !== 'Burstable') return 0;
  if (request === 0 || (limit > 0 && limit === request)) return 0;
  return Math.trunc((request / settings.memoryBytes) * settings.swapBytes);
}

/** Files of the container's cgroup and their contents. */
export function unifiedMemory(pod: Pod, container: Container, settings: UnifiedMemorySettings): Record<string, string> {
  const files: Record<string, string> = {};
  if (settings.groupOomKill) files['memory.oom.group'] = '1';
  if (settings.swapBytes > 0) files['memory.swap.max'] = `${swapLimit(pod, container, settings)}`;
  if (!settings.memoryQos) return files;
  const request = quantityValue(container.resources?.requests?.['memory']);
  const limit = quantityValue(container.resources?.limits?.['memory']) || settings.memoryBytes;
  if (request > 0) files['memory.min'] = `${request}`;
  if (qosClassOf(pod) === 'Guaranteed') return files;
  const high = Math.floor((request + settings.throttlingFactor * (limit - request)) / pageBytes) * pageBytes;
  if (high > request) files['memory.high'] = `${high}`;
  return files;
}
