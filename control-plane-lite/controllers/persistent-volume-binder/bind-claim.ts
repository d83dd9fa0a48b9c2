// Puts a claim and a volume together in four writes, each left out when it was done before: a controller that dies
// half-way, or starts again, goes on from there (pv_controller.go: bind).
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims, persistentvolumes } from '#kube/api/generated/resources.ts';
import { bindCompletedAnnotation, boundByControllerAnnotation } from '#kube/api/persistent-volumes.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { sameJson } from '../same-json.ts';

/** The objects as they are after the binding. */
export interface Bound {
  claim: PersistentVolumeClaim;
  volume: PersistentVolume;
}

async function bindVolume(client: ApiClient, volume: PersistentVolume, claim: PersistentVolumeClaim) {
  const { namespace, name, uid, resourceVersion } = claim.metadata;
  const before = volume.spec.claimRef;
  if (before?.uid === uid) return volume;
  const isOurs = before === undefined;
  const annotations = { ...volume.metadata.annotations, ...(isOurs ? { [boundByControllerAnnotation]: 'yes' } : {}) };
  const claimRef = { kind: 'PersistentVolumeClaim', apiVersion: 'v1', namespace, name, uid, resourceVersion };
  const metadata = { ...volume.metadata, annotations };
  return client.update(persistentvolumes, { ...volume, metadata, spec: { ...volume.spec, claimRef } });
}

async function bindClaim(client: ApiClient, claim: PersistentVolumeClaim, volume: PersistentVolume) {
  const { annotations = {} } = claim.metadata;
  const isChosen = (claim.spec.volumeName ?? '') !== '';
  const wanted = {
    ...annotations,
    [bindCompletedAnnotation]: annotations[bindCompletedAnnotation] ?? 'yes',
    ...(isChosen ? {} : { [boundByControllerAnnotation]: 'yes' }),
  };
  if (isChosen && sameJson(wanted, annotations)) return claim;
  const spec = { ...claim.spec, volumeName: volume.metadata.name };
  return client.update(persistentvolumeclaims, {
    ...claim,
    metadata: { ...claim.metadata, annotations: wanted },
    spec,
  });
}

/** Writes the phase of a volume. */
export async function writeVolumePhase(
  client: ApiClient,
  volume: PersistentVolume,
  phase: string,
  message?: string,
): Promise<PersistentVolume> {
  if (volume.status?.phase === phase && volume.status.message === message) return volume;
  const { message: _, ...before } = volume.status ?? {};
  const status = { ...before, phase, ...(message === undefined ? {} : { message }) };
  return client.updateSubresource(persistentvolumes, { ...volume, status }, 'status');
}

/** Does what is left to do. Throws Conflict when one of the objects changed meanwhile. */
export async function bind(client: ApiClient, claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<Bound> {
  const ofClaim = await writeVolumePhase(client, await bindVolume(client, volume, claim), 'Bound');
  const chosen = await bindClaim(client, claim, ofClaim);
  const { accessModes, capacity } = ofClaim.spec;
  const isBound = chosen.status?.phase === 'Bound';
  // The size is told once: from then on the one who resizes the volume tells it.
  const told = isBound && chosen.status?.capacity !== undefined ? chosen.status.capacity : capacity;
  const status = { ...chosen.status, phase: 'Bound', accessModes, capacity: told };
  if (sameJson(status, chosen.status)) return { claim: chosen, volume: ofClaim };
  const bound = await client.updateSubresource(persistentvolumeclaims, { ...chosen, status }, 'status');
  return { claim: bound, volume: ofClaim };
}
