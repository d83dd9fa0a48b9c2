// Facts about a deployment's replica sets that all parts of the plan share. Pure.
import type { Deployment, ReplicaSet } from '#kube/api/generated/apps-v1.ts';
import type { PodTemplateSpec } from '#kube/api/generated/core-v1.ts';
import { scaledIntOrPercent } from '#kube/api/int-or-string.ts';
import { canonicalJson } from '../pod-template.ts';

/** Tells the replica sets of one deployment apart, and their pods. */
export const podTemplateHashLabel = 'pod-template-hash';

/** A deployment with its replica sets told apart: the one of the current template, and the others by age. */
export interface DeploymentView {
  deployment: Deployment;
  newReplicaSet: ReplicaSet | undefined;
  oldReplicaSets: ReplicaSet[];
}

/** The size asked for; none for a set that does not exist. */
export function replicasOf(replicaSet: ReplicaSet | undefined): number {
  return replicaSet === undefined ? 0 : (replicaSet.spec.replicas ?? 1);
}

/** The deployment's size; one where it names none. */
export function desiredReplicas(deployment: Deployment): number {
  return deployment.spec.replicas ?? 1;
}

/** Whether old and new pods may run side by side. */
export function isRollingUpdate(deployment: Deployment): boolean {
  return (deployment.spec.strategy?.type ?? 'RollingUpdate') === 'RollingUpdate';
}

/** How many pods more, and how many available pods less than desired, are allowed during a rollout; never both none. */
export function rolloutBounds(deployment: Deployment): { surge: number; unavailable: number } {
  if (!isRollingUpdate(deployment)) return { surge: 0, unavailable: 0 };
  const desired = desiredReplicas(deployment);
  const { maxSurge = '25%', maxUnavailable = '25%' } = deployment.spec.strategy?.rollingUpdate ?? {};
  const surge = scaledIntOrPercent(maxSurge, desired, 'up');
  const unavailable = Math.min(desired, scaledIntOrPercent(maxUnavailable, desired, 'down'));
  return { surge, unavailable: surge === 0 && unavailable === 0 && desired > 0 ? 1 : unavailable };
}

/** The template without the label by which its replica set is told apart. */
function comparable(template: PodTemplateSpec | undefined): string {
  const { [podTemplateHashLabel]: _, ...labels } = template?.metadata?.labels ?? {};
  return canonicalJson({ ...template, metadata: { ...template?.metadata, labels, creationTimestamp: undefined } });
}

function byAge(a: ReplicaSet, b: ReplicaSet): number {
  const [first, second] = [a, b].map(({ metadata }) => `${metadata.creationTimestamp} ${metadata.name}`);
  return (first ?? '') < (second ?? '') ? -1 : 1;
}

/** Finds the replica set of the deployment's template; of several the oldest, as upstream does. */
export function viewDeployment(deployment: Deployment, replicaSets: readonly ReplicaSet[]): DeploymentView {
  const sorted = [...replicaSets].sort(byAge);
  const wanted = comparable(deployment.spec.template);
  const newReplicaSet = sorted.find((replicaSet) => comparable(replicaSet.spec.template) === wanted);
  return { deployment, newReplicaSet, oldReplicaSets: sorted.filter((replicaSet) => replicaSet !== newReplicaSet) };
}

/** Old sets by age, then the new one. */
export function allReplicaSets({ newReplicaSet, oldReplicaSets }: DeploymentView): ReplicaSet[] {
  return newReplicaSet === undefined ? oldReplicaSets : [...oldReplicaSets, newReplicaSet];
}

/** Replicas asked for, over all the sets. */
export function sumReplicas(replicaSets: readonly ReplicaSet[]): number {
  return replicaSets.reduce((sum, replicaSet) => sum + replicasOf(replicaSet), 0);
}

/** Replicas asked for, or still there of a set that was told to shrink: the surge counts what a watcher sees. */
export function sumPresent(replicaSets: readonly ReplicaSet[]): number {
  return replicaSets.reduce(
    (sum, replicaSet) => sum + Math.max(replicasOf(replicaSet), replicaSet.status?.replicas ?? 0),
    0,
  );
}

/** Available pods that will stay, over all the sets: the status of a set that shrinks counts those that are to go. */
export function sumAvailable(replicaSets: readonly ReplicaSet[]): number {
  return replicaSets.reduce(
    (sum, replicaSet) => sum + Math.min(replicasOf(replicaSet), replicaSet.status?.availableReplicas ?? 0),
    0,
  );
}
