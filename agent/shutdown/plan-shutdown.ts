// In which order pods end with their machine, and how long each has (pkg/kubelet/nodeshutdown). Pure.
import type { Pod } from '#kube/api/generated/core-v1.ts';

/** Pods of at least this priority, up to the next period's, have so long. */
export interface ShutdownPeriod {
  priority: number;
  graceMs: number;
}

/** Pods that end together. */
export interface ShutdownGroup extends ShutdownPeriod {
  pods: Pod[];
}

/** Pods of this priority or above are critical: system-cluster-critical. */
const criticalPriority = 2_000_000_000;

/**
 * The periods of the configuration, the lowest priority first; none when pods are not ended with the machine.
 * `shutdownGracePeriod` contains the time of the critical pods.
 */
export function shutdownPeriods(
  graceMs: number,
  criticalMs: number,
  byPriority: readonly { priority: number; shutdownGracePeriodSeconds: number }[],
): ShutdownPeriod[] {
  if (byPriority.length > 0) {
    return byPriority
      .map(({ priority, shutdownGracePeriodSeconds }) => ({ priority, graceMs: shutdownGracePeriodSeconds * 1000 }))
      .sort((a, b) => a.priority - b.priority);
  }
  if (graceMs <= 0) return [];
  return [
    { priority: 0, graceMs: graceMs - criticalMs },
    { priority: criticalPriority, graceMs: criticalMs },
  ];
}

/** Everything that pods may need together. */
export function totalGraceMs(periods: readonly ShutdownPeriod[]): number {
  return periods.reduce((sum, { graceMs }) => sum + graceMs, 0);
}

/** Groups in the order in which they end; pods below the lowest priority belong to the first. */
export function planShutdown(pods: readonly Pod[], periods: readonly ShutdownPeriod[]): ShutdownGroup[] {
  const groups = periods.map((period) => ({ ...period, pods: [] as Pod[] }));
  for (const pod of pods) {
    const priority = pod.spec.priority ?? 0;
    const group = groups.findLast((candidate) => candidate.priority <= priority) ?? groups[0];
    group?.pods.push(pod);
  }
  return groups.filter((group) => group.pods.length > 0);
}

/** Seconds that a pod has: its own time, unless its group's is shorter. */
export function shutdownGraceSeconds(pod: Pod, { graceMs }: ShutdownPeriod): number {
  const own = pod.spec.terminationGracePeriodSeconds ?? 30;
  return Math.min(own, Math.floor(graceMs / 1000));
}
