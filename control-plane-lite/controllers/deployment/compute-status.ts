// A deployment's status and conditions from its replica sets. Pure.
// Behaviour and texts: upstream's deployment/progress.go and sync.go.
import { findCondition, withoutCondition } from '#kube/api/conditions.ts';
import type { Deployment, DeploymentCondition, DeploymentStatus } from '#kube/api/generated/apps-v1.ts';
import { formatTime, parseTime } from '#kube/api/time.ts';
import { omitZeros } from '../omit-zeros.ts';
import { allReplicaSets, type DeploymentView, desiredReplicas, rolloutBounds, sumReplicas } from './replica-sets.ts';

/** A deadline that stands for none. */
const noDeadlineSeconds = 2 ** 31 - 1;

function condition(type: string, status: string, reason: string, message: string, nowMs: number): DeploymentCondition {
  const now = formatTime(nowMs);
  return { type, status, reason, message, lastUpdateTime: now, lastTransitionTime: now };
}

/** Sets a condition: one with equal status and reason stays as it is; an equal status keeps its transition time. */
export function withDeploymentCondition(
  conditions: readonly DeploymentCondition[],
  next: DeploymentCondition,
): DeploymentCondition[] {
  const current = findCondition(conditions, next.type);
  if (current?.status === next.status && current.reason === next.reason) return [...conditions];
  const kept = current?.status === next.status ? { ...next, lastTransitionTime: current.lastTransitionTime } : next;
  return [...withoutCondition(conditions, next.type), kept];
}

/** As `withDeploymentCondition`, with the type Progressing. */
export function withProgress(
  conditions: readonly DeploymentCondition[],
  status: 'True' | 'False' | 'Unknown',
  reason: string,
  message: string,
  nowMs: number,
): DeploymentCondition[] {
  return withDeploymentCondition(conditions, condition('Progressing', status, reason, message, nowMs));
}

/** Whether the deployment wants to know when it is stuck. */
export function hasProgressDeadline({ spec }: Deployment): boolean {
  return spec.progressDeadlineSeconds !== undefined && spec.progressDeadlineSeconds !== noDeadlineSeconds;
}

/** All replicas are of the new template and available. */
export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const desired = desiredReplicas(deployment);
  return (
    (status.updatedReplicas ?? 0) === desired &&
    (status.replicas ?? 0) === desired &&
    (status.availableReplicas ?? 0) === desired &&
    (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  );
}

function isProgressing(previous: DeploymentStatus, next: DeploymentStatus): boolean {
  const old = ({ replicas = 0, updatedReplicas = 0 }: DeploymentStatus) => replicas - updatedReplicas;
  return (
    (next.updatedReplicas ?? 0) > (previous.updatedReplicas ?? 0) ||
    old(next) < old(previous) ||
    (next.readyReplicas ?? 0) > (previous.readyReplicas ?? 0) ||
    (next.availableReplicas ?? 0) > (previous.availableReplicas ?? 0)
  );
}

function hasTimedOut(deployment: Deployment, conditions: readonly DeploymentCondition[], nowMs: number): boolean {
  const progressing = findCondition(conditions, 'Progressing');
  if (progressing === undefined || progressing.reason === 'NewReplicaSetAvailable') return false;
  if (progressing.reason === 'ProgressDeadlineExceeded') return true;
  const sinceMs = parseTime(progressing.lastUpdateTime) ?? nowMs;
  return sinceMs + (deployment.spec.progressDeadlineSeconds ?? 600) * 1000 < nowMs;
}

