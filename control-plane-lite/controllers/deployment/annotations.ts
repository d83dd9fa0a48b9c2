// The annotations by which deployments and their replica sets tell revisions and sizes.
import type { Deployment, ReplicaSet } from '#kube/api/generated/apps-v1.ts';

/** The revision of a deployment or replica set, by which kubectl lists and undoes rollouts. */
export const revisionAnnotation = 'deployment.kubernetes.io/revision';
/** Revisions that a replica set had before, separated by commas. */
export const revisionHistoryAnnotation = 'deployment.kubernetes.io/revision-history';
/** See desiredReplicasOf. */
export const desiredReplicasAnnotation = 'deployment.kubernetes.io/desired-replicas';
/** See maxReplicasOf. */
export const maxReplicasAnnotation = 'deployment.kubernetes.io/max-replicas';

const notCopied = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'deprecated.deployment.rollback.to',
  revisionAnnotation,
  revisionHistoryAnnotation,
  desiredReplicasAnnotation,
  maxReplicasAnnotation,
]);

type Annotations = Record<string, string>;

function numberIn(annotations: Annotations | undefined, name: string): number | undefined {
  const text = annotations?.[name];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Zero where no revision was recorded. */
export function revisionOf(object: Pick<ReplicaSet | Deployment, 'metadata'>): number {
  return numberIn(object.metadata.annotations, revisionAnnotation) ?? 0;
}

/** The deployment's replicas when this replica set was last scaled. */
export function desiredReplicasOf(replicaSet: ReplicaSet): number | undefined {
  return numberIn(replicaSet.metadata.annotations, desiredReplicasAnnotation);
}

/** The deployment's replicas plus surge when this replica set was last scaled. */
export function maxReplicasOf(replicaSet: ReplicaSet): number | undefined {
  return numberIn(replicaSet.metadata.annotations, maxReplicasAnnotation);
}

/** What a replica set remembers of its deployment's size when it is scaled. */
export function sizeAnnotations(desired: number, max: number): Annotations {
  return { [desiredReplicasAnnotation]: String(desired), [maxReplicasAnnotation]: String(max) };
}

/**
 * Annotations of the replica set that stands for the deployment's template: the deployment's own and the revision,
 * which is raised above all others; the revision it had goes into its history.
 */
export function newReplicaSetAnnotations(
  deployment: Deployment,
  existing: Annotations | undefined,
  newRevision: number,
): Annotations {
  const own = Object.entries(deployment.metadata.annotations ?? {}).filter(([name]) => !notCopied.has(name));
  const annotations: Annotations = { ...existing, ...Object.fromEntries(own) };
  const oldRevision = numberIn(existing, revisionAnnotation) ?? 0;
  if (oldRevision >= newRevision) return annotations;
  annotations[revisionAnnotation] = String(newRevision);
  const oldText = existing?.[revisionAnnotation];
  if (oldText !== undefined) {
    const history = existing?.[revisionHistoryAnnotation];
    annotations[revisionHistoryAnnotation] =
      history === undefined || history === '' ? oldText : `${history},${oldText}`;
  }
  return annotations;
}
