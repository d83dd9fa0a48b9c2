// The order in which a pod's cgroup and its containers get other limits: what grows, grows outside first; what shrinks,
// shrinks inside first (pkg/kubelet/kuberuntime/kuberuntime_manager.go: doPodResizeAction). Pure.
import type { CgroupLimits, CgroupState } from '../cgroup/cgroup-fs.ts';
import type { ContainerUpdate } from './plan-resize.ts';

export type ResizeStep = { type: 'pod'; limits: CgroupLimits } | { type: 'container'; update: ContainerUpdate };

const takesFirst = (a: ContainerUpdate, b: ContainerUpdate): number =>
  Number(a.direction === 'increase') - Number(b.direction === 'increase');

function updatesOf(updates: readonly ContainerUpdate[], resource: ContainerUpdate['resource']): ResizeStep[] {
  return updates
    .filter((update) => update.resource === resource)
    .sort(takesFirst)
    .map((update) => ({ type: 'container', update }));
}

/** One limit of the pod around the steps of its containers. */
function around(from: number, to: number | undefined, limits: CgroupLimits, inner: ResizeStep[]): ResizeStep[] {
  if (to === undefined || to === from) return inner;
  const step: ResizeStep = { type: 'pod', limits };
  return to > from ? [step, ...inner] : [...inner, step];
}

/** Memory first, then processors; limits that the pod is not to have stay as they are. */
export function planPodResize(
  current: CgroupState,
  target: CgroupLimits,
  updates: readonly ContainerUpdate[],
): ResizeStep[] {
  const { memoryBytes, cpuQuotaUs, cpuPeriodUs, cpuShares } = target;
  const memory = around(current.memoryBytes, memoryBytes, { memoryBytes }, updatesOf(updates, 'memory'));
  const shares = around(current.cpuShares, cpuShares, { cpuShares }, updatesOf(updates, 'cpu'));
  const cpu = around(current.cpuQuotaUs, cpuQuotaUs, { cpuPeriodUs, cpuQuotaUs }, shares);
  return [...memory, ...cpu];
}

/** Why a memory limit must not be set: it is below what is in use already. Undefined where it may. */
export function memoryProblem(what: string, usageBytes: number | undefined, limitBytes: number): string | undefined {
  if (usageBytes === undefined || limitBytes === 0 || usageBytes < limitBytes) return undefined;
  return `attempting to set ${what} memory limit (${limitBytes}) below current usage (${usageBytes})`;
}
