// What a driver is told about a volume, from the objects of the API (pkg/volume/csi/csi_mounter.go, csi_client.go). Pure.
import type { Pod, SecretReference } from '#kube/api/generated/core-v1.ts';
import type { CSIDriver } from '#kube/api/generated/storage-v1.ts';
import type { VolumeCapability } from '#proto/generated/csi/csi/v1/VolumeCapability.ts';
import { VolumeError } from '../payload.ts';
import { isBlock, uidOf, type VolumeRequest } from '../volume-kind.ts';
import type { NodeCapabilities } from './csi-node-client.ts';
import { ephemeralHandle } from './csi-paths.ts';

/** One volume as its driver knows it. */
export interface CsiSource {
  driver: string;
  handle: string;
  lifecycle: 'Persistent' | 'Ephemeral';
  fsType: string;
  readOnly: boolean;
  attributes: Record<string, string>;
  accessModes: readonly string[];
  mountOptions: readonly string[];
  publishSecret: SecretReference | undefined;
  stageSecret: SecretReference | undefined;
  expandSecret: SecretReference | undefined;
  isBlock: boolean;
}

/** Undefined for volumes of other kinds. */
export function csiSourceOf(request: VolumeRequest): CsiSource | undefined {
  const { pod, volume, bound } = request;
  const csi = bound?.volume.spec.csi;
  if (bound !== undefined && csi !== undefined) {
    return {
      driver: csi.driver,
      handle: csi.volumeHandle,
      lifecycle: 'Persistent',
      fsType: csi.fsType ?? '',
      readOnly: bound.readOnly,
      attributes: csi.volumeAttributes ?? {},
      accessModes: bound.volume.spec.accessModes ?? [],
      mountOptions: bound.volume.spec.mountOptions ?? [],
      publishSecret: csi.nodePublishSecretRef,
      stageSecret: csi.nodeStageSecretRef,
      expandSecret: csi.nodeExpandSecretRef,
      isBlock: isBlock(request),
    };
  }
  if (bound !== undefined || volume.csi === undefined) return undefined;
  const { driver, fsType = '', readOnly = false, volumeAttributes = {}, nodePublishSecretRef: secret } = volume.csi;
  return {
    driver,
    handle: ephemeralHandle(uidOf(pod), volume.name),
    lifecycle: 'Ephemeral',
    fsType,
    readOnly,
    attributes: volumeAttributes,
    accessModes: ['ReadWriteOnce'],
    mountOptions: [],
    publishSecret: secret === undefined ? undefined : { ...secret, namespace: pod.metadata.namespace },
    stageSecret: undefined,
    expandSecret: undefined,
    isBlock: false,
  };
}

/** Throws for a volume that lives with its pod where the driver does not offer that. */
export function checkLifecycle({ driver, lifecycle }: CsiSource, described: CSIDriver | undefined): void {
  if (lifecycle === 'Persistent') return;
  const refuse = (why: string) => {
    throw new VolumeError(`volume mode "Ephemeral" not supported by driver ${driver} (${why})`);
  };
  if (described === undefined) refuse('no CSIDriver object');
  const modes = described?.spec.volumeLifecycleModes ?? ['Persistent'];
  if (!modes.includes('Ephemeral')) refuse(`only supports ${JSON.stringify(modes)}`);
}

/** CSI's name of the first access mode. */
export function csiAccessMode(modes: readonly string[], capabilities: NodeCapabilities) {
  const precise = capabilities.has('SINGLE_NODE_MULTI_WRITER');
  switch (modes[0]) {
    case 'ReadWriteOnce':
      return precise ? 'SINGLE_NODE_MULTI_WRITER' : 'SINGLE_NODE_WRITER';
    case 'ReadWriteOncePod':
      return precise ? 'SINGLE_NODE_SINGLE_WRITER' : 'SINGLE_NODE_WRITER';
    case 'ReadOnlyMany':
      return 'MULTI_NODE_READER_ONLY';
    case 'ReadWriteMany':
      return 'MULTI_NODE_MULTI_WRITER';
    default:
      return 'UNKNOWN';
  }
}

/** The group that the driver itself is to give the volume to; undefined where it cannot, or nobody asks. */
export function delegatedGroup(pod: Pod, capabilities: NodeCapabilities): number | undefined {
  return capabilities.has('VOLUME_MOUNT_GROUP') ? pod.spec.securityContext?.fsGroup : undefined;
}

/** How the volume is going to be used. */
export function volumeCapability(source: CsiSource, pod: Pod, capabilities: NodeCapabilities): VolumeCapability {
  const accessMode = { mode: csiAccessMode(source.accessModes, capabilities) } as const;
  if (source.isBlock) return { accessMode, block: {} };
  const group = delegatedGroup(pod, capabilities);
  const mount = {
    fsType: source.fsType,
    mountFlags: [...source.mountOptions],
    ...(group === undefined ? {} : { volumeMountGroup: `${group}` }),
  };
  return { accessMode, mount };
}

/** Whether the agent gives the mounted volume to the pod's group (KEP 1682). */
export function agentOwnsGroup(
  source: CsiSource,
  pod: Pod,
  described: CSIDriver | undefined,
  capabilities: NodeCapabilities,
): boolean {
  if (pod.spec.securityContext?.fsGroup === undefined || capabilities.has('VOLUME_MOUNT_GROUP')) return false;
  const policy = described?.spec.fsGroupPolicy ?? 'ReadWriteOnceWithFSType';
  if (policy === 'None' || source.readOnly || source.isBlock) return false;
  if (policy === 'File') return true;
  if (source.fsType === '') return false;
  return source.accessModes.some((mode) => mode === 'ReadWriteOnce' || mode === 'ReadWriteOncePod');
}

/** What drivers learn about the pod that they publish for. */
export function podInfo(pod: Pod, { lifecycle }: CsiSource): Record<string, string> {
  return {
    'csi.storage.k8s.io/pod.name': pod.metadata.name,
    'csi.storage.k8s.io/pod.namespace': pod.metadata.namespace ?? '',
    'csi.storage.k8s.io/pod.uid': uidOf(pod),
    'csi.storage.k8s.io/serviceAccount.name': pod.spec.serviceAccountName ?? '',
    'csi.storage.k8s.io/ephemeral': `${lifecycle === 'Ephemeral'}`,
  };
}
