// Keeps the status of PodDisruptionBudgets, by which evictions are granted or refused.
import { findCondition } from '#kube/api/conditions.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { PodDisruptionBudget, PodDisruptionBudgetStatus } from '#kube/api/generated/policy-v1.ts';
import { poddisruptionbudgets, pods as podResource } from '#kube/api/generated/resources.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { objectKey } from '#kube/api/resource.ts';
import { formatTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { createScaleFinder } from '../find-scale.ts';
import { sameJson } from '../same-json.ts';
import {
  computeDisruptionStatus,
  countsSizes,
  disruptedPodTimeoutMs,
  failedDisruptionStatus,
  staleDisruptionMs,
} from './compute-disruption.ts';

interface Size {
  uid: string;
  replicas: number;
}

/** Sizes that could not be had are asked for again. */
const failedRetryMs = 10_000;

/** `sharedClient` watches. */
export function createDisruptionController(context: ControllerContext, sharedClient: ApiClient): Controller {
  const { informers, client, recorder, clock, logger } = context;
  const queue = createControllerQueue(context);
  /** Pods that are said to be disrupted. */
  const disrupted = createControllerQueue({ ...context, queueObserver: undefined });
  const scales = createScaleFinder(client, clock);
  const budgets = createInformer<PodDisruptionBudget>({
    client: sharedClient,
    resource: poddisruptionbudgets,
    clock,
    logger,
  });
  budgets.subscribe({
    added: (budget) => queue.add(objectKey(budget)),
    updated: (_, budget) => queue.add(objectKey(budget)),
  });
  const enqueueFor = ({ metadata }: Pod) => {
    for (const budget of budgets.byNamespace(metadata.namespace ?? '')) {
      if (labelSelectorMatches(budget.spec?.selector, metadata.labels)) queue.add(objectKey(budget));
    }
  };
  const lookAtTarget = (pod: Pod) => {
    if (staleDisruptionMs(pod, clock.now()) !== undefined) disrupted.add(objectKey(pod));
  };
  informers.pods.subscribe({ added: lookAtTarget, updated: (_, pod) => lookAtTarget(pod) });
  informers.pods.subscribe({ added: enqueueFor, updated: (_, pod) => enqueueFor(pod), deleted: enqueueFor });
  const enqueueNamespace = ({ metadata }: { metadata: { namespace?: string | undefined } }) => {
    for (const budget of budgets.byNamespace(metadata.namespace ?? '')) queue.add(objectKey(budget));
  };
  for (const informer of [informers.replicasets, informers.statefulsets, informers.replicationcontrollers]) {
    informer.subscribe({ updated: (_, owner) => enqueueNamespace(owner) });
  }

  /** The size asked for by a pod's managing controller; the deployment's counts where there is one. */
  async function sizeOf(pod: Pod): Promise<Size | undefined> {
    const owner = controllerOf(pod);
    if (owner === undefined) return undefined;
    const { namespace = '' } = pod.metadata;
    const key = `${namespace}/${owner.name}`;
    const known = {
      StatefulSet: informers.statefulsets,
      ReplicaSet: informers.replicasets,
      ReplicationController: informers.replicationcontrollers,
    }[owner.kind];
    if (known === undefined) {
      const scale = await scales.get(await scales.resourceOf(owner), namespace, owner.name);
      return scale.metadata?.uid === owner.uid ? { uid: owner.uid, replicas: scale.spec?.replicas ?? 0 } : undefined;
    }
    const found = known.get(key);
    if (found?.metadata.uid !== owner.uid) return undefined;
    const parent = owner.kind === 'ReplicaSet' ? controllerOf(found) : undefined;
    const deployment =
      parent?.kind === 'Deployment' ? informers.deployments.get(`${namespace}/${parent.name}`) : undefined;
    const { metadata, spec } = deployment ?? found;
    return { uid: metadata.uid ?? '', replicas: spec.replicas ?? 1 };
  }

  /** Throws where the size of a controller cannot be had. */
  async function sumOfSizes(pods: readonly Pod[]): Promise<number> {
    const sizes = new Map<string, number>();
    const looked = new Set<string>();
    for (const pod of pods) {
      const owner = controllerOf(pod)?.uid ?? '';
      if (looked.has(owner)) continue;
      looked.add(owner);
      const size = await sizeOf(pod);
      if (size !== undefined) sizes.set(size.uid, size.replicas);
    }
    return [...sizes.values()].reduce((sum, replicas) => sum + replicas, 0);
  }

  async function statusOf(budget: PodDisruptionBudget, pods: readonly Pod[]): Promise<PodDisruptionBudgetStatus> {
    const reference = referenceTo(poddisruptionbudgets, budget);
    if (pods.length === 0) recorder.event(reference, 'Normal', 'NoPods', 'No matching pods found');
    try {
      const size = countsSizes(budget) ? await sumOfSizes(pods) : 0;
      return computeDisruptionStatus(budget, pods, () => size, clock.now());
    } catch (error) {
      // Nothing may be evicted while nobody knows how many pods there should be.
      const message = error instanceof Error ? error.message : String(error);
      const text = `Failed to calculate the number of expected pods: ${message}`;
      recorder.event(reference, 'Warning', 'CalculateExpectedPodCountFailed', text);
      return failedDisruptionStatus(budget, message, clock.now());
    }
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const budget = budgets.get(key);
    if (budget === undefined) return;
    const pods = informers.pods
      .byNamespace(budget.metadata.namespace ?? '')
      .filter(({ metadata }) => labelSelectorMatches(budget.spec?.selector, metadata.labels));
    const status = await statusOf(budget, pods);
    if (!sameJson(status, budget.status ?? {})) {
      try {
        await client.updateSubresource(poddisruptionbudgets, { ...budget, status }, 'status');
      } catch (error) {
        if (isNotFound(error)) return;
        if (isConflict(error)) return { requeueAfterMs: 20 };
        throw error;
      }
    }
    if (findCondition(status.conditions, 'DisruptionAllowed')?.reason === 'SyncFailed') {
      return { requeueAfterMs: failedRetryMs };
    }
    if (status.disruptedPods !== undefined) return { requeueAfterMs: disruptedPodTimeoutMs };
  }

  /** A pod that was to be disrupted and was not after all says so no longer. */
  async function syncPod(key: string): Promise<void | { requeueAfterMs: number }> {
    const pod = informers.pods.get(key);
    const leftMs = pod === undefined ? undefined : staleDisruptionMs(pod, clock.now());
    if (pod === undefined || leftMs === undefined) return;
    if (leftMs > 0) return { requeueAfterMs: leftMs };
    const { namespace, name, uid } = pod.metadata;
    const condition = { type: 'DisruptionTarget', status: 'False', lastTransitionTime: formatTime(clock.now()) };
    const patch = { metadata: { uid }, status: { conditions: [condition] } };
    try {
      await client.patch(podResource, { namespace, name }, 'strategic', patch, { subresource: 'status' });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  const worker = { run: async (signal: AbortSignal) => queue.run(sync, { concurrency: 2, signal }) };
  const podWorker = { run: async (signal: AbortSignal) => disrupted.run(syncPod, { concurrency: 1, signal }) };
  return { name: context.name, run: async (signal) => runGroup([budgets, worker, podWorker], signal) };
}
