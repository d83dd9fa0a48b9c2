// How a deployment goes from its old replica sets to the one of its template: which sizes change now. Pure.
// Behaviour: upstream's deployment/{rolling,recreate}.go and util/deployment_util.go.

import type { Scaling } from './plan-scale.ts';
import {
  allReplicaSets,
  type DeploymentView,
  desiredReplicas,
  isRollingUpdate,
  replicasOf,
  rolloutBounds,
  sumAvailable,
  sumPresent,
  sumReplicas,
} from './replica-sets.ts';

/** The size that the new replica set is created with, or grows to now. */
export function newReplicaSetSize(view: DeploymentView): number {
  const desired = desiredReplicas(view.deployment);
  if (!isRollingUpdate(view.deployment)) return desired;
  const current = replicasOf(view.newReplicaSet);
  const room = desired + rolloutBounds(view.deployment).surge - sumPresent(allReplicaSets(view));
  return room <= 0 ? current : current + Math.min(room, desired - current);
}

function scaleNew(view: DeploymentView): Scaling[] {
  const { newReplicaSet, deployment } = view;
  if (newReplicaSet === undefined) return [];
  const current = replicasOf(newReplicaSet);
  const desired = desiredReplicas(deployment);
  const replicas = current > desired ? desired : newReplicaSetSize(view);
  return replicas === current ? [] : [{ replicaSet: newReplicaSet, replicas }];
}

/** Pods of old sets that are not available go first; then as many as availability allows, oldest set first. */
function scaleOld(view: DeploymentView): Scaling[] {
  const { deployment, newReplicaSet, oldReplicaSets } = view;
  const minAvailable = desiredReplicas(deployment) - rolloutBounds(deployment).unavailable;
  const all = allReplicaSets(view);
  const newUnavailable = replicasOf(newReplicaSet) - (newReplicaSet?.status?.availableReplicas ?? 0);
  const maxDown = sumReplicas(all) - minAvailable - newUnavailable;
  if (sumReplicas(oldReplicaSets) === 0 || maxDown <= 0) return [];
  const sizes = new Map(oldReplicaSets.map((replicaSet) => [replicaSet, replicasOf(replicaSet)]));
  const shrink = (limit: number, shrinkable: (size: number, available: number) => number) => {
    let left = limit;
    for (const [replicaSet, size] of sizes) {
      const down = Math.min(left, Math.max(0, shrinkable(size, replicaSet.status?.availableReplicas ?? 0)));
      sizes.set(replicaSet, size - down);
      left -= down;
      if (left <= 0) return;
    }
  };
  shrink(maxDown, (size, available) => size - available);
  const spare = sumAvailable(all) - minAvailable;
  if (spare > 0) shrink(spare, (size) => size);
  return [...sizes]
    .filter(([replicaSet, size]) => size !== replicasOf(replicaSet))
    .map(([replicaSet, replicas]) => ({ replicaSet, replicas }));
}

/** What a rollout does next. `create`: the new replica set does not exist and is to be made, with this size. */
export interface RolloutPlan {
  create: number | undefined;
  scale: Scaling[];
}

/**
 * One step of the rollout. Steps follow one another as replica sets report: first the new set grows, and only when
 * it cannot, old sets shrink. `oldPodsRunning`: some pod of an old set has not finished (for Recreate).
 */
export function planRollout(view: DeploymentView, oldPodsRunning: boolean): RolloutPlan {
  if (!isRollingUpdate(view.deployment)) {
    const scale = view.oldReplicaSets
      .filter((replicaSet) => replicasOf(replicaSet) > 0)
      .map((replicaSet) => ({ replicaSet, replicas: 0 }));
    if (scale.length > 0 || oldPodsRunning) return { create: undefined, scale };
  }
  if (view.newReplicaSet === undefined) return { create: newReplicaSetSize(view), scale: [] };
  const scale = scaleNew(view);
  if (scale.length > 0 || !isRollingUpdate(view.deployment)) return { create: undefined, scale };
  return { create: undefined, scale: scaleOld(view) };
}
