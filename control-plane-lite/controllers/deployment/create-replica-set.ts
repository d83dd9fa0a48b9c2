// Makes the replica set of a deployment's template. Its name carries a hash of the template; a collision with
// another template's set raises the deployment's collision count, which changes the hash.
import type { DeploymentCondition, ReplicaSet } from '#kube/api/generated/apps-v1.ts';
import { deployments, replicasets } from '#kube/api/generated/resources.ts';
import { controllerReference, isControlledBy } from '#kube/api/owner-references.ts';
import type { Draft } from '#kube/api/resource.ts';
import { isAlreadyExists, isNamespaceTerminating } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import type { ControllerContext } from '../controller.ts';
import { shortHash } from '../pod-template.ts';
import { newReplicaSetAnnotations, revisionOf, sizeAnnotations } from './annotations.ts';
import { computeCounts, hasProgressDeadline, withProgress } from './compute-status.ts';
import {
  type DeploymentView,
  desiredReplicas,
  podTemplateHashLabel,
  rolloutBounds,
  viewDeployment,
} from './replica-sets.ts';

function draftReplicaSet({ deployment, oldReplicaSets }: DeploymentView, replicas: number): Draft<ReplicaSet> {
  const { template, selector, minReadySeconds } = deployment.spec;
  const hash = shortHash(template, deployment.status?.collisionCount);
  const labels = { ...template.metadata?.labels, [podTemplateHashLabel]: hash };
  const revision = Math.max(0, ...oldReplicaSets.map(revisionOf)) + 1;
  const desired = desiredReplicas(deployment);
  return {
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace,
      labels,
      annotations: {
        ...newReplicaSetAnnotations(deployment, undefined, revision),
        ...sizeAnnotations(desired, desired + rolloutBounds(deployment).surge),
      },
      ownerReferences: [controllerReference(deployments, deployment)],
    },
    spec: {
      replicas,
      ...(minReadySeconds === undefined ? {} : { minReadySeconds }),
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [podTemplateHashLabel]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  };
}

/**
 * Creates the set and returns it with the conditions that say so. Returns no set when the namespace is going away.
 * Throws after recording the reason when the server refuses it, and on a hash collision, so that the next sync retries.
 */
export async function createNewReplicaSet(
  { client, recorder, clock }: ControllerContext,
  view: DeploymentView,
  replicas: number,
  conditions: readonly DeploymentCondition[],
): Promise<{ replicaSet: ReplicaSet | undefined; conditions: readonly DeploymentCondition[] }> {
  const { deployment } = view;
  const { namespace } = deployment.metadata;
  const reference = referenceTo(deployments, deployment);
  const draft = draftReplicaSet(view, replicas);
  const name = draft.metadata.name ?? '';
  try {
    const replicaSet = await client.create(replicasets, namespace, draft);
    if (replicas > 0) {
      recorder.event(reference, 'Normal', 'ScalingReplicaSet', `Scaled up replica set ${name} from 0 to ${replicas}`);
    }
    if (!hasProgressDeadline(deployment)) return { replicaSet, conditions };
    const message = `Created new replica set "${name}"`;
    return { replicaSet, conditions: withProgress(conditions, 'True', 'NewReplicaSetCreated', message, clock.now()) };
  } catch (error) {
    if (isNamespaceTerminating(error)) return { replicaSet: undefined, conditions };
    if (isAlreadyExists(error)) {
      const existing = await client.get(replicasets, { namespace, name });
      const same = viewDeployment(deployment, [existing]).newReplicaSet !== undefined;
      if (isControlledBy(existing, deployment) && same) return { replicaSet: existing, conditions };
      const status = { ...deployment.status, collisionCount: (deployment.status?.collisionCount ?? 0) + 1 };
      await client.updateSubresource(deployments, { ...deployment, status }, 'status');
      throw error;
    }
    const message = `Failed to create new replica set "${name}": ${(error as Error).message}`;
    if (hasProgressDeadline(deployment)) {
      const failed = withProgress(conditions, 'False', 'ReplicaSetCreateError', message, clock.now());
      const status = computeCounts(view, failed, clock.now());
      await client.updateSubresource(deployments, { ...deployment, status }, 'status');
    }
    recorder.event(reference, 'Warning', 'ReplicaSetCreateError', message);
    throw error;
  }
}
