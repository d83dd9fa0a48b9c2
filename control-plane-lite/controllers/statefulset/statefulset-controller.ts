// Carries out StatefulSet plans: claims before pods, one step after the other, and the history of revisions.
import type { ControllerRevision, StatefulSet } from '#kube/api/generated/apps-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims, pods as podResource, statefulsets } from '#kube/api/generated/resources.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { isPodActive, isPodAvailable, isPodReady } from '#kube/api/pod-state.ts';
import { objectKey } from '#kube/api/resource.ts';
import { isAlreadyExists, isConflict, isNamespaceTerminating, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { applyClaims, planClaims } from '../claim.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { createFreshest } from '../freshest.ts';
import { createOwnedPods } from '../owned-pods.ts';
import {
  deleteRevisions,
  ensureRevision,
  planRevisionCleanup,
  RevisionCollision,
  revisionHashLabel,
} from '../revisions/revisions.ts';
import { sameJson } from '../same-json.ts';
import { byController, orphanPods } from '../shared-informers.ts';
import { claimedOrdinals, isClaimGoing, planClaimOwners } from './plan-claim-owners.ts';
import { planStatefulSet, type StatefulAction } from './plan-statefulset.ts';
import { atRevision, draftClaims, draftStatefulPod, ordinalOf } from './stateful-pods.ts';

/** Takes the actions of a plan one after the other; the first that fails ends the sync. */
export function createStatefulSetController(context: ControllerContext): Controller {
  const { informers, client, recorder, clock } = context;
  const queue = createControllerQueue(context);
  const owned = createOwnedPods(informers.pods, clock);
  const freshest = createFreshest(informers.statefulsets);

  const enqueueOwner = (pod: Pod) => {
    const owner = controllerOf(pod);
    if (owner?.kind === 'StatefulSet') queue.add(`${pod.metadata.namespace}/${owner.name}`);
    if (owner !== undefined || pod.metadata.deletionTimestamp !== undefined) return;
    for (const set of informers.statefulsets.byNamespace(pod.metadata.namespace ?? '')) {
      if (labelSelectorMatches(set.spec.selector, pod.metadata.labels)) queue.add(objectKey(set));
    }
  };
  informers.statefulsets.subscribe({
    added: (set) => queue.add(objectKey(set)),
    updated: (_, set) => queue.add(objectKey(set)),
  });
  informers.persistentvolumeclaims.subscribe({
    // A set may wait for the end of a claim before it makes a pod anew.
    deleted: ({ metadata }) => {
      for (const set of informers.statefulsets.byNamespace(metadata.namespace ?? '')) {
        if (
          (set.spec.volumeClaimTemplates ?? []).some((template) =>
            metadata.name.startsWith(`${template.metadata.name}-${set.metadata.name}-`),
          )
        )
          queue.add(objectKey(set));
      }
    },
  });
  informers.pods.subscribe({ added: enqueueOwner, updated: (_, pod) => enqueueOwner(pod), deleted: enqueueOwner });

  async function claimPods(set: StatefulSet): Promise<Pod[]> {
    const orphans = orphanPods(informers.pods, set.metadata.namespace ?? '').filter(
      (pod) => isPodActive(pod) && ordinalOf(set, pod) !== undefined,
    );
    const claims = planClaims(set, set.spec.selector, [...owned.list(set.metadata.uid ?? ''), ...orphans]);
    return applyClaims(client, { resource: statefulsets, object: set }, podResource, claims);
  }

  function tell(set: StatefulSet, failure: unknown, verb: 'create' | 'delete', subject: string): void {
    const reference = referenceTo(statefulsets, set);
    const what = verb === 'create' ? 'Create' : 'Delete';
    const text = `${verb} ${subject} in StatefulSet ${set.metadata.name}`;
    if (failure === undefined) recorder.event(reference, 'Normal', `Successful${what}`, `${text} successful`);
    else recorder.event(reference, 'Warning', `Failed${what}`, `${text} failed error: ${(failure as Error).message}`);
  }

  /** False while a claim of the pod before is on its way out. */
  async function ensureClaims(set: StatefulSet, ordinal: number): Promise<boolean> {
    for (const draft of draftClaims(set, ordinal)) {
      const subject = `Claim ${draft.metadata.name} Pod ${set.metadata.name}-${ordinal}`;
      try {
        await client.create(persistentvolumeclaims, set.metadata.namespace, draft);
        tell(set, undefined, 'create', subject);
      } catch (error) {
        if (isAlreadyExists(error)) {
          const claim = informers.persistentvolumeclaims.get(`${set.metadata.namespace}/${draft.metadata.name}`);
          if (claim !== undefined && isClaimGoing(set, claim, ordinal, undefined)) return false;
          continue;
        }
        tell(set, error, 'create', subject);
        throw error;
      }
    }
    return true;
  }

  /** Says of claims with whom they go, before anything goes. */
  async function syncClaimOwners(set: StatefulSet, pods: readonly Pod[]): Promise<void> {
    if ((set.spec.volumeClaimTemplates ?? []).length === 0) return;
    const byOrdinal = new Map(pods.map((pod) => [ordinalOf(set, pod), pod]));
    for (const ordinal of claimedOrdinals(set, pods)) {
      for (const { metadata } of draftClaims(set, ordinal)) {
        const claim = informers.persistentvolumeclaims.get(`${set.metadata.namespace}/${metadata.name}`);
        const owners = claim && planClaimOwners(set, claim, ordinal, byOrdinal.get(ordinal));
        // A claim of a pod that is gone goes too: what follows makes a new one.
        if (claim === undefined || owners === undefined || isClaimGoing(set, claim, ordinal, byOrdinal.get(ordinal)))
          continue;
        try {
          const metadata = { ...claim.metadata, ownerReferences: owners };
          await client.update(persistentvolumeclaims, { ...claim, metadata });
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
      }
    }
  }

  async function createPod(set: StatefulSet, ordinal: number, revision: ControllerRevision): Promise<void> {
    const versioned = atRevision(set, revision);
    if (!(await ensureClaims(versioned, ordinal))) return;
    const draft = draftStatefulPod(versioned, ordinal, revision.metadata.name);
    try {
      owned.created(await client.create(podResource, set.metadata.namespace, draft));
      tell(set, undefined, 'create', `Pod ${draft.metadata.name}`);
    } catch (error) {
      // Its predecessor is not gone yet, or the cache is behind.
      if (isAlreadyExists(error) || isNamespaceTerminating(error)) return;
      tell(set, error, 'create', `Pod ${draft.metadata.name}`);
      throw error;
    }
  }

  async function deletePod(set: StatefulSet, { pod }: StatefulAction & { type: 'delete' }): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    try {
      await client.delete(podResource, { namespace, name }, { preconditions: { uid } });
      owned.deleted(pod);
      tell(set, undefined, 'delete', `Pod ${name}`);
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  async function revisionsOf(set: StatefulSet): Promise<{ current: ControllerRevision; update: ControllerRevision }> {
    const all = informers.controllerrevisions.byIndex(byController, set.metadata.uid ?? '');
    try {
      const update = await ensureRevision(client, statefulsets, set, all);
      const current = all.find(({ metadata }) => metadata.name === set.status?.currentRevision);
      return { current: current ?? update, update };
    } catch (error) {
      if (!(error instanceof RevisionCollision)) throw error;
      const status = { ...(set.status ?? { replicas: 0 }), collisionCount: (set.status?.collisionCount ?? 0) + 1 };
      await client.updateSubresource(statefulsets, { ...set, status }, 'status');
      throw error;
    }
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const set = freshest.get(key);
    if (set === undefined || set.metadata.deletionTimestamp !== undefined) return;
    const pods = await claimPods(set);
    await syncClaimOwners(set, pods);
    const { current, update } = await revisionsOf(set);
    const names = { current: current.metadata.name, update: update.metadata.name };
    const { actions } = planStatefulSet(set, pods, names, clock.now());
    for (const action of actions) {
      if (action.type === 'delete') await deletePod(set, action);
      else await createPod(set, action.ordinal, action.revision === 'current' ? current : update);
    }
    const now = planClaims(set, set.spec.selector, owned.list(set.metadata.uid ?? '')).owned;
    const { status } = planStatefulSet(set, now, names, clock.now());
    if (!sameJson(status, set.status ?? {})) {
      freshest.wrote(await client.updateSubresource(statefulsets, { ...set, status }, 'status'));
    }
    const live = new Set([
      names.current,
      names.update,
      ...now.map(({ metadata }) => metadata.labels?.[revisionHashLabel] ?? ''),
    ]);
    const revisions = informers.controllerrevisions.byIndex(byController, set.metadata.uid ?? '');
    await deleteRevisions(client, planRevisionCleanup(set, revisions, live));
    const minReadySeconds = set.spec.minReadySeconds ?? 0;
    const unripe = now.some((pod) => isPodReady(pod) && !isPodAvailable(pod, minReadySeconds, clock.now()));
    if (unripe) return { requeueAfterMs: minReadySeconds * 1000 };
  }

  return queueController(context.name, queue, sync, { concurrency: 5 });
}
