// Everything a job needs next, from the job, its pods and the clock. Pure.
// Behaviour: upstream's pkg/controller/job.

import { findCondition } from '#kube/api/conditions.ts';
import type { Job, JobCondition, JobStatus } from '#kube/api/generated/batch-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { isPodReady, isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import { formatTime, parseTime } from '#kube/api/time.ts';
import { omitZeros } from '../omit-zeros.ts';
import { selectPodsToDelete } from '../replicaset/rank-pods.ts';
import { formatIndexes, parseIndexes } from './completion-indexes.ts';
import { countPods } from './count-pods.ts';
import {
  completionIndex,
  finishTimeMs,
  hasTrackingFinalizer,
  indexFailureCountAnnotation,
  isIndexed,
  isPodActive,
  isPodFailed,
  replacesOnlyFailed,
} from './job-pods.ts';
import { judgeFailure } from './pod-failure-policy.ts';

const maxPodsPerSync = 500;
const failureBackoff = { baseMs: 10_000, maxMs: 600_000 };

export interface JobPlan {
  /** The status to write before anything else. */
  status: JobStatus;
  /** Counted pods whose finalizer is removed after the status is written. */
  release: Pod[];
  /** Pods to delete; `uncounted` ones lose their finalizer first, so that they count for nothing. */
  delete: { pods: Pod[]; uncounted: boolean };
  /** One entry for each pod to create: its index, or undefined for jobs without. */
  create: { index: number | undefined; failures: number }[];
  /** Look again after this time. */
  requeueAfterMs: number | undefined;
}

interface Outcome {
  type: 'Complete' | 'Failed';
  reason: string;
  message: string;
}

/** Whether the job has come to its end. */
export function finishedCondition(job: Job): JobCondition | undefined {
  return job.status?.conditions?.find(
    ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
  );
}

function condition(type: string, status: string, reason: string, message: string, nowMs: number): JobCondition {
  const now = formatTime(nowMs);
  return { type, status, reason, message, lastProbeTime: now, lastTransitionTime: now };
}

/** Failures of each index, from its newest failed pod. */
function failuresByIndex(job: Job, pods: readonly Pod[]): Map<number, number> {
  const failures = new Map<number, number>();
  for (const pod of pods) {
    const index = completionIndex(pod);
    if (index === undefined || !isPodFailed(job, pod)) continue;
    const own = Number(pod.metadata.annotations?.[indexFailureCountAnnotation] ?? '0');
    const counted = judgeFailure(job, pod).action === 'Ignore' ? own : own + 1;
    failures.set(index, Math.max(failures.get(index) ?? 0, counted));
  }
  return failures;
}

function failedIndexes(job: Job, pods: readonly Pod[], failures: ReadonlyMap<number, number>): Set<number> {
  const failed = parseIndexes(job.status?.failedIndexes);
  const limit = job.spec.backoffLimitPerIndex;
  if (limit === undefined) return failed;
  for (const [index, count] of failures) if (count > limit) failed.add(index);
  for (const pod of pods) {
    const index = completionIndex(pod);
    if (index !== undefined && judgeFailure(job, pod).action === 'FailIndex') failed.add(index);
  }
  return failed;
}

/** Restarts count against the limit where containers are restarted in their pods. */
function restartsExceed(job: Job, pods: readonly Pod[]): boolean {
  if (job.spec.template.spec?.restartPolicy !== 'OnFailure') return false;
  const limit = job.spec.backoffLimit ?? 6;
  const restarts = pods
    .filter((pod) => pod.status?.phase === 'Running' || pod.status?.phase === 'Pending')
    .flatMap((pod) => [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])])
    .reduce((sum, { restartCount }) => sum + restartCount, 0);
  return limit === 0 ? restarts > 0 : restarts >= limit;
}

interface Facts {
  succeeded: number;
  failed: number;
  active: number;
  completed: ReadonlySet<number>;
  failedIndexes: ReadonlySet<number>;
}

