// Scaling a deployment whose template did not change: while paused, and when its size changed in mid-rollout.
// Replicas are shared out in proportion to the sets' sizes. Behaviour: upstream's deployment/sync.go. Pure.
import type { Deployment, ReplicaSet } from '#kube/api/generated/apps-v1.ts';
import { desiredReplicasOf, maxReplicasOf } from './annotations.ts';
import {
  allReplicaSets,
  type DeploymentView,
  desiredReplicas,
  isRollingUpdate,
  replicasOf,
  rolloutBounds,
  sumReplicas,
} from './replica-sets.ts';

/** A replica set and the size it is to have. */
export interface Scaling {
  replicaSet: ReplicaSet;
  replicas: number;
}

/** Whether the deployment's size differs from the one that its active replica sets were last scaled for. */
export function isScalingEvent(view: DeploymentView): boolean {
  const desired = desiredReplicas(view.deployment);
  return allReplicaSets(view).some((replicaSet) => {
    const recorded = replicasOf(replicaSet) > 0 ? desiredReplicasOf(replicaSet) : undefined;
    return recorded !== undefined && recorded !== desired;
  });
}

/** The only active set, or with none active the new one or the youngest. Undefined when several are active. */
function onlyActiveOrLatest(view: DeploymentView): ReplicaSet | undefined {
  const active = allReplicaSets(view).filter((replicaSet) => replicasOf(replicaSet) > 0);
  if (active.length > 1) return undefined;
  return active[0] ?? view.newReplicaSet ?? view.oldReplicaSets.at(-1);
}

function isSaturated(deployment: Deployment, replicaSet: ReplicaSet | undefined): boolean {
  if (replicaSet === undefined) return false;
  const desired = desiredReplicas(deployment);
  return (
    replicasOf(replicaSet) === desired &&
    desiredReplicasOf(replicaSet) === desired &&
    replicaSet.status?.availableReplicas === desired
  );
}

/** How many replicas a set gains or loses when the deployment goes from its recorded maximum to `max`. */
function share(replicaSet: ReplicaSet, deployment: Deployment, max: number, toAdd: number, added: number): number {
  const size = replicasOf(replicaSet);
  if (size === 0 || toAdd === added) return 0;
  const recordedMax = maxReplicasOf(replicaSet) ?? deployment.status?.replicas ?? 0;
  const scaled = recordedMax === 0 ? size : Math.round((size * max) / recordedMax);
  const allowed = toAdd - added;
  return toAdd > 0 ? Math.min(scaled - size, allowed) : Math.max(scaled - size, allowed);
}

function planProportional(view: DeploymentView): Scaling[] {
  const { deployment } = view;
  const active = allReplicaSets(view).filter((replicaSet) => replicasOf(replicaSet) > 0);
  const desired = desiredReplicas(deployment);
  const max = desired > 0 ? desired + rolloutBounds(deployment).surge : 0;
  const toAdd = max - sumReplicas(active);
  const age = ({ metadata }: ReplicaSet) => metadata.creationTimestamp ?? '';
  const byAge = (a: ReplicaSet, b: ReplicaSet) => (age(a) < age(b) ? -1 : 1) * (toAdd > 0 ? -1 : 1);
  active.sort((a, b) => replicasOf(b) - replicasOf(a) || byAge(a, b));
  let added = 0;
  const scalings = active.map((replicaSet) => {
    const change = toAdd === 0 ? 0 : share(replicaSet, deployment, max, toAdd, added);
    added += change;
    return { replicaSet, replicas: replicasOf(replicaSet) + change };
  });
  const largest = scalings[0];
  if (largest !== undefined) largest.replicas = Math.max(0, largest.replicas + toAdd - added);
  return scalings;
}

/** The sizes that make the deployment's sets add up to what it asks for. Sets already right are included. */
export function planScale(view: DeploymentView): Scaling[] {
  const { deployment, newReplicaSet, oldReplicaSets } = view;
  const only = onlyActiveOrLatest(view);
  if (only !== undefined) return [{ replicaSet: only, replicas: desiredReplicas(deployment) }];
  if (isSaturated(deployment, newReplicaSet)) {
    return oldReplicaSets.filter((old) => replicasOf(old) > 0).map((replicaSet) => ({ replicaSet, replicas: 0 }));
  }
  return isRollingUpdate(deployment) ? planProportional(view) : [];
}
