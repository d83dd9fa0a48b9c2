// Which persistent volume suits a claim, and what classes and annotations say about when and by whom
// (k8s.io/component-helpers/storage/volume).
import type { Node, PersistentVolume, PersistentVolumeClaim } from './generated/core-v1.ts';
import type { StorageClass } from './generated/storage-v1.ts';
import { labelSelectorMatches } from './label-selector.ts';
import { nodeSelectorMatches } from './node-affinity.ts';
import { quantityValue } from './quantity.ts';

/** On claims and volumes that a controller, not a user, put together. */
export const boundByControllerAnnotation = 'pv.kubernetes.io/bound-by-controller';
/** On claims whose binding is complete. */
export const bindCompletedAnnotation = 'pv.kubernetes.io/bind-completed';
/** On volumes made for a claim: by whom. */
export const provisionedByAnnotation = 'pv.kubernetes.io/provisioned-by';
/** On claims that wait for a volume to be made: by whom. */
export const storageProvisionerAnnotation = 'volume.kubernetes.io/storage-provisioner';
export const betaStorageProvisionerAnnotation = 'volume.beta.kubernetes.io/storage-provisioner';
/** On claims that wait for a volume near a node. */
export const selectedNodeAnnotation = 'volume.kubernetes.io/selected-node';
/** Provisioner of classes that only group existing volumes. */
export const noProvisioner = 'kubernetes.io/no-provisioner';

const classAnnotation = 'volume.beta.kubernetes.io/storage-class';

/** The name of the class of a claim or volume; empty: none. */
export function storageClassOf({ metadata, spec }: PersistentVolumeClaim | PersistentVolume): string {
  return metadata.annotations?.[classAnnotation] ?? spec.storageClassName ?? '';
}

/** Whether the claim says which class it wants, be it none. */
export function namesStorageClass({ metadata, spec }: PersistentVolumeClaim): boolean {
  return spec.storageClassName !== undefined || metadata.annotations?.[classAnnotation] !== undefined;
}

/** The class of claims that name none: the newest that says it is the default. */
export function defaultStorageClassOf(classes: readonly StorageClass[]): StorageClass | undefined {
  const created = ({ metadata }: StorageClass) => metadata.creationTimestamp ?? '';
  return classes
    .filter(({ metadata }) => metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true')
    .sort((a, b) => created(b).localeCompare(created(a)) || a.metadata.name.localeCompare(b.metadata.name))[0];
}

/** Whether volumes of the class are chosen together with the node of the first pod. */
export function waitsForConsumer(storageClass: StorageClass | undefined): boolean {
  return storageClass?.volumeBindingMode === 'WaitForFirstConsumer';
}

/** Whether the volume is meant for this very claim, completely bound or not. */
export function isVolumeOf({ spec: { claimRef } }: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  if (claimRef === undefined || claimRef.name !== metadata.name || claimRef.namespace !== metadata.namespace)
    return false;
  return claimRef.uid === undefined || claimRef.uid === '' || claimRef.uid === metadata.uid;
}

/** Why the claim cannot have the volume, whoever chose it; undefined when it can. */
export function volumeMismatch(volume: PersistentVolume, claim: PersistentVolumeClaim): string | undefined {
  const wanted = quantityValue(claim.spec.resources?.requests?.['storage']);
  if (quantityValue(volume.spec.capacity?.['storage']) < wanted) return 'requested PV is too small';
  if (storageClassOf(volume) !== storageClassOf(claim)) return 'storageClassName does not match';
  if ((volume.spec.volumeAttributesClassName ?? '') !== (claim.spec.volumeAttributesClassName ?? '')) {
    return 'volumeAttributesClassName does not match';
  }
  if ((volume.spec.volumeMode ?? 'Filesystem') !== (claim.spec.volumeMode ?? 'Filesystem'))
    return 'incompatible volumeMode';
  const offered = volume.spec.accessModes ?? [];
  if (!(claim.spec.accessModes ?? []).every((mode) => offered.includes(mode))) return 'incompatible accessMode';
  return undefined;
}

/** Whether pods on the node can use the volume. */
export function volumeFitsNode(volume: PersistentVolume, node: Pick<Node, 'metadata'>): boolean {
  const required = volume.spec.nodeAffinity?.required;
  return required === undefined || nodeSelectorMatches(required, node);
}

/**
 * The volume that suits an unbound claim best: one that names it, else the smallest that is free. With `node` only
 * volumes that can be used there. `taken` are volumes that are not free though they look so.
 */
export function selectVolume(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  options: { node?: Pick<Node, 'metadata'>; taken?: ReadonlySet<string>; onlyNamed?: boolean } = {},
): PersistentVolume | undefined {
  const { node, taken } = options;
  let best: PersistentVolume | undefined;
  for (const volume of volumes) {
    if (volume.metadata.deletionTimestamp !== undefined || taken?.has(volume.metadata.name) === true) continue;
    if (volumeMismatch(volume, claim) !== undefined) continue;
    if (isVolumeOf(volume, claim)) {
      if (node === undefined || volumeFitsNode(volume, node)) return volume;
      continue;
    }
    if (options.onlyNamed === true || volume.spec.claimRef !== undefined) continue;
    if (volume.status?.phase !== 'Available' && volume.status?.phase !== undefined) continue;
    if (claim.spec.selector !== undefined && !labelSelectorMatches(claim.spec.selector, volume.metadata.labels))
      continue;
    if (node !== undefined && !volumeFitsNode(volume, node)) continue;
    const isSmaller =
      best === undefined ||
      quantityValue(volume.spec.capacity?.['storage']) < quantityValue(best.spec.capacity?.['storage']);
    if (isSmaller) best = volume;
  }
  return best;
}