/** The first rule that is met; -1 where none is. */
function metSuccessRule(job: Job, completed: ReadonlySet<number>): number {
  return (job.spec.successPolicy?.rules ?? []).findIndex(({ succeededIndexes, succeededCount }) => {
    const named = succeededIndexes === undefined ? undefined : parseIndexes(succeededIndexes);
    const met = [...completed].filter((index) => named === undefined || named.has(index)).length;
    return met >= (succeededCount ?? named?.size ?? Number.POSITIVE_INFINITY);
  });
}

function decideOutcome(job: Job, pods: readonly Pod[], facts: Facts, nowMs: number): Outcome | undefined {
  const recorded = job.status?.conditions?.find(
    ({ type, status }) => (type === 'FailureTarget' || type === 'SuccessCriteriaMet') && status === 'True',
  );
  if (recorded !== undefined) {
    const type = recorded.type === 'FailureTarget' ? 'Failed' : 'Complete';
    return { type, reason: recorded.reason ?? '', message: recorded.message ?? '' };
  }
  const fail = (reason: string, message: string): Outcome => ({ type: 'Failed', reason, message });
  const { spec } = job;
  const policy = pods.map((pod) => judgeFailure(job, pod)).find(({ action }) => action === 'FailJob');
  if (policy !== undefined) return fail('PodFailurePolicy', policy.message ?? '');
  const rule = metSuccessRule(job, facts.completed);
  if (rule >= 0) return { type: 'Complete', reason: 'SuccessPolicy', message: `Matched rules at index ${rule}` };
  const perIndex = spec.backoffLimitPerIndex !== undefined;
  const limit = spec.backoffLimit ?? (perIndex ? 2 ** 31 - 1 : 6);
  if (facts.failed > limit || restartsExceed(job, pods)) {
    return fail('BackoffLimitExceeded', 'Job has reached the specified backoff limit');
  }
  const startMs = parseTime(job.status?.startTime);
  const deadlineMs = spec.activeDeadlineSeconds === undefined ? undefined : spec.activeDeadlineSeconds * 1000;
  if (startMs !== undefined && deadlineMs !== undefined && spec.suspend !== true && nowMs - startMs >= deadlineMs) {
    return fail('DeadlineExceeded', 'Job was active longer than specified deadline');
  }
  if (spec.maxFailedIndexes !== undefined && facts.failedIndexes.size > spec.maxFailedIndexes) {
    return fail('MaxFailedIndexesExceeded', 'Job has exceeded the specified maximal number of failed indexes');
  }
  const { completions } = spec;
  if (facts.failedIndexes.size > 0 && facts.failedIndexes.size + facts.completed.size >= (completions ?? 0)) {
    return fail('FailedIndexes', 'Job has failed indexes');
  }
  const reached =
    completions === undefined
      ? facts.succeeded > 0 && facts.active === 0
      : facts.succeeded >= completions && (completions > 0 || facts.active === 0);
  if (!reached) return undefined;
  return { type: 'Complete', reason: 'CompletionsReached', message: 'Reached expected number of succeeded pods' };
}

/** Milliseconds until a pod may be created after failures: 10 s, doubling with each failure since the last success. */
function creationDelayMs(job: Job, pods: readonly Pod[], nowMs: number): number {
  const finished = pods
    .filter((pod) => isPodTerminal(pod) || isPodFailed(job, pod))
    .map((pod) => ({ failed: pod.status?.phase !== 'Succeeded', atMs: finishTimeMs(pod) ?? nowMs }));
  const lastSuccessMs = Math.max(0, ...finished.filter(({ failed }) => !failed).map(({ atMs }) => atMs));
  const failures = finished.filter(({ failed, atMs }) => failed && atMs > lastSuccessMs).map(({ atMs }) => atMs);
  if (failures.length === 0) return 0;
  const delayMs = Math.min(failureBackoff.maxMs, failureBackoff.baseMs * 2 ** (failures.length - 1));
  return Math.max(0, Math.max(...failures) + delayMs - nowMs);
}

