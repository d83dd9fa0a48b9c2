// Starts the jobs of CronJobs when they are due, and keeps as many finished ones as they ask for.
import type { CronJob, Job } from '#kube/api/generated/batch-v1.ts';
import { cronjobs, jobs as jobResource } from '#kube/api/generated/resources.ts';
import { controllerOf, isControlledBy } from '#kube/api/owner-references.ts';
import { objectKey } from '#kube/api/resource.ts';
import { formatTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isAlreadyExists, isNamespaceTerminating, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { sameJson } from '../same-json.ts';
import { planCronJob } from './plan-cronjob.ts';
import { parseSchedule, type Schedule } from './schedule.ts';

/** `sharedClient` watches. */
export function createCronJobController(context: ControllerContext, sharedClient: ApiClient): Controller {
  const { informers, client, recorder, clock, logger } = context;
  const queue = createControllerQueue(context);
  const cronJobs = createInformer<CronJob>({ client: sharedClient, resource: cronjobs, clock, logger });
  cronJobs.subscribe({
    added: (cronJob) => queue.add(objectKey(cronJob)),
    updated: (_, cronJob) => queue.add(objectKey(cronJob)),
  });
  const enqueueOwner = (job: Job) => {
    const owner = controllerOf(job);
    if (owner?.kind === 'CronJob') queue.add(`${job.metadata.namespace}/${owner.name}`);
  };
  informers.jobs.subscribe({ added: enqueueOwner, updated: (_, job) => enqueueOwner(job), deleted: enqueueOwner });

  function scheduleOf(cronJob: CronJob): Schedule | undefined {
    const { schedule, timeZone } = cronJob.spec;
    try {
      return parseSchedule(schedule, timeZone);
    } catch (error) {
      const message = `unparseable schedule: ${JSON.stringify(schedule)} : ${(error as Error).message}`;
      recorder.event(referenceTo(cronjobs, cronJob), 'Warning', 'UnparseableSchedule', message);
      return undefined;
    }
  }

  async function deleteJob(cronJob: CronJob, { metadata }: Job): Promise<void> {
    const { namespace, name, uid } = metadata;
    try {
      const options = { preconditions: { uid }, propagationPolicy: 'Background' };
      await client.delete(jobResource, { namespace, name }, options);
      recorder.event(referenceTo(cronjobs, cronJob), 'Normal', 'SuccessfulDelete', `Deleted job ${name}`);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const cronJob = cronJobs.get(key);
    if (cronJob === undefined) return;
    const schedule = scheduleOf(cronJob);
    // A schedule that cannot be read is not retried: its next version will be.
    if (schedule === undefined) return;
    const reference = referenceTo(cronjobs, cronJob);
    const own = informers.jobs
      .byNamespace(cronJob.metadata.namespace ?? '')
      .filter((job) => isControlledBy(job, cronJob));
    const plan = planCronJob(cronJob, own, schedule, clock.now());
    for (const { type, reason, message } of plan.events) recorder.event(reference, type, reason, message);
    for (const job of plan.delete) await deleteJob(cronJob, job);
    let { status } = plan;
    if (plan.start !== undefined) {
      const { draft, scheduledMs } = plan.start;
      try {
        const job = await client.create(jobResource, cronJob.metadata.namespace, draft);
        recorder.event(reference, 'Normal', 'SuccessfulCreate', `Created job ${job.metadata.name}`);
        status = { ...status, active: [...(status.active ?? []), referenceTo(jobResource, job)] };
      } catch (error) {
        if (isNamespaceTerminating(error)) return;
        if (!isAlreadyExists(error)) {
          recorder.event(reference, 'Warning', 'FailedCreate', `Error creating job: ${(error as Error).message}`);
          throw error;
        }
      }
      status = { ...status, lastScheduleTime: formatTime(scheduledMs) };
    }
    if (!sameJson(status, cronJob.status ?? {})) {
      await client.updateSubresource(cronjobs, { ...cronJob, status }, 'status');
    }
    if (plan.requeueAfterMs !== undefined) return { requeueAfterMs: Math.min(plan.requeueAfterMs, 2 ** 31 - 1) };
  }

  const worker = { run: async (signal: AbortSignal) => queue.run(sync, { concurrency: 5, signal }) };
  return { name: context.name, run: async (signal) => runGroup([cronJobs, worker], signal) };
}
