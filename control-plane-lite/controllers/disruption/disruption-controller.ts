// Keeps the status of PodDisruptionBudgets, by which evictions are granted or refused.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import { poddisruptionbudgets } from '#kube/api/generated/resources.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { objectKey } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { sameJson } from '../same-json.ts';
import { computeDisruptionStatus, disruptedPodTimeoutMs } from './compute-disruption.ts';

/** `sharedClient` watches. */
export function createDisruptionController(context: ControllerContext, sharedClient: ApiClient): Controller {
  const { informers, client, clock, logger } = context;
  const queue = createControllerQueue(context);
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
  informers.pods.subscribe({ added: enqueueFor, updated: (_, pod) => enqueueFor(pod), deleted: enqueueFor });
  const enqueueNamespace = ({ metadata }: { metadata: { namespace?: string | undefined } }) => {
    for (const budget of budgets.byNamespace(metadata.namespace ?? '')) queue.add(objectKey(budget));
  };
  for (const informer of [informers.replicasets, informers.statefulsets]) {
    informer.subscribe({ updated: (_, owner) => enqueueNamespace(owner) });
  }

  /** The size asked for by one managing controller; the deployment's counts where there is one. */
  function sizeOf(pod: Pod): { uid: string; replicas: number } | undefined {
    const owner = controllerOf(pod);
    const key = `${pod.metadata.namespace}/${owner?.name}`;
    if (owner?.kind === 'StatefulSet') {
      const set = informers.statefulsets.get(key);
      return set?.metadata.uid === owner.uid ? { uid: owner.uid, replicas: set.spec.replicas ?? 1 } : undefined;
    }
    if (owner?.kind !== 'ReplicaSet') return undefined;
    const replicaSet = informers.replicasets.get(key);
    if (replicaSet?.metadata.uid !== owner.uid) return undefined;
    const parent = controllerOf(replicaSet);
    const deployment =
      parent?.kind === 'Deployment' ? informers.deployments.get(`${pod.metadata.namespace}/${parent.name}`) : undefined;
    if (deployment !== undefined)
      return { uid: deployment.metadata.uid ?? '', replicas: deployment.spec.replicas ?? 1 };
    return { uid: owner.uid, replicas: replicaSet.spec.replicas ?? 1 };
  }

  function sumOfSizes(pods: readonly Pod[]): number {
    const sizes = new Map<string, number>();
    for (const pod of pods) {
      const size = sizeOf(pod);
      if (size !== undefined) sizes.set(size.uid, size.replicas);
    }
    return [...sizes.values()].reduce((sum, replicas) => sum + replicas, 0);
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const budget = budgets.get(key);
    if (budget === undefined) return;
    const pods = informers.pods
      .byNamespace(budget.metadata.namespace ?? '')
      .filter(({ metadata }) => labelSelectorMatches(budget.spec?.selector, metadata.labels));
    const status = computeDisruptionStatus(budget, pods, () => sumOfSizes(pods), clock.now());
    if (!sameJson(status, budget.status ?? {})) {
      try {
        await client.updateSubresource(poddisruptionbudgets, { ...budget, status }, 'status');
      } catch (error) {
        if (isNotFound(error)) return;
        if (isConflict(error)) return { requeueAfterMs: 20 };
        throw error;
      }
    }
    if (status.disruptedPods !== undefined) return { requeueAfterMs: disruptedPodTimeoutMs };
  }

  const worker = { run: async (signal: AbortSignal) => queue.run(sync, { concurrency: 2, signal }) };
  return { name: context.name, run: async (signal) => runGroup([budgets, worker], signal) };
}
