// Which old replica sets a deployment no longer keeps for rollbacks. Pure.
import type { ReplicaSet } from '#kube/api/generated/apps-v1.ts';
import { revisionOf } from './annotations.ts';
import { type DeploymentView, replicasOf } from './replica-sets.ts';

/** Empty, settled sets beyond revisionHistoryLimit, lowest revision first. */
export function planHistoryCleanup({ deployment, oldReplicaSets }: DeploymentView): ReplicaSet[] {
  const limit = deployment.spec.revisionHistoryLimit;
  if (limit === undefined || limit === 2 ** 31 - 1) return [];
  const kept = oldReplicaSets.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  return [...kept]
    .sort((a, b) => revisionOf(a) - revisionOf(b))
    .slice(0, Math.max(0, kept.length - limit))
    .filter(
      (replicaSet) =>
        (replicaSet.status?.replicas ?? 0) === 0 &&
        replicasOf(replicaSet) === 0 &&
        (replicaSet.metadata.generation ?? 0) <= (replicaSet.status?.observedGeneration ?? 0),
    );
}
