// Joins a newly computed status with the one before it: transition times, conditions of others, and the order of
// phases (pkg/kubelet/status/status_manager.go: mergePodStatus). Pure.
import { findCondition } from '#kube/api/conditions.ts';
import type { PodCondition, PodStatus } from '#kube/api/generated/core-v1.ts';
import { formatTime } from '#kube/api/time.ts';
import { ownedConditions } from './compute-conditions.ts';

function isTerminal(phase: string | undefined): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

function isOwned(type: string): boolean {
  return ownedConditions.some((owned) => owned === type);
}

function mergeConditions(
  previous: readonly PodCondition[],
  next: readonly PodCondition[],
  now: string,
): PodCondition[] {
  const own = next.map((condition) => {
    const before = findCondition(previous, condition.type);
    const kept = before?.status === condition.status ? before.lastTransitionTime : undefined;
    return { ...condition, lastTransitionTime: kept ?? now };
  });
  // The last entry of a type is the newest.
  const foreign = new Map(
    previous
      .filter(({ type }) => !isOwned(type) && findCondition(next, type) === undefined)
      .map((condition) => [condition.type, condition]),
  );
  return [...own, ...foreign.values()];
}

/** `mayRun`: a container of the pod could still be running, so that its phase must not become terminal yet. */
export function mergePodStatus(
  previous: PodStatus | undefined,
  next: PodStatus,
  options: { mayRun: boolean; nowMs: number },
): PodStatus {
  const now = formatTime(options.nowMs);
  const merged: PodStatus = {
    ...next,
    startTime: previous?.startTime ?? next.startTime ?? now,
    conditions: mergeConditions(previous?.conditions ?? [], next.conditions ?? [], now),
  };
  const { phase, reason, message } = previous ?? {};
  if (isTerminal(phase) && !isTerminal(next.phase)) {
    merged.phase = phase;
  } else if (options.mayRun && isTerminal(next.phase) && !isTerminal(phase)) {
    merged.phase = phase ?? 'Pending';
    merged.reason = reason;
    merged.message = message;
  }
  return merged;
}
