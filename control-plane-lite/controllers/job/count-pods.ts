// Counts finished pods exactly once, though the controller may be killed between any two writes: a pod keeps a
// finalizer until its uid is in the job's status, and its uid stays there until the finalizer is gone. Pure.
// Source: KEP-2307, Job tracking without lingering Pods.
import type { Job, JobStatus } from '#kube/api/generated/batch-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { formatIndexes, parseIndexes } from './completion-indexes.ts';
import { completionIndex, hasTrackingFinalizer, isIndexed, isPodFailed } from './job-pods.ts';

/** So many uids are recorded in one status at most. */
const maxUncounted = 500;

export interface PodCounts {
  /** Counts, uids still to be settled, and completed indexes, as the status is to have them. */
  status: Pick<JobStatus, 'succeeded' | 'failed' | 'uncountedTerminatedPods' | 'completedIndexes'>;
  /** Pods recorded in that status: once it is written, their finalizer goes. */
  release: Pod[];
  /** Successes and failures, including those not settled yet. */
  succeeded: number;
  failed: number;
  /** Something is recorded that has not been settled. */
  unsettled: boolean;
  completed: ReadonlySet<number>;
}

/** `counts(pod)`: whether a failed pod counts as a failure of the job (a failure policy may say no). */
export function countPods(job: Job, pods: readonly Pod[], counts: (pod: Pod) => boolean): PodCounts {
  const status = job.status ?? {};
  const byUid = new Map(pods.map((pod) => [pod.metadata.uid ?? '', pod]));
  const isSettled = (uid: string) => {
    const pod = byUid.get(uid);
    return pod === undefined || !hasTrackingFinalizer(pod);
  };
  const before = status.uncountedTerminatedPods ?? {};
  const succeededUids = new Set((before.succeeded ?? []).filter((uid) => !isSettled(uid)));
  const failedUids = new Set((before.failed ?? []).filter((uid) => !isSettled(uid)));
  let settledSucceeded = (status.succeeded ?? 0) + (before.succeeded ?? []).length - succeededUids.size;
  const settledFailed = (status.failed ?? 0) + (before.failed ?? []).length - failedUids.size;
  const completed = parseIndexes(status.completedIndexes);
  const completions = job.spec.completions ?? 0;
  const release: Pod[] = [];
  for (const [uid, pod] of byUid) {
    if (!hasTrackingFinalizer(pod)) continue;
    const known = succeededUids.has(uid) || failedUids.has(uid);
    if (!known && succeededUids.size + failedUids.size >= maxUncounted) continue;
    if (pod.status?.phase === 'Succeeded') {
      release.push(pod);
      if (!isIndexed(job)) {
        succeededUids.add(uid);
        continue;
      }
      const index = completionIndex(pod);
      if (index !== undefined && index < completions) completed.add(index);
    } else if (isPodFailed(job, pod)) {
      release.push(pod);
      const index = completionIndex(pod);
      const strayIndex = isIndexed(job) && (index === undefined || index >= completions);
      if (!strayIndex && counts(pod)) failedUids.add(uid);
    }
  }
  if (isIndexed(job)) settledSucceeded = completed.size;
  const uncounted = {
    ...(succeededUids.size === 0 ? {} : { succeeded: [...succeededUids] }),
    ...(failedUids.size === 0 ? {} : { failed: [...failedUids] }),
  };
  return {
    status: {
      succeeded: settledSucceeded,
      failed: settledFailed,
      uncountedTerminatedPods: uncounted,
      ...(isIndexed(job) ? { completedIndexes: formatIndexes(completed) } : {}),
    },
    release,
    succeeded: settledSucceeded + succeededUids.size,
    failed: settledFailed + failedUids.size,
    unsettled: succeededUids.size + failedUids.size > 0,
    completed,
  };
}
