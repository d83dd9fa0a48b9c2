// Carries out what the deployment planners decide: replica sets created, scaled and deleted, status written.
import type { Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet } from '#kube/api/generated/apps-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { deployments, replicasets } from '#kube/api/generated/resources.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import { controllerOf, isControlledBy } from '#kube/api/owner-references.ts';
import { isPodTerminal } from '#kube/api/pod-state.ts';
import { objectKey } from '#kube/api/resource.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { applyClaims, planClaims } from '../claim.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { createFreshest } from '../freshest.ts';
import { canonicalJson } from '../pod-template.ts';
import { sameJson } from '../same-json.ts';
import { byController } from '../shared-informers.ts';
import { newReplicaSetAnnotations, revisionAnnotation, revisionOf, sizeAnnotations } from './annotations.ts';
import { computeCounts, computeRolloutStatus, deadlineCheckMs, isComplete, withProgress } from './compute-status.ts';
import { createNewReplicaSet } from './create-replica-set.ts';
import { planHistoryCleanup } from './plan-history.ts';
import { planRollout } from './plan-rollout.ts';
import { isScalingEvent, planScale, type Scaling } from './plan-scale.ts';
import { type DeploymentView, desiredReplicas, replicasOf, rolloutBounds, viewDeployment } from './replica-sets.ts';

type Conditions = readonly DeploymentCondition[];

