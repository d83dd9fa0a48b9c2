// Makes the resource claims that pods ask for by templates, tells the pods their names, and takes claims back when
// their pods are done.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { ResourceClaim, ResourceClaimTemplate } from '#kube/api/generated/resource-v1.ts';
import { pods as podResource, resourceclaims, resourceclaimtemplates } from '#kube/api/generated/resources.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { objectKey } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue, splitKey } from '../controller.ts';
import { createUnseenWrites } from '../unseen-writes.ts';
import { draftClaim, type PodClaimPlan, planClaim, planPodClaims } from './plan-resource-claims.ts';

/** A key of the queue: a pod or a claim. */
const podKey = (key: string) => `pod:${key}`;
const claimKey = (key: string) => `claim:${key}`;

/** While the informer has not shown a claim that was made. */
const unseenRetryMs = 50;

/** `sharedClient` watches. */
export function createResourceClaimController(context: ControllerContext, sharedClient: ApiClient): Controller {
  const { informers, client, recorder, clock, logger } = context;
  const queue = createControllerQueue(context);
  const watch = { client: sharedClient, clock, logger };
  const claims = createInformer<ResourceClaim>({ ...watch, resource: resourceclaims });
  const templates = createInformer<ResourceClaimTemplate>({ ...watch, resource: resourceclaimtemplates });
  const unseen = createUnseenWrites(claims, clock);

  const podChanged = (pod: Pod) => {
    if ((pod.spec?.resourceClaims ?? []).length === 0) return;
    queue.add(podKey(objectKey(pod)));
    const { namespace = '', uid } = pod.metadata;
    for (const claim of claims.byNamespace(namespace)) {
      const isUser = claim.status?.reservedFor?.some((consumer) => consumer.uid === uid) ?? false;
      if (isUser || controllerOf(claim)?.uid === uid) queue.add(claimKey(objectKey(claim)));
    }
  };
  informers.pods.subscribe({ added: podChanged, updated: (_, pod) => podChanged(pod), deleted: podChanged });
  const claimChanged = (claim: ResourceClaim) => {
    queue.add(claimKey(objectKey(claim)));
    const owner = controllerOf(claim);
    if (owner?.kind === 'Pod') queue.add(podKey(`${claim.metadata.namespace}/${owner.name}`));
  };
  claims.subscribe({ added: claimChanged, updated: (_, claim) => claimChanged(claim), deleted: claimChanged });
  templates.subscribe({
    added: ({ metadata }) => {
      for (const pod of informers.pods.byNamespace(metadata.namespace ?? '')) {
        const isWaiting = pod.spec?.resourceClaims?.some(
          ({ resourceClaimTemplateName }) => resourceClaimTemplateName === metadata.name,
        );
        if (isWaiting === true) queue.add(podKey(objectKey(pod)));
      }
    },
  });

  async function createClaims(pod: Pod, wanted: PodClaimPlan['create']): Promise<void> {
    const { namespace } = pod.metadata;
    for (const { podClaimName, template: name } of wanted) {
      const template = templates.get(`${namespace}/${name}`);
      if (template === undefined) {
        const message = `PodResourceClaim ${podClaimName}: resource claim template ${JSON.stringify(name)}: resourceclaimtemplate.resource.k8s.io ${JSON.stringify(name)} not found`;
        recorder.event(referenceTo(podResource, pod), 'Warning', 'FailedResourceClaimCreation', message);
        continue;
      }
      const made = await client.create(resourceclaims, namespace, draftClaim(pod, podClaimName, template));
      unseen.wrote(objectKey(pod), made);
    }
  }

  async function syncPod(key: string): Promise<void | { requeueAfterMs: number }> {
    if (unseen.isBehind(key)) return { requeueAfterMs: unseenRetryMs };
    const pod = informers.pods.get(key);
    if (pod === undefined) return;
    const { namespace = '', name, uid } = pod.metadata;
    const plan = planPodClaims(pod, claims.byNamespace(namespace));
    if (plan.statuses !== undefined && plan.create.length === 0) {
      const patch = { metadata: { uid }, status: { resourceClaimStatuses: plan.statuses } };
      await client.patch(podResource, { namespace, name }, 'strategic', patch, { subresource: 'status' });
    }
    for (const claim of plan.reserve) {
      const user = { resource: 'pods', name, uid: uid ?? '' };
      const status = { ...claim.status, reservedFor: [...(claim.status?.reservedFor ?? []), user] };
      await client.updateSubresource(resourceclaims, { ...claim, status }, 'status');
    }
    await createClaims(pod, plan.create);
  }

  async function syncClaim(key: string): Promise<void> {
    const claim = claims.get(key);
    if (claim === undefined) return;
    const { namespace = '', name, uid } = claim.metadata;
    const plan = planClaim(claim, (podName) => informers.pods.get(`${namespace}/${podName}`));
    if (plan === undefined) return;
    if (plan.type === 'delete') {
      await client.delete(resourceclaims, { namespace, name }, { preconditions: { uid } });
      return;
    }
    const written = await client.updateSubresource(resourceclaims, plan.claim, 'status');
    const { finalizers = [] } = plan.claim.metadata;
    if ((claim.metadata.finalizers ?? []).length === finalizers.length) return;
    await client.update(resourceclaims, { ...written, metadata: { ...written.metadata, finalizers } });
  }

  async function sync(entry: string): Promise<void | { requeueAfterMs: number }> {
    const at = entry.indexOf(':');
    const key = entry.slice(at + 1);
    if (splitKey(key).name === '') return;
    try {
      return await (entry.startsWith('pod:') ? syncPod(key) : syncClaim(key));
    } catch (error) {
      if (isNotFound(error)) return;
      if (isConflict(error)) return { requeueAfterMs: unseenRetryMs };
      throw error;
    }
  }

  const worker = {
    run: async (signal: AbortSignal) => {
      await Promise.race([Promise.all([claims.synced, templates.synced]), aborted(signal)]);
      await queue.run(sync, { concurrency: 5, signal });
    },
  };
  return { name: context.name, run: async (signal) => runGroup([claims, templates, worker], signal) };
}

/** A claim that is there and was not seen yet would be made twice. */
async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
