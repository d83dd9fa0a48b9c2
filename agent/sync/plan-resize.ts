// What a running container needs so that it has the resources allocated to it: nothing, an update, or a restart where
// its policy asks for one (pkg/kubelet/kuberuntime/kuberuntime_manager.go: computePodResizeAction). Pure.
import type { Container, ResourceRequirements } from '#kube/api/generated/core-v1.ts';
import { milliValue, quantityValue } from '#kube/api/quantity.ts';
import type { RuntimeContainer } from '../runtime-cache/pod-runtime.ts';

/** At or below these the kernel makes no difference. */
const minCpuRequestMilli = 2;
const minCpuLimitMilli = 10;

export type ResizedResource = 'cpu' | 'memory';

/** One call to the runtime about one resource of one container. */
export interface ContainerUpdate {
  container: Container;
  target: RuntimeContainer;
  resource: ResizedResource;
  /** What the container has, and what it gets. */
  before: ResourceRequirements;
  after: ResourceRequirements;
  /** Updates that take come before those that give. */
  direction: 'decrease' | 'increase';
}

/** Numbers the kernel sees: thousandths of a processor, bytes; 0 for no limit. */
export interface KernelAmounts {
  cpuRequest: number;
  cpuLimit: number;
  memoryLimit: number;
}

/** Amounts of one container; the limit stands in for an absent request. */
export function kernelAmounts({ requests, limits }: ResourceRequirements): KernelAmounts {
  const cpuLimit = milliValue(limits?.['cpu'] ?? '0');
  const request = requests?.['cpu'];
  return {
    cpuRequest: request === undefined ? cpuLimit : milliValue(request),
    cpuLimit,
    memoryLimit: quantityValue(limits?.['memory']),
  };
}

function differ(a: number, b: number, least: number): boolean {
  return a !== b && !(a <= least && b <= least);
}

/** Which resources differ, and whether the container gets less of them. */
function changes(before: KernelAmounts, after: KernelAmounts): [ResizedResource, ContainerUpdate['direction']][] {
  const found: [ResizedResource, ContainerUpdate['direction']][] = [];
  const direction = (from: number, to: number) => (to < from ? 'decrease' : 'increase');
  if (before.memoryLimit !== after.memoryLimit) {
    found.push(['memory', direction(before.memoryLimit, after.memoryLimit)]);
  }
  if (differ(before.cpuLimit, after.cpuLimit, minCpuLimitMilli)) {
    found.push(['cpu', direction(before.cpuLimit, after.cpuLimit)]);
  } else if (differ(before.cpuRequest, after.cpuRequest, minCpuRequestMilli)) {
    found.push(['cpu', direction(before.cpuRequest, after.cpuRequest)]);
  }
  return found;
}

/** Compares what a running container was given by the runtime with what its (allocated) definition says. */
export function planContainerResize(
  container: Container,
  target: RuntimeContainer,
  before: ResourceRequirements,
): { restart: boolean; updates: ContainerUpdate[] } {
  const after = container.resources ?? {};
  const changed = changes(kernelAmounts(before), kernelAmounts(after));
  const restart = changed.some(([resource]) =>
    (container.resizePolicy ?? []).some(
      ({ resourceName, restartPolicy }) => resourceName === resource && restartPolicy === 'RestartContainer',
    ),
  );
  if (restart) return { restart, updates: [] };
  const updates = changed.map(([resource, direction]) => ({ container, target, resource, before, after, direction }));
  return { restart, updates };
}
