// What becomes of a volume: free, bound, or left by its claim (pv_controller.go: syncVolume). Pure.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import { boundByControllerAnnotation, provisionedByAnnotation } from '#kube/api/persistent-volumes.ts';

export type VolumeAction =
  | { type: 'phase'; phase: 'Available' | 'Bound' | 'Released' | 'Failed'; message?: string }
  /** The claim it names has to be looked at. */
  | { type: 'tellClaim' }
  /** It was put together with a claim that went elsewhere. */
  | { type: 'unbind' }
  | { type: 'delete' };

function planReclaim({ spec, metadata, status }: PersistentVolume): VolumeAction[] {
  const released: VolumeAction[] =
    status?.phase === 'Released' || status?.phase === 'Failed' ? [] : [{ type: 'phase', phase: 'Released' }];
  const policy = spec.persistentVolumeReclaimPolicy ?? 'Retain';
  // Whoever made the volume removes it, and its storage with it.
  if (policy === 'Retain' || metadata.annotations?.[provisionedByAnnotation] !== undefined) return released;
  if (metadata.deletionTimestamp !== undefined) return released;
  if (policy === 'Delete') {
    const message = `error getting deleter volume plugin for volume "${metadata.name}": no deletable volume plugin matched`;
    return status?.phase === 'Failed' ? [] : [...released, { type: 'phase', phase: 'Failed', message }];
  }
  const message = `No recycler plugin found for the volume!`;
  return status?.phase === 'Failed' ? [] : [...released, { type: 'phase', phase: 'Failed', message }];
}

/** Decides, given the claim of the name that the volume's claimRef says. */
export function planVolume(volume: PersistentVolume, named: PersistentVolumeClaim | undefined): VolumeAction[] {
  const { claimRef } = volume.spec;
  const phaseIs = (phase: string) => volume.status?.phase === phase;
  if (claimRef === undefined) return phaseIs('Available') ? [] : [{ type: 'phase', phase: 'Available' }];
  if ((claimRef.uid ?? '') === '') {
    const tell: VolumeAction[] = named === undefined ? [] : [{ type: 'tellClaim' }];
    return phaseIs('Available') ? tell : [{ type: 'phase', phase: 'Available' }, ...tell];
  }
  if (named === undefined || named.metadata.uid !== claimRef.uid) return planReclaim(volume);
  const chosen = named.spec.volumeName ?? '';
  if (chosen === '') return [{ type: 'tellClaim' }];
  if (chosen === volume.metadata.name) return phaseIs('Bound') ? [] : [{ type: 'tellClaim' }];
  const made = volume.metadata.annotations?.[provisionedByAnnotation] !== undefined;
  if (made && volume.spec.persistentVolumeReclaimPolicy === 'Delete') return [{ type: 'delete' }];
  return volume.metadata.annotations?.[boundByControllerAnnotation] === undefined ? [] : [{ type: 'unbind' }];
}
