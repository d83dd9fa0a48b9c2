// Keeps one pod of a DaemonSet on every node that it is for, and rolls out new templates.
import type { DaemonSet } from '#kube/api/generated/apps-v1.ts';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { daemonsets, pods as podResource } from '#kube/api/generated/resources.ts';
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
import {
  deleteRevisions,
  ensureRevision,
  hashOf,
  planRevisionCleanup,
  RevisionCollision,
  revisionHashLabel,
} from '../revisions/revisions.ts';
import { sameJson } from '../same-json.ts';
import { byController, orphanPods } from '../shared-informers.ts';
import { slowStart } from '../slow-start.ts';
import { draftDaemonPod } from './daemon-pods.ts';
import { computeDaemonSetStatus, planDaemonSet } from './plan-daemonset.ts';

/** Failed pods of one set are replaced no faster than this. */
const failedPodDelayMs = { first: 1_000, most: 900_000 };

/** What of a node decides where daemon pods go. */
function nodeFacts({ metadata, spec }: Node): string {
  return JSON.stringify([metadata.labels, spec?.taints, spec?.unschedulable]);
}

/** Reads pods, nodes and revisions from the shared informers; one worker per set at a time. */
export function createDaemonSetController(context: ControllerContext): Controller {
  const { informers, client, recorder, clock } = context;
  const queue = createControllerQueue(context);
  const owned = createOwnedPods(informers.pods, clock);
  const freshest = createFreshest(informers.daemonsets);
  /** When the failed pod of a set and node may be replaced, and how often it was. */
  const failures = new Map<string, { count: number; notBeforeMs: number }>();

  const enqueueAll = () => {
    for (const daemonSet of informers.daemonsets.list()) queue.add(objectKey(daemonSet));
  };
  const enqueueOwner = (pod: Pod) => {
    const owner = controllerOf(pod);
    if (owner?.kind === 'DaemonSet') queue.add(`${pod.metadata.namespace}/${owner.name}`);
    if (owner !== undefined || pod.metadata.deletionTimestamp !== undefined) return;
    for (const daemonSet of informers.daemonsets.byNamespace(pod.metadata.namespace ?? '')) {
      if (labelSelectorMatches(daemonSet.spec.selector, pod.metadata.labels)) queue.add(objectKey(daemonSet));
    }
  };
  informers.daemonsets.subscribe({
    added: (daemonSet) => queue.add(objectKey(daemonSet)),
    updated: (_, daemonSet) => queue.add(objectKey(daemonSet)),
  });
  informers.pods.subscribe({ added: enqueueOwner, updated: (_, pod) => enqueueOwner(pod), deleted: enqueueOwner });
  informers.nodes.subscribe({
    added: enqueueAll,
    updated: (previous, node) => {
      if (nodeFacts(previous) !== nodeFacts(node)) enqueueAll();
    },
    deleted: enqueueAll,
  });

  async function claimPods(daemonSet: DaemonSet): Promise<Pod[]> {
    const orphans = orphanPods(informers.pods, daemonSet.metadata.namespace ?? '').filter(isPodActive);
    const candidates = [...owned.list(daemonSet.metadata.uid ?? ''), ...orphans];
    const claims = planClaims(daemonSet, daemonSet.spec.selector, candidates);
    return applyClaims(client, { resource: daemonsets, object: daemonSet }, podResource, claims);
  }

  async function deletePod(daemonSet: DaemonSet, pod: Pod): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    try {
      await client.delete(podResource, { namespace, name }, { preconditions: { uid } });
      owned.deleted(pod);
      recorder.event(referenceTo(daemonsets, daemonSet), 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`);
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  async function createPods(daemonSet: DaemonSet, nodeNames: readonly string[], hash: string): Promise<unknown> {
    const reference = referenceTo(daemonsets, daemonSet);
    const { error } = await slowStart(nodeNames.length, async (index) => {
      try {
        const draft = draftDaemonPod(daemonSet, nodeNames[index] ?? '', hash);
        const pod = await client.create(podResource, daemonSet.metadata.namespace, draft);
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

  /** Failed pods that may be deleted now; the others are looked at again when their backoff has passed. */
  function dueFailures(daemonSet: DaemonSet, failed: readonly Pod[]): { due: Set<Pod>; waitMs: number } {
    const due = new Set<Pod>();
    let waitMs = 0;
    for (const pod of failed) {
      const key = `${daemonSet.metadata.uid}/${pod.spec?.nodeName}`;
      let known = failures.get(key) ?? { count: 0, notBeforeMs: 0 };
      const leftMs = known.notBeforeMs - clock.monotonicMs();
      if (leftMs < -failedPodDelayMs.most) known = { count: 0, notBeforeMs: 0 };
      if (leftMs > 0) {
        waitMs = Math.max(waitMs, leftMs);
        continue;
      }
      const delayMs = Math.min(failedPodDelayMs.most, failedPodDelayMs.first * 2 ** known.count);
      failures.set(key, { count: known.count + 1, notBeforeMs: clock.monotonicMs() + delayMs });
      due.add(pod);
      const { namespace, name } = pod.metadata;
      const message = `Found failed daemon pod ${namespace}/${name} on node ${pod.spec?.nodeName}, will try to kill it`;
      recorder.event(referenceTo(daemonsets, daemonSet), 'Warning', 'FailedDaemonPod', message);
    }
    return { due, waitMs };
  }

  /** The informer may be behind: a pod that has become ready meanwhile counts against the limit of the update. */
  async function isReadyAfterAll({ metadata: { namespace, name, uid } }: Pod): Promise<boolean> {
    // The controller's role has no get.
    const { items } = await client.list(podResource, { namespace, fieldSelector: `metadata.name=${name}` });
    return items.some((now) => now.metadata.uid === uid && isPodReady(now));
  }

  async function revisionFor(daemonSet: DaemonSet): Promise<string> {
    const revisions = informers.controllerrevisions.byIndex(byController, daemonSet.metadata.uid ?? '');
    try {
      return hashOf(await ensureRevision(client, daemonsets, daemonSet, revisions));
    } catch (error) {
      if (!(error instanceof RevisionCollision)) throw error;
      const collisionCount = (daemonSet.status?.collisionCount ?? 0) + 1;
      const empty = { currentNumberScheduled: 0, desiredNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0 };
      const status = { ...empty, ...daemonSet.status, collisionCount };
      await client.updateSubresource(daemonsets, { ...daemonSet, status }, 'status');
      throw error;
    }
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const daemonSet = freshest.get(key);
    if (daemonSet === undefined) return;
    const pods = await claimPods(daemonSet);
    const nodes = informers.nodes.list();
    const leaving = daemonSet.metadata.deletionTimestamp !== undefined;
    const hash = leaving ? '' : await revisionFor(daemonSet);
    const plan = planDaemonSet(daemonSet, nodes, pods, hash, clock.now());
    const { due, waitMs } = dueFailures(daemonSet, plan.failed);
    for (const pod of plan.delete) {
      if (plan.failed.includes(pod) && !due.has(pod)) continue;
      if (plan.unready.includes(pod) && (await isReadyAfterAll(pod))) continue;
      await deletePod(daemonSet, pod);
    }
    const error = await createPods(daemonSet, plan.create, hash);
    const now = planClaims(daemonSet, daemonSet.spec.selector, owned.list(daemonSet.metadata.uid ?? '')).owned;
    const status = computeDaemonSetStatus(daemonSet, nodes, now, hash, clock.now());
    if (!sameJson(status, daemonSet.status ?? {})) {
      freshest.wrote(await client.updateSubresource(daemonsets, { ...daemonSet, status }, 'status'));
    }
    if (error !== undefined) throw error;
    const revisions = informers.controllerrevisions.byIndex(byController, daemonSet.metadata.uid ?? '');
    const live = new Set([hash, ...now.map(({ metadata }) => metadata.labels?.[revisionHashLabel] ?? '')]);
    if (!leaving) await deleteRevisions(client, planRevisionCleanup(daemonSet, revisions, live));
    const minReadySeconds = daemonSet.spec.minReadySeconds ?? 0;
    const unripe = now.some((pod) => isPodReady(pod) && !isPodAvailable(pod, minReadySeconds, clock.now()));
    if (waitMs > 0) return { requeueAfterMs: waitMs };
    if (unripe) return { requeueAfterMs: minReadySeconds * 1000 };
  }

  return queueController(context.name, queue, sync, { concurrency: 2 });
}