/** Level-driven: every sync looks at all replica sets of one deployment. */
export function createDeploymentController(context: ControllerContext): Controller {
  const { informers, client, recorder, clock } = context;
  const queue = createControllerQueue(context);
  const freshest = createFreshest(informers.deployments);

  function enqueueFor(replicaSet: ReplicaSet): void {
    const owner = controllerOf(replicaSet);
    if (owner?.kind === 'Deployment') queue.add(`${replicaSet.metadata.namespace}/${owner.name}`);
    if (owner !== undefined) return;
    for (const deployment of informers.deployments.byNamespace(replicaSet.metadata.namespace ?? '')) {
      if (labelSelectorMatches(deployment.spec.selector, replicaSet.metadata.labels)) queue.add(objectKey(deployment));
    }
  }

  /** A Recreate rollout waits for the last pod of the old sets. */
  function podDeleted(pod: Pod): void {
    const owner = controllerOf(pod);
    const replicaSet =
      owner?.kind === 'ReplicaSet' ? informers.replicasets.get(`${pod.metadata.namespace}/${owner.name}`) : undefined;
    if (replicaSet !== undefined) enqueueFor(replicaSet);
  }

  informers.deployments.subscribe({
    added: (deployment) => queue.add(objectKey(deployment)),
    updated: (_, deployment) => queue.add(objectKey(deployment)),
  });
  informers.replicasets.subscribe({
    added: enqueueFor,
    updated: (_, replicaSet) => enqueueFor(replicaSet),
    deleted: enqueueFor,
  });
  informers.pods.subscribe({ deleted: podDeleted });

  async function claimReplicaSets(deployment: Deployment): Promise<ReplicaSet[]> {
    const candidates = informers.replicasets.byNamespace(deployment.metadata.namespace ?? '');
    const claims = planClaims(deployment, deployment.spec.selector, candidates);
    return applyClaims(client, { resource: deployments, object: deployment }, replicasets, claims);
  }

  async function writeStatus(deployment: Deployment, status: DeploymentStatus): Promise<void> {
    if (sameJson(status, deployment.status)) return;
    freshest.wrote(await client.updateSubresource(deployments, { ...deployment, status }, 'status'));
  }

  async function scale(deployment: Deployment, { replicaSet, replicas }: Scaling): Promise<ReplicaSet> {
    const desired = desiredReplicas(deployment);
    const size = sizeAnnotations(desired, desired + rolloutBounds(deployment).surge);
    const annotations = { ...replicaSet.metadata.annotations, ...size };
    const before = replicasOf(replicaSet);
    if (before === replicas && sameJson(annotations, replicaSet.metadata.annotations)) return replicaSet;
    const metadata = { ...replicaSet.metadata, annotations };
    const saved = await client.update(replicasets, { ...replicaSet, metadata, spec: { ...replicaSet.spec, replicas } });
    if (before !== replicas) {
      const direction = replicas > before ? 'up' : 'down';
      const message = `Scaled ${direction} replica set ${replicaSet.metadata.name} from ${before} to ${replicas}`;
      recorder.event(referenceTo(deployments, deployment), 'Normal', 'ScalingReplicaSet', message);
    }
    return saved;
  }

  /** Brings revision, annotations and minReadySeconds of the new replica set in line; the deployment shows its revision. */
  async function syncRevision(view: DeploymentView): Promise<ReplicaSet | undefined> {
    const { deployment, oldReplicaSets } = view;
    let newReplicaSet = view.newReplicaSet;
    if (newReplicaSet === undefined) return undefined;
    const revision = Math.max(0, ...oldReplicaSets.map(revisionOf)) + 1;
    const annotations = newReplicaSetAnnotations(deployment, newReplicaSet.metadata.annotations, revision);
    const minReadySeconds = deployment.spec.minReadySeconds ?? 0;
    const sameAnnotations = sameJson(annotations, newReplicaSet.metadata.annotations ?? {});
    if (!sameAnnotations || (newReplicaSet.spec.minReadySeconds ?? 0) !== minReadySeconds) {
      const metadata = { ...newReplicaSet.metadata, annotations };
      const spec = { ...newReplicaSet.spec, minReadySeconds };
      newReplicaSet = await client.update(replicasets, { ...newReplicaSet, metadata, spec });
    }
    await showRevision(deployment, annotations[revisionAnnotation] ?? '');
    return newReplicaSet;
  }

  async function showRevision(deployment: Deployment, revision: string): Promise<void> {
    if (deployment.metadata.annotations?.[revisionAnnotation] === revision) return;
    const annotations = { ...deployment.metadata.annotations, [revisionAnnotation]: revision };
    const saved = await client.update(deployments, {
      ...deployment,
      metadata: { ...deployment.metadata, annotations },
    });
    deployment.metadata = saved.metadata;
  }

  /** Paused and resumed rollouts say so, so that their deadline is not counted meanwhile. */
  function withPauseCondition({ spec, status }: Deployment): Conditions {
    const conditions = status?.conditions ?? [];
    const reason = conditions.find(({ type }) => type === 'Progressing')?.reason;
    if (spec.progressDeadlineSeconds === undefined || reason === 'ProgressDeadlineExceeded') return conditions;
    if (spec.paused === true && reason !== 'DeploymentPaused') {
      return withProgress(conditions, 'Unknown', 'DeploymentPaused', 'Deployment is paused', clock.now());
    }
    if (spec.paused !== true && reason === 'DeploymentPaused') {
      return withProgress(conditions, 'Unknown', 'DeploymentResumed', 'Deployment is resumed', clock.now());
    }
    return conditions;
  }

  function oldPodsRunning({ oldReplicaSets }: DeploymentView): boolean {
    return oldReplicaSets.some(({ metadata }) =>
      informers.pods.byIndex(byController, metadata.uid ?? '').some((pod) => !isPodTerminal(pod)),
    );
  }

  async function roll(found: DeploymentView, given: Conditions): Promise<DeploymentStatus> {
    const { deployment } = found;
    let conditions = given;
    let view: DeploymentView = { ...found, newReplicaSet: await syncRevision(found) };
    if (view.newReplicaSet !== undefined && !conditions.some(({ type }) => type === 'Progressing')) {
      const message = `Found new replica set "${view.newReplicaSet.metadata.name}"`;
      conditions = withProgress(conditions, 'True', 'FoundNewReplicaSet', message, clock.now());
    }
    const plan = planRollout(view, oldPodsRunning(view));
    for (const scaling of plan.scale) await scale(deployment, scaling);
    if (plan.create !== undefined) {
      const made = await createNewReplicaSet(context, view, plan.create, conditions);
      if (made.replicaSet !== undefined) {
        view = { ...view, newReplicaSet: made.replicaSet };
        await showRevision(deployment, made.replicaSet.metadata.annotations?.[revisionAnnotation] ?? '');
      }
      conditions = made.conditions;
    }
    const status = computeRolloutStatus(view, conditions, clock.now());
    if (isComplete(deployment, status)) await cleanUp(view);
    return status;
  }

  async function cleanUp(view: DeploymentView): Promise<void> {
    for (const { metadata } of planHistoryCleanup(view)) {
      try {
        await client.delete(replicasets, { namespace: metadata.namespace, name: metadata.name });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const stored = freshest.get(key);
    if (stored === undefined) return;
    const deployment = { ...stored, metadata: { ...stored.metadata } };
    if (canonicalJson(deployment.spec.selector) === '{}') {
      const message = 'This deployment is selecting all pods. A non-empty selector is required.';
      recorder.event(referenceTo(deployments, deployment), 'Warning', 'SelectingAll', message);
      return;
    }
    const replicaSets = (await claimReplicaSets(deployment)).filter((replicaSet) =>
      isControlledBy(replicaSet, deployment),
    );
    const view = viewDeployment(deployment, replicaSets);
    if (deployment.metadata.deletionTimestamp !== undefined) {
      await writeStatus(deployment, computeCounts(view, deployment.status?.conditions ?? [], clock.now()));
      return;
    }
    const conditions = withPauseCondition(deployment);
    if (deployment.spec.paused === true || isScalingEvent(view)) {
      const newReplicaSet = await syncRevision(view);
      for (const scaling of planScale({ ...view, newReplicaSet })) await scale(deployment, scaling);
      if (deployment.spec.paused === true) await cleanUp(view);
      await writeStatus(deployment, computeCounts(view, conditions, clock.now()));
      return;
    }
    const status = await roll(view, conditions);
    await writeStatus(deployment, status);
    const requeueAfterMs = deadlineCheckMs(deployment, status, clock.now());
    if (requeueAfterMs !== undefined) return { requeueAfterMs };
  }

  return queueController(context.name, queue, sync, { concurrency: 5 });
}