function withRolloutProgress(
  view: DeploymentView,
  status: DeploymentStatus,
  conditions: DeploymentCondition[],
  nowMs: number,
): DeploymentCondition[] {
  const { deployment, newReplicaSet } = view;
  const current = findCondition(conditions, 'Progressing');
  const subject =
    newReplicaSet === undefined
      ? `Deployment "${deployment.metadata.name}"`
      : `ReplicaSet "${newReplicaSet.metadata.name}"`;
  if (status.replicas === status.updatedReplicas && current?.reason === 'NewReplicaSetAvailable') return conditions;
  if (isComplete(deployment, status)) {
    return withProgress(conditions, 'True', 'NewReplicaSetAvailable', `${subject} has successfully progressed.`, nowMs);
  }
  if (isProgressing(deployment.status ?? {}, status)) {
    const next = condition('Progressing', 'True', 'ReplicaSetUpdated', `${subject} is progressing.`, nowMs);
    const kept = current?.status === 'True' ? { ...next, lastTransitionTime: current.lastTransitionTime } : next;
    return [...withoutCondition(conditions, 'Progressing'), kept];
  }
  if (hasTimedOut(deployment, conditions, nowMs)) {
    return withProgress(
      conditions,
      'False',
      'ProgressDeadlineExceeded',
      `${subject} has timed out progressing.`,
      nowMs,
    );
  }
  return conditions;
}

/** The counts and the Available condition alone; `conditions` are the ones to start from. */
export function computeCounts(
  view: DeploymentView,
  conditions: readonly DeploymentCondition[],
  nowMs: number,
): DeploymentStatus & { conditions: DeploymentCondition[] } {
  const { deployment, newReplicaSet } = view;
  const sets = allReplicaSets(view);
  const sum = (field: 'replicas' | 'readyReplicas' | 'availableReplicas' | 'terminatingReplicas') =>
    sets.reduce((total, { status }) => total + (status?.[field] ?? 0), 0);
  const available = sum('availableReplicas');
  const enough = available >= desiredReplicas(deployment) - rolloutBounds(deployment).unavailable;
  const text = enough ? 'Deployment has minimum availability.' : 'Deployment does not have minimum availability.';
  const reason = enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable';
  const { collisionCount } = deployment.status ?? {};
  const counts: DeploymentStatus = {
    observedGeneration: deployment.metadata.generation,
    replicas: sum('replicas'),
    updatedReplicas: newReplicaSet?.status?.replicas ?? 0,
    readyReplicas: sum('readyReplicas'),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, sumReplicas(sets) - available),
    terminatingReplicas: sum('terminatingReplicas'),
    ...(collisionCount === undefined ? {} : { collisionCount }),
  };
  const shown = omitZeros(counts, [
    'observedGeneration',
    'replicas',
    'updatedReplicas',
    'readyReplicas',
    'availableReplicas',
    'unavailableReplicas',
  ]);
  const state = condition('Available', enough ? 'True' : 'False', reason, text, nowMs);
  return { ...shown, conditions: withDeploymentCondition(conditions, state) };
}

/** The whole status of a rollout: counts, availability, progress and failures of replica sets. */
export function computeRolloutStatus(
  view: DeploymentView,
  conditions: readonly DeploymentCondition[],
  nowMs: number,
): DeploymentStatus & { conditions: DeploymentCondition[] } {
  const status = computeCounts(view, conditions, nowMs);
  let next = hasProgressDeadline(view.deployment)
    ? withRolloutProgress(view, status, status.conditions, nowMs)
    : withoutCondition(status.conditions, 'Progressing');
  const failing = [view.newReplicaSet, ...view.oldReplicaSets]
    .map((replicaSet) => findCondition(replicaSet?.status?.conditions, 'ReplicaFailure'))
    .find((failure) => failure?.status === 'True');
  next =
    failing === undefined
      ? withoutCondition(next, 'ReplicaFailure')
      : withDeploymentCondition(
          next,
          condition('ReplicaFailure', 'True', failing.reason ?? '', failing.message ?? '', nowMs),
        );
  return { ...status, conditions: next };
}

/** Milliseconds until the rollout's deadline has to be looked at; undefined when it is not running. */
export function deadlineCheckMs(deployment: Deployment, status: DeploymentStatus, nowMs: number): number | undefined {
  const progressing = findCondition(status.conditions, 'Progressing');
  if (!hasProgressDeadline(deployment) || progressing === undefined || isComplete(deployment, status)) return undefined;
  if (progressing.reason === 'NewReplicaSetAvailable' || progressing.reason === 'ProgressDeadlineExceeded')
    return undefined;
  const sinceMs = parseTime(progressing.lastUpdateTime) ?? nowMs;
  return Math.max(0, sinceMs + (deployment.spec.progressDeadlineSeconds ?? 600) * 1000 - nowMs) + 1000;
}