/** How long each index waits after its failures, where they count for the index and not for the job. */
function indexDelaysMs(
  job: Job,
  pods: readonly Pod[],
  failures: ReadonlyMap<number, number>,
  nowMs: number,
): Map<number, number> {
  const delays = new Map<number, number>();
  for (const pod of pods) {
    const index = completionIndex(pod);
    const count = index === undefined ? 0 : (failures.get(index) ?? 0);
    if (index === undefined || count === 0 || !isPodFailed(job, pod)) continue;
    const delayMs = Math.min(failureBackoff.maxMs, failureBackoff.baseMs * 2 ** (count - 1));
    const leftMs = (finishTimeMs(pod) ?? nowMs) + delayMs - nowMs;
    if (leftMs > (delays.get(index) ?? 0)) delays.set(index, leftMs);
  }
  return delays;
}

function freeIndexes(
  job: Job,
  pods: readonly Pod[],
  facts: Facts,
  count: number,
  delays: ReadonlyMap<number, number>,
): number[] {
  const taken = new Set(
    pods.filter((pod) => isPodActive(pod) || (replacesOnlyFailed(job) && !isPodTerminal(pod))).map(completionIndex),
  );
  const free: number[] = [];
  for (let index = 0; index < (job.spec.completions ?? 0) && free.length < count; index += 1) {
    const isOver = facts.completed.has(index) || facts.failedIndexes.has(index);
    if (!taken.has(index) && !isOver && !delays.has(index)) free.push(index);
  }
  return free;
}

function withSuspension(job: Job, conditions: readonly JobCondition[], nowMs: number): JobCondition[] {
  const current = findCondition(conditions, 'Suspended');
  const suspended = job.spec.suspend === true;
  if (suspended === (current?.status === 'True')) return [...conditions];
  const next = suspended
    ? condition('Suspended', 'True', 'JobSuspended', 'Job suspended', nowMs)
    : condition('Suspended', 'False', 'JobResumed', 'Job resumed', nowMs);
  return [...conditions.filter(({ type }) => type !== 'Suspended'), next];
}

/** The pods to create now, and when to look again because of a backoff. */
function planCreation(
  job: Job,
  pods: readonly Pod[],
  facts: Facts,
  failures: ReadonlyMap<number, number>,
  nowMs: number,
) {
  const parallelism = job.spec.parallelism ?? 1;
  const { completions } = job.spec;
  const left = completions === undefined ? undefined : completions - facts.succeeded - facts.failedIndexes.size;
  const wanted =
    left === undefined ? (facts.succeeded > 0 ? facts.active : parallelism) : Math.min(parallelism, Math.max(0, left));
  const terminating = replacesOnlyFailed(job)
    ? pods.filter((pod) => isPodTerminating(pod) && !isPodTerminal(pod)).length
    : 0;
  const excess = facts.active - wanted;
  const missing = Math.min(maxPodsPerSync, wanted - facts.active - terminating);
  if (missing <= 0) return { create: [], excess: Math.max(0, excess), waitMs: undefined };
  const isPerIndex = job.spec.backoffLimitPerIndex !== undefined;
  const waitMs = isPerIndex ? 0 : creationDelayMs(job, pods, nowMs);
  if (waitMs > 0) return { create: [], excess: 0, waitMs };
  const delays = isPerIndex ? indexDelaysMs(job, pods, failures, nowMs) : new Map<number, number>();
  for (const index of [...facts.completed, ...facts.failedIndexes]) delays.delete(index);
  const indexes: (number | undefined)[] = isIndexed(job)
    ? freeIndexes(job, pods, facts, missing, delays)
    : Array.from({ length: missing }, () => undefined);
  const create = indexes.map((index) => ({ index, failures: index === undefined ? 0 : (failures.get(index) ?? 0) }));
  return { create, excess: 0, waitMs: delays.size === 0 ? undefined : Math.min(...delays.values()) };
}

