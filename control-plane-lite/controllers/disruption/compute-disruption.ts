// How many pods of a PodDisruptionBudget may be evicted now. Pure.
// Behaviour: upstream's pkg/controller/disruption.
import { findCondition, withCondition } from '#kube/api/conditions.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { PodDisruptionBudget, PodDisruptionBudgetStatus } from '#kube/api/generated/policy-v1.ts';
import { scaledIntOrPercent } from '#kube/api/int-or-string.ts';
import { isPodReady, isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import { formatTime, parseTime } from '#kube/api/time.ts';

/** An eviction that was granted and has not led to a deletion is forgotten after this time. */
export const disruptedPodTimeoutMs = 120_000;

/** Whether the sizes of the pods' controllers count; a plain number of pods to keep needs none. */
export function countsSizes({ spec }: PodDisruptionBudget): boolean {
  return spec?.maxUnavailable !== undefined || typeof spec?.minAvailable === 'string';
}

/** Milliseconds until a pod that was announced to be disrupted counts as spared; undefined for other pods. */
export function staleDisruptionMs(pod: Pod, nowMs: number): number | undefined {
  const condition = findCondition(pod.status?.conditions, 'DisruptionTarget');
  const isAnnounced = condition?.status === 'True' && !isPodTerminal(pod) && !isPodTerminating(pod);
  if (!isAnnounced) return undefined;
  return Math.max(0, (parseTime(condition.lastTransitionTime) ?? nowMs) + disruptedPodTimeoutMs - nowMs);
}

/** The status when the number of pods wanted is not known: no eviction is granted. */
export function failedDisruptionStatus(
  budget: PodDisruptionBudget,
  message: string,
  nowMs: number,
): PodDisruptionBudgetStatus {
  const condition = {
    type: 'DisruptionAllowed',
    status: 'False',
    reason: 'SyncFailed',
    message,
    observedGeneration: budget.metadata.generation,
    lastTransitionTime: formatTime(nowMs),
  };
  return {
    currentHealthy: 0,
    desiredHealthy: 0,
    expectedPods: 0,
    ...budget.status,
    disruptionsAllowed: 0,
    observedGeneration: budget.metadata.generation,
    conditions: withCondition(budget.status?.conditions, condition),
  };
}

/** How many pods there should be, and how many of them healthy. `scaleOf` adds up the sizes of the pods' owners. */
function expectations(
  { spec }: PodDisruptionBudget,
  pods: readonly Pod[],
  scaleOf: () => number,
): { expected: number; desired: number } {
  const { minAvailable, maxUnavailable } = spec ?? {};
  if (maxUnavailable !== undefined) {
    const expected = scaleOf();
    return { expected, desired: Math.max(0, expected - scaledIntOrPercent(maxUnavailable, expected, 'up')) };
  }
  if (typeof minAvailable === 'number') return { expected: pods.length, desired: minAvailable };
  if (minAvailable === undefined) return { expected: pods.length, desired: 0 };
  const expected = scaleOf();
  return { expected, desired: scaledIntOrPercent(minAvailable, expected, 'up') };
}

/** Granted evictions that are still on their way. */
function pendingEvictions(budget: PodDisruptionBudget, pods: readonly Pod[], nowMs: number): Record<string, string> {
  const byName = new Map(pods.map((pod) => [pod.metadata.name, pod]));
  const entries = Object.entries(budget.status?.disruptedPods ?? {}).filter(([name, time]) => {
    const pod = byName.get(name);
    const grantedMs = parseTime(time) ?? nowMs;
    return pod !== undefined && !isPodTerminating(pod) && grantedMs + disruptedPodTimeoutMs > nowMs;
  });
  return Object.fromEntries(entries);
}

/** The status that follows from the pods that the budget selects. */
export function computeDisruptionStatus(
  budget: PodDisruptionBudget,
  pods: readonly Pod[],
  scaleOf: () => number,
  nowMs: number,
): PodDisruptionBudgetStatus {
  const disruptedPods = pendingEvictions(budget, pods, nowMs);
  const { expected, desired } = expectations(budget, pods, scaleOf);
  const currentHealthy = pods.filter(
    (pod) =>
      isPodReady(pod) &&
      !isPodTerminating(pod) &&
      !isPodTerminal(pod) &&
      disruptedPods[pod.metadata.name] === undefined,
  ).length;
  const disruptionsAllowed = expected <= 0 ? 0 : Math.max(0, currentHealthy - desired);
  const allowed = disruptionsAllowed > 0;
  const condition = {
    type: 'DisruptionAllowed',
    status: allowed ? 'True' : 'False',
    reason: allowed ? 'SufficientPods' : 'InsufficientPods',
    message: '',
    observedGeneration: budget.metadata.generation,
    lastTransitionTime: formatTime(nowMs),
  };
  return {
    conditions: withCondition(budget.status?.conditions, condition),
    currentHealthy,
    desiredHealthy: desired,
    disruptionsAllowed,
    expectedPods: expected,
    observedGeneration: budget.metadata.generation,
    ...(Object.keys(disruptedPods).length === 0 ? {} : { disruptedPods }),
  };
}
