// Makes the claims of pods whose volumes live as long as they do (pkg/controller/volume/ephemeral). The claims belong
// to the pods, so the garbage collector takes them away.
import type { PersistentVolumeClaim, Pod, Volume } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims, pods as podResource } from '#kube/api/generated/resources.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { isPodTerminating } from '#kube/api/pod-state.ts';
import { objectKey } from '#kube/api/resource.ts';
import { isAlreadyExists } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';

/** The claim that a pod's volume asks for. Pure. */
export function ephemeralClaim(pod: Pod, { name, ephemeral }: Volume) {
  const { metadata, spec } = ephemeral?.volumeClaimTemplate ?? { spec: {} };
  const owner = {
    apiVersion: 'v1',
    kind: 'Pod',
    name: pod.metadata.name,
    uid: pod.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
  return {
    metadata: {
      name: `${pod.metadata.name}-${name}`,
      ...(metadata?.labels === undefined ? {} : { labels: metadata.labels }),
      ...(metadata?.annotations === undefined ? {} : { annotations: metadata.annotations }),
      ownerReferences: [owner],
    },
    spec,
  };
}

/** Creates the controller. */
export function createEphemeralVolumeController(context: ControllerContext): Controller {
  const { informers, client, recorder } = context;
  const queue = createControllerQueue(context);
  const enqueue = (pod: Pod) => {
    if ((pod.spec.volumes ?? []).some(({ ephemeral }) => ephemeral !== undefined)) queue.add(objectKey(pod));
  };
  informers.pods.subscribe({ added: enqueue, updated: (_, pod) => enqueue(pod) });
  informers.persistentvolumeclaims.subscribe({
    deleted: (claim) => {
      const owner = controllerOf(claim);
      if (owner?.kind === 'Pod') queue.add(`${claim.metadata.namespace}/${owner.name}`);
    },
  });

  function refuse(pod: Pod, claim: PersistentVolumeClaim): never {
    const { namespace, name } = claim.metadata;
    const owner = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const message = `PVC ${namespace}/${name} was not created for pod ${owner} (pod is not owner)`;
    recorder.event(referenceTo(podResource, pod), 'Warning', 'FailedBinding', message);
    throw new Error(message);
  }

  async function sync(key: string, signal: AbortSignal): Promise<void> {
    const pod = informers.pods.get(key);
    if (pod === undefined || isPodTerminating(pod)) return;
    for (const volume of pod.spec.volumes ?? []) {
      if (volume.ephemeral === undefined) continue;
      const draft = ephemeralClaim(pod, volume);
      const { namespace } = pod.metadata;
      let claim = informers.persistentvolumeclaims.get(`${namespace}/${draft.metadata.name}`);
      if (claim === undefined) {
        try {
          await client.create(persistentvolumeclaims, namespace, draft, { signal });
          continue;
        } catch (error) {
          if (!isAlreadyExists(error)) throw error;
        }
        claim = await client.get(persistentvolumeclaims, { namespace, name: draft.metadata.name }, { signal });
      }
      if (controllerOf(claim)?.uid !== pod.metadata.uid) refuse(pod, claim);
    }
  }

  return queueController(context.name, queue, sync, { concurrency: 5 });
}
