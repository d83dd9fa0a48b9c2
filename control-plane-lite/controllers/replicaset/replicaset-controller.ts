// Keeps as many pods of a ReplicaSet, or ReplicationController, as it asks for, and reports how they do.
import type { ReplicaSet } from '#kube/api/generated/apps-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { pods as podResource } from '#kube/api/generated/resources.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { isPodActive, isPodAvailable, isPodReady } from '#kube/api/pod-state.ts';
import { objectKey } from '#kube/api/resource.ts';
import { isConflict, isNamespaceTerminating, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { applyClaims, planClaims } from '../claim.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { createFreshest } from '../freshest.ts';
import { createOwnedPods } from '../owned-pods.ts';
import { podFromTemplate } from '../pod-template.ts';
import { sameJson } from '../same-json.ts';
import { byController, orphanPods } from '../shared-informers.ts';
import { slowStart } from '../slow-start.ts';
import { computeReplicaSetStatus, planReplicas, type ReplicaFailure } from './plan-replicas.ts';
import type { ReplicaKind } from './replica-kind.ts';

/** Changes of the pods of larger sets are gathered: each sync looks at all of them. */
const smallReplicas = 100;
const batchMs = 50;

/** Counts its own creations and deletions before the informer shows them. */
export function createReplicaSetController(context: ControllerContext, kind: ReplicaKind): Controller {
  const { resource, sets } = kind;
  const { informers, client, recorder, clock } = context;
  const queue = createControllerQueue(context);
  const owned = createOwnedPods(informers.pods, clock);
  const freshest = createFreshest(sets);

  function enqueueOwner(pod: Pod): void {
    const owner = controllerOf(pod);
    if (owner?.kind === resource.kind) {
      const key = `${pod.metadata.namespace}/${owner.name}`;
      const isLarge = (sets.get(key)?.spec.replicas ?? 0) > smallReplicas;
      queue.addAfter(key, isLarge ? batchMs : 0);
    }
    if (owner !== undefined || pod.metadata.deletionTimestamp !== undefined) return;
    for (const replicaSet of sets.byNamespace(pod.metadata.namespace ?? '')) {
      if (labelSelectorMatches(replicaSet.spec.selector, pod.metadata.labels)) queue.add(objectKey(replicaSet));
    }
  }

  sets.subscribe({
    added: (replicaSet) => queue.add(objectKey(replicaSet)),
    updated: (_, replicaSet) => queue.add(objectKey(replicaSet)),
    deleted: (replicaSet) => queue.add(objectKey(replicaSet)),
  });
  informers.pods.subscribe({
    added: enqueueOwner,
    updated: (previous, pod) => {
      enqueueOwner(pod);
      if (controllerOf(previous)?.uid !== controllerOf(pod)?.uid) enqueueOwner(previous);
    },
    deleted: enqueueOwner,
  });

  /** Active pods per node of all replica sets with the same owner: a rollout's siblings count as neighbours. */
  function countNeighbours(replicaSet: ReplicaSet): Map<string, number> {
    const owner = controllerOf(replicaSet)?.uid;
    const family = owner === undefined ? [replicaSet] : sets.byIndex(byController, owner);
    const counts = new Map<string, number>();
    for (const member of family) {
      for (const pod of informers.pods.byIndex(byController, member.metadata.uid ?? '')) {
        const node = pod.spec?.nodeName ?? '';
        if (node !== '' && isPodActive(pod)) counts.set(node, (counts.get(node) ?? 0) + 1);
      }
    }
    return counts;
  }

  async function createPods(replicaSet: ReplicaSet, count: number): Promise<unknown> {
    const reference = referenceTo(resource, replicaSet);
    const draft = podFromTemplate(replicaSet.spec.template ?? {}, resource, replicaSet);
    const { error } = await slowStart(count, async () => {
      try {
        const pod = await client.create(podResource, replicaSet.metadata.namespace, draft);
        owned.created(pod);
        recorder.event(reference, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
      } catch (cause) {
        if (isNamespaceTerminating(cause)) return;
        recorder.event(reference, 'Warning', 'FailedCreate', `Error creating: ${(cause as Error).message}`);
        throw cause;
      }
    });
    return error;
  }

  async function deletePods(replicaSet: ReplicaSet, victims: readonly Pod[]): Promise<unknown> {
    const reference = referenceTo(resource, replicaSet);
    const results = await Promise.allSettled(
      victims.map(async (pod) => {
        const { namespace, name, uid } = pod.metadata;
        try {
          await client.delete(podResource, { namespace, name }, { preconditions: { uid } });
          owned.deleted(pod);
          recorder.event(reference, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`);
        } catch (cause) {
          if (isNotFound(cause) || isConflict(cause)) return;
          recorder.event(reference, 'Warning', 'FailedDelete', `Error deleting: ${(cause as Error).message}`);
          throw cause;
        }
      }),
    );
    return results.find((result) => result.status === 'rejected')?.reason;
  }

  async function claimPods(replicaSet: ReplicaSet): Promise<Pod[]> {
    const uid = replicaSet.metadata.uid ?? '';
    const orphans = orphanPods(informers.pods, replicaSet.metadata.namespace ?? '').filter(isPodActive);
    const claims = planClaims(replicaSet, replicaSet.spec.selector, [...owned.list(uid), ...orphans]);
    return applyClaims(client, { resource, object: replicaSet }, podResource, claims);
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const replicaSet = freshest.get(key);
    if (replicaSet === undefined) return;
    const uid = replicaSet.metadata.uid ?? '';
    const plan = planReplicas(replicaSet, await claimPods(replicaSet), countNeighbours(replicaSet), clock.now());
    let error: unknown;
    let failure: ReplicaFailure | undefined;
    if (plan.create > 0) error = await createPods(replicaSet, plan.create);
    else if (plan.delete.length > 0) error = await deletePods(replicaSet, plan.delete);
    if (error !== undefined) {
      const reason = plan.create > 0 ? 'FailedCreate' : 'FailedDelete';
      failure = { reason, message: (error as Error).message };
    }
    const pods = planClaims(replicaSet, replicaSet.spec.selector, owned.list(uid)).owned;
    const status = computeReplicaSetStatus(replicaSet, pods, failure, clock.now());
    if (!sameJson(status, replicaSet.status)) {
      freshest.wrote(await kind.writeStatus({ ...replicaSet, status }));
    }
    if (error !== undefined) throw error;
    const minReadySeconds = replicaSet.spec.minReadySeconds ?? 0;
    const waiting = pods.some((pod) => isPodReady(pod) && !isPodAvailable(pod, minReadySeconds, clock.now()));
    if (minReadySeconds > 0 && waiting) return { requeueAfterMs: minReadySeconds * 1000 };
  }

  return queueController(context.name, queue, sync, { concurrency: 5 });
}