/** Plans one step; call it only for jobs that have not finished. `pods` are the job's own, finished ones included. */
export function planJob(job: Job, pods: readonly Pod[], nowMs: number): JobPlan {
  const counts = countPods(job, pods, (pod) => judgeFailure(job, pod).action !== 'Ignore');
  const activePods = pods.filter(isPodActive);
  const terminating = pods.filter((pod) => isPodTerminating(pod) && !isPodTerminal(pod)).length;
  const failures = failuresByIndex(job, pods);
  const failed = failedIndexes(job, pods, failures);
  const facts: Facts = { ...counts, active: activePods.length, failedIndexes: failed };
  const deleted = job.metadata.deletionTimestamp !== undefined;
  const suspended = job.spec.suspend === true;
  const outcome = decideOutcome(job, pods, facts, nowMs);
  const resumed = !suspended && findCondition(job.status?.conditions, 'Suspended')?.status === 'True';
  const { startTime: knownStart, ...rest } = job.status ?? {};
  const startTime = suspended ? undefined : resumed ? formatTime(nowMs) : (knownStart ?? formatTime(nowMs));
  let conditions = [...(job.status?.conditions ?? [])];
  const mentionsSuspension = suspended || findCondition(conditions, 'Suspended') !== undefined;
  if (outcome === undefined && mentionsSuspension) conditions = withSuspension(job, conditions, nowMs);

  const plan: JobPlan = {
    status: {},
    release: counts.release,
    delete: { pods: [], uncounted: false },
    create: [],
    requeueAfterMs: undefined,
  };
  if (outcome !== undefined) {
    const interim = outcome.type === 'Failed' ? 'FailureTarget' : 'SuccessCriteriaMet';
    if (findCondition(conditions, interim) === undefined) {
      conditions.push(condition(interim, 'True', outcome.reason, outcome.message, nowMs));
    }
    plan.delete = { pods: activePods, uncounted: outcome.type === 'Complete' };
    const pending = pods.some((pod) => hasTrackingFinalizer(pod)) || counts.unsettled;
    if (activePods.length === 0 && terminating === 0 && !pending) {
      conditions.push(condition(outcome.type, 'True', outcome.reason, outcome.message, nowMs));
    }
  } else if (suspended) {
    plan.delete = { pods: activePods, uncounted: true };
  } else if (!deleted) {
    const creation = planCreation(job, pods, facts, failures, nowMs);
    plan.create = creation.create;
    plan.delete = { pods: selectPodsToDelete(activePods, creation.excess, new Map(), nowMs), uncounted: true };
    plan.requeueAfterMs = creation.waitMs;
    const deadline = job.spec.activeDeadlineSeconds;
    if (deadline !== undefined && startTime !== undefined) {
      const leftMs = Math.max(0, (parseTime(startTime) ?? nowMs) + deadline * 1000 - nowMs) + 10;
      plan.requeueAfterMs = Math.min(plan.requeueAfterMs ?? Number.POSITIVE_INFINITY, leftMs);
    }
  }
  const complete = conditions.some(({ type, status }) => type === 'Complete' && status === 'True');
  const status: JobStatus = {
    ...rest,
    ...counts.status,
    ...(startTime === undefined ? {} : { startTime }),
    ...(complete ? { completionTime: formatTime(nowMs) } : {}),
    active: activePods.length,
    ready: activePods.filter(isPodReady).length,
    terminating,
    ...(job.spec.backoffLimitPerIndex === undefined ? {} : { failedIndexes: formatIndexes(failed) }),
    ...(conditions.length === 0 ? {} : { conditions }),
  };
  return { ...plan, status: omitZeros(status, ['active', 'succeeded', 'failed']) };
}
