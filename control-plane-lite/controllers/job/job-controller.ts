// Carries out job plans: status first, then finalizers, deletions and creations, so that a kill between any two of
// these writes loses no count.
import type { Job } from '#kube/api/generated/batch-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { jobs, pods as podResource } from '#kube/api/generated/resources.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { objectKey } from '#kube/api/resource.ts';
import { isConflict, isInvalid, isNamespaceTerminating, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { applyClaims, planClaims } from '../claim.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { createFreshest } from '../freshest.ts';
import { createOwnedPods } from '../owned-pods.ts';
import { sameJson } from '../same-json.ts';
import { orphanPods } from '../shared-informers.ts';
import { slowStart } from '../slow-start.ts';
import { draftJobPod, hasTrackingFinalizer, isPodActive, trackingFinalizer } from './job-pods.ts';
import { finishedCondition, type JobPlan, planJob } from './plan-job.ts';

/** Changes of pods are gathered for this long before a job is looked at again. */
const batchMs = 100;

/** After the API refused something, as it does a pod over quota: longer than other controllers wait. */
const apiBackoff = { baseDelayMs: 1000, maxDelayMs: 60_000 };

/** Also frees pods whose job is gone from the finalizer that counted them. */
export function createJobController(context: ControllerContext): Controller {
  const { informers, client, recorder, clock } = context;
  const queue = createControllerQueue(context, apiBackoff);
  /** Pods with the finalizer whose job is gone. */
  const orphans = createControllerQueue({ ...context, queueObserver: undefined });
  const owned = createOwnedPods(informers.pods, clock);
  const freshest = createFreshest(informers.jobs);

  function podChanged(pod: Pod): void {
    const owner = controllerOf(pod);
    if (owner?.kind === 'Job') queue.addAfter(`${pod.metadata.namespace}/${owner.name}`, batchMs);
    const ownerKind = owner?.kind ?? 'Job';
    if (hasTrackingFinalizer(pod) && ownerKind === 'Job') {
      const job = informers.jobs.get(`${pod.metadata.namespace}/${owner?.name}`);
      if (job === undefined || job.metadata.uid !== owner?.uid) orphans.add(objectKey(pod));
    }
  }
  informers.jobs.subscribe({
    added: (job) => queue.add(objectKey(job)),
    updated: (_, job) => queue.add(objectKey(job)),
    deleted: (job) => {
      for (const pod of owned.list(job.metadata.uid ?? '')) orphans.add(objectKey(pod));
    },
  });
  informers.pods.subscribe({ added: podChanged, updated: (_, pod) => podChanged(pod), deleted: podChanged });

  async function removeFinalizer({ metadata }: Pod): Promise<void> {
    const { namespace, name, uid } = metadata;
    const patch = { metadata: { uid, [`$deleteFromPrimitiveList/finalizers`]: [trackingFinalizer] } };
    try {
      await client.patch(podResource, { namespace, name }, 'strategic', patch);
    } catch (error) {
      // Gone, or another pod of that name.
      if (!isNotFound(error) && !isInvalid(error) && !isConflict(error)) throw error;
    }
  }

  async function deletePods(job: Job, { pods, uncounted }: JobPlan['delete']): Promise<void> {
    const reference = referenceTo(jobs, job);
    await Promise.all(
      pods.map(async (pod) => {
        const { namespace, name, uid } = pod.metadata;
        if (uncounted && hasTrackingFinalizer(pod)) await removeFinalizer(pod);
        try {
          await client.delete(podResource, { namespace, name }, { preconditions: { uid } });
          owned.deleted(pod);
          recorder.event(reference, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`);
        } catch (error) {
          if (!isNotFound(error) && !isConflict(error)) throw error;
        }
      }),
    );
  }

  async function createPods(job: Job, create: JobPlan['create']): Promise<void> {
    const reference = referenceTo(jobs, job);
    const { error } = await slowStart(create.length, async (at) => {
      const { index, failures } = create[at] ?? { index: undefined, failures: 0 };
      try {
        const pod = await client.create(podResource, job.metadata.namespace, draftJobPod(job, index, failures));
        owned.created(pod);
        recorder.event(reference, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
      } catch (cause) {
        if (isNamespaceTerminating(cause)) return;
        recorder.event(reference, 'Warning', 'FailedCreate', `Error creating: ${(cause as Error).message}`);
        throw cause;
      }
    });
    if (error !== undefined) throw error;
  }

  function tell(job: Job, plan: JobPlan): void {
    const reference = referenceTo(jobs, job);
    const isNew = (type: string, status: string) =>
      plan.status.conditions?.find((entry) => entry.type === type && entry.status === status) !== undefined &&
      job.status?.conditions?.find((entry) => entry.type === type && entry.status === status) === undefined;
    if (isNew('Complete', 'True')) recorder.event(reference, 'Normal', 'Completed', 'Job completed');
    if (isNew('Failed', 'True')) {
      const failed = plan.status.conditions?.find(({ type }) => type === 'Failed');
      recorder.event(reference, 'Warning', failed?.reason ?? 'Failed', failed?.message ?? '');
    }
    if (isNew('Suspended', 'True')) recorder.event(reference, 'Normal', 'Suspended', 'Job suspended');
    if (isNew('Suspended', 'False')) recorder.event(reference, 'Normal', 'Resumed', 'Job resumed');
  }

  async function claimPods(job: Job): Promise<Pod[]> {
    const loose = orphanPods(informers.pods, job.metadata.namespace ?? '').filter(isPodActive);
    const claims = planClaims(job, job.spec.selector, [...owned.list(job.metadata.uid ?? ''), ...loose]);
    return applyClaims(client, { resource: jobs, object: job }, podResource, claims);
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const job = freshest.get(key);
    if (job === undefined || (job.spec.managedBy ?? 'kubernetes.io/job-controller') !== 'kubernetes.io/job-controller')
      return;
    const pods = await claimPods(job);
    if (finishedCondition(job) !== undefined) {
      await Promise.all(pods.filter(hasTrackingFinalizer).map(removeFinalizer));
      return;
    }
    const plan = planJob(job, pods, clock.now());
    if (!sameJson(plan.status, job.status ?? {})) {
      freshest.wrote(await client.updateSubresource(jobs, { ...job, status: plan.status }, 'status'));
      tell(job, plan);
    }
    await Promise.all(plan.release.map(removeFinalizer));
    await deletePods(job, plan.delete);
    await createPods(job, plan.create);
    if (plan.requeueAfterMs !== undefined) return { requeueAfterMs: plan.requeueAfterMs };
  }

  async function releaseOrphan(key: string): Promise<void> {
    const pod = informers.pods.get(key);
    if (pod === undefined || !hasTrackingFinalizer(pod)) return;
    const owner = controllerOf(pod);
    if (owner !== undefined) {
      const job = informers.jobs.get(`${pod.metadata.namespace}/${owner.name}`);
      if (owner.kind !== 'Job' || job?.metadata.uid === owner.uid) return;
    }
    await removeFinalizer(pod);
  }

  return {
    name: context.name,
    run: async (signal) => {
      await Promise.all([
        queue.run(sync, { concurrency: 5, signal }),
        orphans.run(releaseOrphan, { concurrency: 2, signal }),
      ]);
    },
  };
}
