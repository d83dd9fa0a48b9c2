// When a pod has to leave its node because of NoExecute taints. Pure.
// Behaviour: upstream's pkg/controller/tainteviction.
import type { Pod, Taint } from '#kube/api/generated/core-v1.ts';
import { tolerates } from '#kube/api/taints.ts';
import { parseTime } from '#kube/api/time.ts';

/**
 * Epoch milliseconds at which the pod is to be deleted; undefined when it may stay. A taint that nothing tolerates
 * means at once; of several limited tolerations the shortest counts, from when its taint was added, or where the
 * taint does not tell, from `firstSeenMs`: when the pod was first found with taints.
 */
export function evictionTimeMs(
  pod: Pod,
  taints: readonly Taint[],
  nowMs: number,
  firstSeenMs = nowMs,
): number | undefined {
  let dueMs: number | undefined;
  for (const taint of taints) {
    if (taint.effect !== 'NoExecute') continue;
    const matching = (pod.spec?.tolerations ?? []).filter((toleration) => tolerates(toleration, taint));
    if (matching.length === 0) return nowMs;
    const limits = matching.flatMap(({ tolerationSeconds }) =>
      tolerationSeconds === undefined ? [] : [tolerationSeconds],
    );
    if (limits.length < matching.length && limits.length === 0) continue;
    const sinceMs = parseTime(taint.timeAdded) ?? firstSeenMs;
    const taintDueMs = sinceMs + Math.max(0, Math.min(...limits)) * 1000;
    dueMs = dueMs === undefined ? taintDueMs : Math.min(dueMs, taintDueMs);
  }
  return dueMs;
}
