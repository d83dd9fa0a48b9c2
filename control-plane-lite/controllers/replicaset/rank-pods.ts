// Which pods of a replica set are deleted first when there are too many.
// Order: upstream's ActivePodsWithRanks (pkg/controller/controller_utils.go).
import { findCondition } from '#kube/api/conditions.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { isPodReady, isPodScheduled } from '#kube/api/pod-state.ts';
import { parseTime } from '#kube/api/time.ts';

const phaseOrder: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };
const deletionCostAnnotation = 'controller.kubernetes.io/pod-deletion-cost';

interface Ranked {
  pod: Pod;
  scheduled: boolean;
  phase: number;
  ready: boolean;
  cost: number;
  neighbours: number;
  readySinceMs: number;
  restarts: number;
  createdMs: number;
}

function deletionCost(pod: Pod): number {
  const text = pod.metadata.annotations?.[deletionCostAnnotation] ?? '0';
  return /^(0|-?[1-9]\d*)$/.test(text) ? Number(text) : 0;
}

/** Ages within the same power of two count as equal, so that the choice among them is not by age. */
function ageStep(sinceMs: number, nowMs: number): number {
  return Math.floor(Math.log2(Math.max(1, nowMs - sinceMs)));
}

function compare(a: Ranked, b: Ranked, nowMs: number): number {
  if (a.scheduled !== b.scheduled) return a.scheduled ? 1 : -1;
  if (a.phase !== b.phase) return a.phase - b.phase;
  if (a.ready !== b.ready) return a.ready ? 1 : -1;
  if (a.cost !== b.cost) return a.cost - b.cost;
  if (a.neighbours !== b.neighbours) return b.neighbours - a.neighbours;
  if (a.ready && a.readySinceMs !== b.readySinceMs) {
    const difference = ageStep(a.readySinceMs, nowMs) - ageStep(b.readySinceMs, nowMs);
    if (difference !== 0) return difference;
  }
  if (a.restarts !== b.restarts) return b.restarts - a.restarts;
  const difference = ageStep(a.createdMs, nowMs) - ageStep(b.createdMs, nowMs);
  if (difference !== 0) return difference;
  return (a.pod.metadata.uid ?? '') < (b.pod.metadata.uid ?? '') ? -1 : 1;
}

/**
 * The `count` pods to delete. `podsOnNode` counts the active pods of the same owner family on a node: of two equal
 * pods the one with more neighbours goes.
 */
export function selectPodsToDelete(
  pods: readonly Pod[],
  count: number,
  podsOnNode: ReadonlyMap<string, number>,
  nowMs: number,
): Pod[] {
  if (count >= pods.length) return [...pods];
  const ranked = pods.map((pod): Ranked => {
    const readySince = findCondition(pod.status?.conditions, 'Ready')?.lastTransitionTime;
    return {
      pod,
      scheduled: isPodScheduled(pod),
      phase: phaseOrder[pod.status?.phase ?? ''] ?? 0,
      ready: isPodReady(pod),
      cost: deletionCost(pod),
      neighbours: podsOnNode.get(pod.spec?.nodeName ?? '') ?? 0,
      readySinceMs: parseTime(readySince) ?? nowMs,
      restarts: Math.max(0, ...(pod.status?.containerStatuses ?? []).map((status) => status.restartCount)),
      createdMs: parseTime(pod.metadata.creationTimestamp) ?? nowMs,
    };
  });
  ranked.sort((a, b) => compare(a, b, nowMs));
  return ranked.slice(0, Math.max(0, count)).map(({ pod }) => pod);
}
