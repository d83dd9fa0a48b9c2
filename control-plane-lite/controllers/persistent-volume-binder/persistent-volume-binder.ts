// Binds claims to volumes, asks provisioners for what is missing, and takes back volumes whose claim is gone
// (pkg/controller/volume/persistentvolume).
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims, persistentvolumes } from '#kube/api/generated/resources.ts';
import type { StorageClass } from '#kube/api/generated/storage-v1.ts';
import {
  betaStorageProvisionerAnnotation,
  boundByControllerAnnotation,
  defaultStorageClassOf,
  storageClassOf,
  storageProvisionerAnnotation,
} from '#kube/api/persistent-volumes.ts';
import { isPodScheduled } from '#kube/api/pod-state.ts';
import { objectKey } from '#kube/api/resource.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { createFreshest } from '../freshest.ts';
import { sameJson } from '../same-json.ts';
import { bind, writeVolumePhase } from './bind-claim.ts';
import { type ClaimEvent, planClaim } from './plan-claim.ts';
import { planVolume, type VolumeAction } from './plan-volume.ts';

/** What nothing tells, such as a pod that begins to wait for a claim, is seen after this time. */
const recheckMs = 15_000;

/** Creates the controller. */
export function createPersistentVolumeBinder(context: ControllerContext): Controller {
  const { informers, client, recorder } = context;
  const claimQueue = createControllerQueue(context);
  const volumeQueue = createControllerQueue(context);
  const claims = createFreshest(informers.persistentvolumeclaims);
  const volumes = createFreshest(informers.persistentvolumes);

  const isUnbound = (claim: PersistentVolumeClaim) => claim.status?.phase !== 'Bound';
  const tellUnbound = (className: string) => {
    for (const claim of informers.persistentvolumeclaims.list()) {
      if (isUnbound(claim) && storageClassOf(claim) === className) claimQueue.add(objectKey(claim));
    }
  };
  const claimChanged = (claim: PersistentVolumeClaim) => {
    claimQueue.add(objectKey(claim));
    for (const volume of informers.persistentvolumes.list()) {
      const { claimRef } = volume.spec;
      if (claimRef?.name === claim.metadata.name && claimRef.namespace === claim.metadata.namespace) {
        volumeQueue.add(volume.metadata.name);
      }
    }
  };
  const volumeChanged = (volume: PersistentVolume) => {
    volumeQueue.add(volume.metadata.name);
    const { claimRef } = volume.spec;
    if (claimRef !== undefined) claimQueue.add(`${claimRef.namespace}/${claimRef.name}`);
    else tellUnbound(storageClassOf(volume));
  };
  informers.persistentvolumeclaims.subscribe({
    added: claimChanged,
    updated: (_, claim) => claimChanged(claim),
    deleted: claimChanged,
  });
  informers.persistentvolumes.subscribe({
    added: volumeChanged,
    updated: (_, volume) => volumeChanged(volume),
    deleted: volumeChanged,
  });
  const classChanged = ({ metadata }: StorageClass) => {
    tellUnbound(metadata.name);
    tellUnbound('');
  };
  informers.storageclasses.subscribe({ added: classChanged, updated: (_, changed) => classChanged(changed) });

  /** A pod that waits for the claim before it can get a node. */
  function waitingPod({ metadata }: PersistentVolumeClaim): string | undefined {
    const uses = (pod: Pod) =>
      (pod.spec.volumes ?? []).some(
        ({ name, persistentVolumeClaim, ephemeral }) =>
          persistentVolumeClaim?.claimName === metadata.name ||
          (ephemeral !== undefined && `${pod.metadata.name}-${name}` === metadata.name),
      );
    return informers.pods.byNamespace(metadata.namespace ?? '').find((pod) => !isPodScheduled(pod) && uses(pod))
      ?.metadata.name;
  }

  function tell(claim: PersistentVolumeClaim, event: ClaimEvent): void {
    recorder.event(referenceTo(persistentvolumeclaims, claim), event.type, event.reason, event.message);
  }

  async function writeClaimPhase(claim: PersistentVolumeClaim, phase: string): Promise<void> {
    if (claim.status?.phase === phase) return;
    const status = phase === 'Lost' ? { phase } : { ...claim.status, phase };
    claims.wrote(await client.updateSubresource(persistentvolumeclaims, { ...claim, status }, 'status'));
  }

  async function askProvisioner(claim: PersistentVolumeClaim, provisioner: string): Promise<void> {
    const annotations = {
      ...claim.metadata.annotations,
      [storageProvisionerAnnotation]: provisioner,
      [betaStorageProvisionerAnnotation]: provisioner,
    };
    if (!sameJson(annotations, claim.metadata.annotations)) {
      const metadata = { ...claim.metadata, annotations };
      claims.wrote(await client.update(persistentvolumeclaims, { ...claim, metadata }));
    }
    const message =
      `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the ` +
      'system administrator. If volume creation is delayed, please verify that the provisioner is running and ' +
      'correctly registered.';
    tell(claim, { type: 'Normal', reason: 'ExternalProvisioning', message });
  }

  async function syncClaim(key: string): Promise<void | { requeueAfterMs: number }> {
    const claim = claims.get(key);
    if (claim === undefined) return;
    const known = informers.persistentvolumes.list().map((volume) => volumes.get(volume.metadata.name) ?? volume);
    const storageClass = informers.storageclasses.get(storageClassOf(claim));
    const defaultClass = defaultStorageClassOf(informers.storageclasses.list())?.metadata.name;
    const action = planClaim({ claim, volumes: known, storageClass, defaultClass, waitingPod: waitingPod(claim) });
    switch (action.type) {
      case 'bind': {
        const bound = await bind(client, claim, action.volume);
        claims.wrote(bound.claim);
        volumes.wrote(bound.volume);
        return;
      }
      case 'lose':
        if (claim.status?.phase !== 'Lost') tell(claim, action.event);
        await writeClaimPhase(claim, 'Lost');
        return;
      case 'assignClass': {
        const spec = { ...claim.spec, storageClassName: action.name };
        claims.wrote(await client.update(persistentvolumeclaims, { ...claim, spec }));
        return;
      }
      case 'provision':
        await askProvisioner(claim, action.provisioner);
        return;
      case 'wait':
        if (action.event !== undefined) tell(claim, action.event);
        return { requeueAfterMs: recheckMs };
      default:
        action satisfies never;
    }
  }

  async function apply(volume: PersistentVolume, action: VolumeAction): Promise<PersistentVolume> {
    const { metadata, spec } = volume;
    switch (action.type) {
      case 'tellClaim':
        claimQueue.add(`${spec.claimRef?.namespace}/${spec.claimRef?.name}`);
        return volume;
      case 'phase': {
        const message = action.message;
        if (message !== undefined)
          recorder.event(referenceTo(persistentvolumes, volume), 'Warning', 'VolumeFailedDelete', message);
        return writeVolumePhase(client, volume, action.phase, message);
      }
      case 'unbind': {
        const { [boundByControllerAnnotation]: _, ...annotations } = metadata.annotations ?? {};
        const { claimRef: __, ...rest } = spec;
        return client.update(persistentvolumes, { ...volume, metadata: { ...metadata, annotations }, spec: rest });
      }
      case 'delete':
        await client.delete(persistentvolumes, { name: metadata.name });
        return volume;
      default:
        return action satisfies never;
    }
  }

  async function syncVolume(name: string): Promise<void> {
    let volume = volumes.get(name);
    if (volume === undefined) return;
    const { claimRef } = volume.spec;
    const named = claimRef === undefined ? undefined : claims.get(`${claimRef.namespace}/${claimRef.name}`);
    for (const action of planVolume(volume, named)) {
      volume = await apply(volume, action);
      volumes.wrote(volume);
    }
  }

  /** Others write these objects too: a write that came too late is decided anew. */
  function retried<K, R>(sync: (key: K) => Promise<R | undefined>) {
    return async (key: K): Promise<R | undefined | { requeueAfterMs: number }> => {
      try {
        return await sync(key);
      } catch (error) {
        if (isConflict(error)) return { requeueAfterMs: 50 };
        if (isNotFound(error)) return undefined;
        throw error;
      }
    };
  }

  return {
    name: context.name,
    run: (signal) =>
      runGroup(
        [
          { run: (stop) => claimQueue.run(retried(syncClaim), { concurrency: 1, signal: stop }) },
          { run: (stop) => volumeQueue.run(retried(syncVolume), { concurrency: 1, signal: stop }) },
        ],
        signal,
      ),
  };
}
