// Deletes finished jobs when their ttlSecondsAfterFinished has passed.
import type { Job } from '#kube/api/generated/batch-v1.ts';
import { jobs } from '#kube/api/generated/resources.ts';
import { objectKey } from '#kube/api/resource.ts';
import { parseTime } from '#kube/api/time.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { finishedCondition } from './plan-job.ts';

/** Deletes in the foreground, so that pods go before their job. */
export function createTtlAfterFinishedController(context: ControllerContext): Controller {
  const { informers, client, clock } = context;
  const queue = createControllerQueue(context);
  const look = (job: Job) => {
    if (job.spec.ttlSecondsAfterFinished !== undefined && finishedCondition(job) !== undefined)
      queue.add(objectKey(job));
  };
  informers.jobs.subscribe({ added: look, updated: (_, job) => look(job) });

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const job = informers.jobs.get(key);
    const ttlSeconds = job?.spec.ttlSecondsAfterFinished;
    if (job === undefined || ttlSeconds === undefined || job.metadata.deletionTimestamp !== undefined) return;
    const finishedMs = parseTime(finishedCondition(job)?.lastTransitionTime);
    if (finishedMs === undefined) return;
    const leftMs = finishedMs + ttlSeconds * 1000 - clock.now();
    if (leftMs > 0) return { requeueAfterMs: leftMs };
    const { namespace, name, uid, resourceVersion } = job.metadata;
    try {
      const preconditions = { uid, resourceVersion };
      await client.delete(jobs, { namespace, name }, { propagationPolicy: 'Foreground', preconditions });
    } catch (error) {
      if (isConflict(error)) return { requeueAfterMs: 100 };
      if (!isNotFound(error)) throw error;
    }
  }

  return queueController(context.name, queue, sync, { concurrency: 2 });
}
