// Finds the storage behind a pod's claim, with the checks and words of
// pkg/kubelet/volumemanager/populator/desired_state_of_world_populator.go.
import type { PersistentVolumeClaim, Pod, Volume } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims, persistentvolumes } from '#kube/api/generated/resources.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { containersOf } from '../container/pod-containers.ts';
import { VolumeError } from './payload.ts';
import type { BoundClaim } from './volume-kind.ts';

/** Finds claims. */
export interface ClaimReader {
  /** Undefined for volumes that are not behind a claim. Throws VolumeError while the claim cannot be used. */
  read(pod: Pod, volume: Volume, signal: AbortSignal): Promise<BoundClaim | undefined>;
}

/** The claim that a volume names: an ephemeral volume's is called after pod and volume. */
export function claimNameOf(pod: Pod, volume: Volume): string | undefined {
  if (volume.persistentVolumeClaim !== undefined) return volume.persistentVolumeClaim.claimName;
  return volume.ephemeral === undefined ? undefined : `${pod.metadata.name}-${volume.name}`;
}

function checkMode(pod: Pod, volume: Volume, mode: string): void {
  const uses = containersOf(pod).map(({ container }) => container);
  if (
    mode !== 'Filesystem' &&
    uses.some(({ volumeMounts = [] }) => volumeMounts.some(({ name }) => name === volume.name))
  ) {
    throw new VolumeError(`volume ${volume.name} has volumeMode ${mode}, but is specified in volumeMounts`);
  }
  if (
    mode !== 'Block' &&
    uses.some(({ volumeDevices = [] }) => volumeDevices.some(({ name }) => name === volume.name))
  ) {
    throw new VolumeError(`volume ${volume.name} has volumeMode ${mode}, but is specified in volumeDevices`);
  }
}

/** Creates the reader: the node authorizer lets a node read what its pods need, one object at a time. */
export function createClaimReader(client: ApiClient): ClaimReader {
  async function readClaim(namespace: string, name: string, signal: AbortSignal) {
    const claim = await client.get(persistentvolumeclaims, { namespace, name }, { signal }).catch((error: Error) => {
      signal.throwIfAborted();
      throw new VolumeError(`failed to fetch PVC from API server: ${error.message}`, { cause: error });
    });
    if (claim.metadata.deletionTimestamp !== undefined) throw new VolumeError('PVC is being deleted');
    return claim;
  }

  async function readVolume(claim: PersistentVolumeClaim, signal: AbortSignal) {
    if (claim.status?.phase !== 'Bound') throw new VolumeError('PVC is not bound');
    const name = claim.spec?.volumeName ?? '';
    if (name === '') throw new VolumeError('PVC has empty pvc.Spec.VolumeName');
    const volume = await client.get(persistentvolumes, { name }, { signal }).catch((error: Error) => {
      signal.throwIfAborted();
      throw new VolumeError(`failed to fetch PV ${name} from API server: ${error.message}`, { cause: error });
    });
    const { claimRef } = volume.spec ?? {};
    if (claimRef === undefined) {
      const why = 'but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim';
      throw new VolumeError(`found PV object ${name} ${why}`);
    }
    if (claimRef.uid !== claim.metadata.uid) {
      const why = `but its pv.Spec.ClaimRef.UID ${claimRef.uid} does not point to claim.UID ${claim.metadata.uid}`;
      throw new VolumeError(`found PV object ${name} ${why}`);
    }
    return volume;
  }

  function checkOwner(pod: Pod, volume: Volume, claim: PersistentVolumeClaim): void {
    if (volume.ephemeral === undefined || controllerOf(claim)?.uid === pod.metadata.uid) return;
    const { namespace, name } = claim.metadata;
    const owner = `${pod.metadata.namespace}/${pod.metadata.name}`;
    throw new VolumeError(`PVC ${namespace}/${name} was not created for pod ${owner} (pod is not owner)`);
  }

  return {
    async read(pod, volume, signal) {
      const name = claimNameOf(pod, volume);
      if (name === undefined) return undefined;
      const namespace = pod.metadata.namespace ?? '';
      try {
        const claim = await readClaim(namespace, name, signal);
        checkOwner(pod, volume, claim);
        const persistent = await readVolume(claim, signal);
        checkMode(pod, volume, persistent.spec?.volumeMode ?? 'Filesystem');
        const readOnly = volume.persistentVolumeClaim?.readOnly === true;
        return { claim, volume: persistent, readOnly };
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof VolumeError)) throw error;
        if (error.message.startsWith('volume ')) throw error;
        throw new VolumeError(`error processing PVC ${namespace}/${name}: ${error.message}`, { cause: error });
      }
    },
  };
}
