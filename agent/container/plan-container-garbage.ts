// Which dead containers go: of each container of a pod the newest few stay, so that their logs can be read and the
// number of restarts is known (pkg/kubelet/kuberuntime/kuberuntime_gc.go). Pure.
import type { PodRuntime, RuntimeContainer } from '../runtime-cache/pod-runtime.ts';

/** The node's flags about dead containers. */
export interface ContainerGarbagePolicy {
  minAgeMs: number;
  /** Of each container of a pod; negative: no limit. */
  maxPerContainer: number;
  /** On the whole node; negative: no limit. */
  maxTotal: number;
}

/** How many ended runs of each container may go at once, without a look at the whole node, is what is beyond these. */
export function keptRuns({ minAgeMs, maxPerContainer }: ContainerGarbagePolicy): number {
  return minAgeMs > 0 || maxPerContainer < 0 ? Number.POSITIVE_INFINITY : Math.max(maxPerContainer, 1);
}

const newestFirst = (a: RuntimeContainer, b: RuntimeContainer) => b.createdAtMs - a.createdAtMs;

function limitEach(units: Map<string, RuntimeContainer[]>, most: number): RuntimeContainer[] {
  const surplus: RuntimeContainer[] = [];
  for (const [key, unit] of units) {
    surplus.push(...unit.slice(most));
    units.set(key, unit.slice(0, most));
  }
  return surplus;
}

/** Selects the containers to remove; with `all` also what pods that have ended left behind. */
export function planContainerGarbage(
  pods: readonly PodRuntime[],
  policy: ContainerGarbagePolicy,
  { nowMs, hasEnded }: { nowMs: number; hasEnded(podUid: string): boolean },
): RuntimeContainer[] {
  const units = new Map<string, RuntimeContainer[]>();
  const gone: RuntimeContainer[] = [];
  for (const { uid, containers } of pods) {
    for (const container of containers) {
      if (container.state !== 'exited' && container.state !== 'created') continue;
      if (nowMs - container.createdAtMs < policy.minAgeMs) continue;
      if (container.state === 'created' && nowMs - container.createdAtMs < 60_000) continue;
      if (hasEnded(uid)) gone.push(container);
      else units.set(`${uid}/${container.name}`, [...(units.get(`${uid}/${container.name}`) ?? []), container]);
    }
  }
  for (const unit of units.values()) unit.sort(newestFirst);
  const surplus = policy.maxPerContainer < 0 ? [] : limitEach(units, policy.maxPerContainer);
  const left = [...units.values()].flat();
  if (policy.maxTotal < 0 || left.length <= policy.maxTotal) return [...gone, ...surplus];
  // Fewer of each, but one of each where that is possible; then the oldest.
  const each = Math.max(Math.floor(policy.maxTotal / units.size), 1);
  surplus.push(...limitEach(units, each));
  const rest = [...units.values()].flat().sort(newestFirst);
  return [...gone, ...surplus, ...rest.slice(policy.maxTotal)];
}
