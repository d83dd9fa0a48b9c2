// What a CronJob does now: the job to start, jobs to delete, and its status. Pure.
// Behaviour and texts: upstream's pkg/controller/cronjob.
import type { CronJob, CronJobStatus, Job } from '#kube/api/generated/batch-v1.ts';
import type { ObjectReference } from '#kube/api/generated/core-v1.ts';
import { cronjobs, jobs as jobResource } from '#kube/api/generated/resources.ts';
import { controllerReference } from '#kube/api/owner-references.ts';
import type { Draft } from '#kube/api/resource.ts';
import { formatTime, parseTime } from '#kube/api/time.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { finishedCondition } from '../job/plan-job.ts';
import { dueTimes, manyMissed, type Schedule } from './schedule.ts';

export interface CronEvent {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

export interface CronPlan {
  start: { draft: Draft<Job>; scheduledMs: number } | undefined;
  /** Jobs that stand in the way of the new one (Replace), and finished ones beyond the history limits. */
  delete: Job[];
  status: CronJobStatus;
  events: CronEvent[];
  requeueAfterMs: number | undefined;
}

const scheduledAnnotation = 'batch.kubernetes.io/cronjob-scheduled-timestamp';

function draftJob(cronJob: CronJob, scheduledMs: number): Draft<Job> {
  const { metadata, spec } = cronJob.spec.jobTemplate;
  return {
    metadata: {
      name: `${cronJob.metadata.name}-${Math.floor(scheduledMs / 60_000)}`,
      namespace: cronJob.metadata.namespace,
      labels: metadata?.labels,
      annotations: { ...metadata?.annotations, [scheduledAnnotation]: formatTime(scheduledMs) },
      ownerReferences: [controllerReference(cronjobs, cronJob)],
    },
    spec: spec ?? { template: {} },
  };
}

function byStart(a: Job, b: Job): number {
  return (a.status?.startTime ?? '') < (b.status?.startTime ?? '') ? -1 : 1;
}

function planHistory(cronJob: CronJob, finished: readonly Job[]): Job[] {
  const beyond = (type: string, limit: number) => {
    const own = finished.filter((job) => finishedCondition(job)?.type === type).sort(byStart);
    return own.slice(0, Math.max(0, own.length - limit));
  };
  const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = cronJob.spec;
  return [...beyond('Complete', successfulJobsHistoryLimit), ...beyond('Failed', failedJobsHistoryLimit)];
}

/** `jobs` are the CronJob's own. */
export function planCronJob(cronJob: CronJob, jobs: readonly Job[], schedule: Schedule, nowMs: number): CronPlan {
  const events: CronEvent[] = [];
  const finished = jobs.filter((job) => finishedCondition(job) !== undefined);
  const active = jobs.filter((job) => finishedCondition(job) === undefined);
  for (const job of finished) {
    if (cronJob.status?.active?.some(({ uid }) => uid === job.metadata.uid)) {
      const message = `Saw completed job: ${job.metadata.name}, condition: ${finishedCondition(job)?.type}`;
      events.push({ type: 'Normal', reason: 'SawCompletedJob', message });
    }
  }
  const successTimes = finished.map(({ status }) => status?.completionTime ?? '').sort();
  const lastSuccessfulTime = [cronJob.status?.lastSuccessfulTime ?? '', successTimes.at(-1) ?? ''].sort().at(-1);
  const plan: CronPlan = {
    start: undefined,
    delete: planHistory(cronJob, finished),
    status: {
      ...(active.length === 0 ? {} : { active: active.map((job): ObjectReference => referenceTo(jobResource, job)) }),
      ...(cronJob.status?.lastScheduleTime === undefined ? {} : { lastScheduleTime: cronJob.status.lastScheduleTime }),
      ...(lastSuccessfulTime === undefined || lastSuccessfulTime === '' ? {} : { lastSuccessfulTime }),
    },
    events,
    requeueAfterMs: undefined,
  };
  if (cronJob.spec.suspend === true || cronJob.metadata.deletionTimestamp !== undefined) return plan;

  const { startingDeadlineSeconds, concurrencyPolicy = 'Allow' } = cronJob.spec;
  const knownMs = parseTime(cronJob.status?.lastScheduleTime) ?? parseTime(cronJob.metadata.creationTimestamp) ?? nowMs;
  const deadlineMs = startingDeadlineSeconds === undefined ? undefined : nowMs - startingDeadlineSeconds * 1000;
  const fromMs = Math.max(knownMs, deadlineMs ?? knownMs);
  const { lastMs, count, nextMs } = dueTimes(schedule, fromMs, nowMs);
  // A little later than the time itself, so that a clock that is behind does not look twice.
  if (nextMs !== undefined) plan.requeueAfterMs = nextMs - nowMs + 100;
  if (count > manyMissed) {
    const message = `too many missed start times: ${count}. Set or decrease .spec.startingDeadlineSeconds or check clock skew`;
    events.push({ type: 'Warning', reason: 'TooManyMissedTimes', message });
  }
  if (lastMs === undefined) return plan;
  const draft = draftJob(cronJob, lastMs);
  if (jobs.some(({ metadata }) => metadata.name === draft.metadata.name)) return plan;
  if (concurrencyPolicy === 'Forbid' && active.length > 0) {
    const message = 'Not starting job because prior execution is running and concurrency policy is Forbid';
    events.push({ type: 'Normal', reason: 'JobAlreadyActive', message });
    return plan;
  }
  if (concurrencyPolicy === 'Replace') plan.delete.push(...active);
  plan.start = { draft, scheduledMs: lastMs };
  return plan;
}
