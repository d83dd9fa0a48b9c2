// Defaults of volumes, claims, persistent volumes and storage classes.
import type {
  DownwardAPIVolumeFile,
  PersistentVolume,
  PersistentVolumeClaim,
  PersistentVolumeClaimSpec,
  Volume,
} from '#kube/api/generated/core-v1.ts';
import type { CSIDriver, StorageClass } from '#kube/api/generated/storage-v1.ts';
import { defaultPullPolicy } from './pull-policy.ts';

const defaultFileMode = 0o644;
/** One hour, as for tokens asked for by hand. */
const tokenExpirationSeconds = 3600;

function defaultDownwardItems(items: DownwardAPIVolumeFile[] | undefined): void {
  for (const item of items ?? []) if (item.fieldRef !== undefined) item.fieldRef.apiVersion ||= 'v1';
}

function defaultProjected(projected: NonNullable<Volume['projected']>): void {
  projected.defaultMode ??= defaultFileMode;
  for (const source of projected.sources ?? []) {
    if (source.serviceAccountToken !== undefined) {
      source.serviceAccountToken.expirationSeconds ??= tokenExpirationSeconds;
    }
    defaultDownwardItems(source.downwardAPI?.items);
  }
}

/** Sources that exist both in pods and as persistent volumes. */
function defaultSharedSource(source: Pick<Volume, 'hostPath' | 'iscsi' | 'rbd' | 'azureDisk' | 'scaleIO'>): void {
  if (source.hostPath !== undefined) source.hostPath.type ??= '';
  if (source.iscsi !== undefined) source.iscsi.iscsiInterface ||= 'default';
  if (source.rbd !== undefined) {
    source.rbd.pool ||= 'rbd';
    source.rbd.user ||= 'admin';
    source.rbd.keyring ||= '/etc/ceph/keyring';
  }
  if (source.azureDisk !== undefined) {
    source.azureDisk.cachingMode ??= 'ReadWrite';
    source.azureDisk.kind ??= 'Shared';
    source.azureDisk.fsType ??= 'ext4';
    source.azureDisk.readOnly ??= false;
  }
  if (source.scaleIO !== undefined) {
    source.scaleIO.storageMode ||= 'ThinProvisioned';
    source.scaleIO.fsType ||= 'xfs';
  }
}

/** Spec defaults of a claim, also inside templates and ephemeral volumes. */
export function defaultClaimSpec(spec: PersistentVolumeClaimSpec): void {
  spec.resources ??= {};
  spec.volumeMode ??= 'Filesystem';
}

/** Defaults of a pod's volume; one without a source is an emptyDir. */
export function defaultVolume(volume: Volume): void {
  if (Object.keys(volume).every((key) => key === 'name')) volume.emptyDir = {};
  defaultSharedSource(volume);
  if (volume.configMap !== undefined) volume.configMap.defaultMode ??= defaultFileMode;
  if (volume.secret !== undefined) volume.secret.defaultMode ??= defaultFileMode;
  if (volume.downwardAPI !== undefined) {
    volume.downwardAPI.defaultMode ??= defaultFileMode;
    defaultDownwardItems(volume.downwardAPI.items);
  }
  if (volume.projected !== undefined) defaultProjected(volume.projected);
  if (volume.image !== undefined) volume.image.pullPolicy ||= defaultPullPolicy(volume.image.reference ?? '');
  const template = volume.ephemeral?.volumeClaimTemplate;
  if (template !== undefined) {
    template.metadata ??= {};
    defaultClaimSpec(template.spec);
  }
}

export function defaultClaim(claim: PersistentVolumeClaim): void {
  defaultClaimSpec(claim.spec);
  claim.status ??= {};
  claim.status.phase ??= 'Pending';
}

export function defaultPersistentVolume(volume: PersistentVolume): void {
  defaultSharedSource(volume.spec as Pick<Volume, 'hostPath'>);
  volume.spec.persistentVolumeReclaimPolicy ??= 'Retain';
  volume.spec.volumeMode ??= 'Filesystem';
  volume.status ??= {};
  volume.status.phase ??= 'Pending';
}

export function defaultStorageClass(storageClass: StorageClass): void {
  storageClass.reclaimPolicy ??= 'Delete';
  storageClass.volumeBindingMode ??= 'Immediate';
}

export function defaultCsiDriver(driver: CSIDriver): void {
  const { spec } = driver;
  spec.attachRequired ??= true;
  spec.podInfoOnMount ??= false;
  spec.volumeLifecycleModes ??= ['Persistent'];
  spec.storageCapacity ??= false;
  spec.fsGroupPolicy ??= 'ReadWriteOnceWithFSType';
  spec.requiresRepublish ??= false;
  spec.seLinuxMount ??= false;
}
