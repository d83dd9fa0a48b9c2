// Rows of volumes, claims and the storage group.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import type {
  CSIDriver,
  CSINode,
  StorageClass,
  VolumeAttachment,
  VolumeAttributesClass,
} from '#kube/api/generated/storage-v1.ts';
import { accessModesCell, age, joined } from './cell-format.ts';

const unset = '<unset>';

export function persistentVolumeCells({ metadata, spec, status }: PersistentVolume, nowMs: number): unknown[] {
  const claim = spec.claimRef === undefined ? '' : `${spec.claimRef.namespace}/${spec.claimRef.name}`;
  return [
    metadata.name,
    spec.capacity?.['storage'] ?? '',
    accessModesCell(spec.accessModes),
    spec.persistentVolumeReclaimPolicy ?? '',
    metadata.deletionTimestamp === undefined ? (status?.phase ?? '') : 'Terminating',
    claim,
    spec.storageClassName ?? '',
    spec.volumeAttributesClassName ?? unset,
    status?.reason ?? '',
    age(metadata.creationTimestamp, nowMs),
    spec.volumeMode ?? unset,
  ];
}

export function persistentVolumeClaimCells(claim: PersistentVolumeClaim, nowMs: number): unknown[] {
  const { metadata, spec, status } = claim;
  const bound = spec.volumeName !== undefined && spec.volumeName !== '';
  return [
    metadata.name,
    metadata.deletionTimestamp === undefined ? (status?.phase ?? '') : 'Terminating',
    spec.volumeName ?? '',
    bound ? (status?.capacity?.['storage'] ?? '') : '',
    bound ? accessModesCell(status?.accessModes) : '',
    spec.storageClassName ?? '',
    spec.volumeAttributesClassName ?? unset,
    age(metadata.creationTimestamp, nowMs),
    spec.volumeMode ?? unset,
  ];
}

export function storageClassCells(storageClass: StorageClass, nowMs: number): unknown[] {
  const { metadata } = storageClass;
  const isDefault = metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true';
  return [
    isDefault ? `${metadata.name} (default)` : metadata.name,
    storageClass.provisioner,
    storageClass.reclaimPolicy ?? 'Delete',
    storageClass.volumeBindingMode ?? 'Immediate',
    `${storageClass.allowVolumeExpansion ?? false}`,
    age(metadata.creationTimestamp, nowMs),
  ];
}

export function csiDriverCells({ metadata, spec }: CSIDriver, nowMs: number): unknown[] {
  const tokens = (spec.tokenRequests ?? []).map((request) => request.audience);
  return [
    metadata.name,
    spec.attachRequired ?? true,
    spec.podInfoOnMount ?? false,
    spec.storageCapacity ?? false,
    tokens.length === 0 ? unset : tokens.join(','),
    spec.requiresRepublish ?? false,
    joined(spec.volumeLifecycleModes),
    age(metadata.creationTimestamp, nowMs),
  ];
}

export function csiNodeCells({ metadata, spec }: CSINode, nowMs: number): unknown[] {
  return [metadata.name, spec.drivers.length, age(metadata.creationTimestamp, nowMs)];
}

export function volumeAttachmentCells({ metadata, spec, status }: VolumeAttachment, nowMs: number): unknown[] {
  return [
    metadata.name,
    spec.attacher,
    spec.source.persistentVolumeName ?? '',
    spec.nodeName,
    status?.attached ?? false,
    age(metadata.creationTimestamp, nowMs),
  ];
}

export function volumeAttributesClassCells(attributes: VolumeAttributesClass, nowMs: number): unknown[] {
  const { metadata, driverName } = attributes;
  const isDefault = metadata.annotations?.['volumeattributesclass.kubernetes.io/is-default-class'] === 'true';
  const name = isDefault ? `${metadata.name} (default)` : metadata.name;
  return [name, driverName, age(metadata.creationTimestamp, nowMs)];
}
