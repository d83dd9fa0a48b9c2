// Which volumes have to be attached to which nodes, and which attachments nobody needs any more
// (pkg/controller/volume/attachdetach). Pure.
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import type { CSIDriver, VolumeAttachment } from '#kube/api/generated/storage-v1.ts';
import { isPodTerminal } from '#kube/api/pod-state.ts';
import { mayForceDetach } from '../node-lifecycle/out-of-service.ts';

/** One volume on one node. */
export interface WantedAttachment {
  /** Of the VolumeAttachment object. */
  name: string;
  node: string;
  driver: string;
  handle: string;
  volume: string;
  /** A pod that waits for it. */
  pod: Pod;
  accessModes: readonly string[];
}

export interface AttachmentInputs {
  pods: readonly Pod[];
  claim(namespace: string, name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  driver(name: string): CSIDriver | undefined;
  node(name: string): Node | undefined;
  attachments: readonly VolumeAttachment[];
  nowMs: number;
  /** The name of a VolumeAttachment. */
  nameOf(handle: string, driver: string, node: string): string;
}

export interface AttachmentPlan {
  attach: WantedAttachment[];
  detach: VolumeAttachment[];
  /** Volumes that another node has. */
  blocked: { wanted: WantedAttachment; by: string }[];
}

/** As volumes are named in a node's status. */
export function uniqueName(driver: string, handle: string): string {
  return `kubernetes.io/csi/${driver}^${handle}`;
}

function claimNames(pod: Pod): string[] {
  return (pod.spec.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    if (persistentVolumeClaim !== undefined) return [persistentVolumeClaim.claimName];
    return ephemeral === undefined ? [] : [`${pod.metadata.name}-${name}`];
  });
}

/** All volumes that pods need attached, each once for a node. */
export function wantedAttachments(inputs: AttachmentInputs): Map<string, WantedAttachment> {
  const wanted = new Map<string, WantedAttachment>();
  for (const pod of inputs.pods) {
    const node = pod.spec.nodeName ?? '';
    if (node === '' || isPodTerminal(pod)) continue;
    for (const claimName of claimNames(pod)) {
      const claim = inputs.claim(pod.metadata.namespace ?? '', claimName);
      const volume = inputs.volume(claim?.spec.volumeName ?? '');
      const csi = volume?.spec.csi;
      if (volume === undefined || csi === undefined || claim?.metadata.uid !== volume.spec.claimRef?.uid) continue;
      if (inputs.driver(csi.driver)?.spec.attachRequired === false) continue;
      const name = inputs.nameOf(csi.volumeHandle, csi.driver, node);
      const accessModes = volume.spec.accessModes ?? [];
      const { driver, volumeHandle: handle } = csi;
      wanted.set(name, { name, node, driver, handle, volume: volume.metadata.name, pod, accessModes });
    }
  }
  return wanted;
}

/** Whether this controller asked for it: others, and attachments of volumes that are gone, are left to who made them. */
function isOurs({ metadata, spec }: VolumeAttachment, inputs: AttachmentInputs): boolean {
  const csi = inputs.volume(spec.source.persistentVolumeName ?? '')?.spec.csi;
  return csi !== undefined && metadata.name === inputs.nameOf(csi.volumeHandle, csi.driver, spec.nodeName);
}

/** Whether the node says that it uses the volume. */
function isInUse({ spec }: VolumeAttachment, inputs: AttachmentInputs): boolean {
  if (mayForceDetach(inputs.node(spec.nodeName), inputs.nowMs)) return false;
  const csi = inputs.volume(spec.source.persistentVolumeName ?? '')?.spec.csi;
  const inUse = inputs.node(spec.nodeName)?.status?.volumesInUse ?? [];
  return csi !== undefined && inUse.includes(uniqueName(csi.driver, csi.volumeHandle));
}

/** Decides. */
export function planAttachments(inputs: AttachmentInputs): AttachmentPlan {
  const wanted = wantedAttachments(inputs);
  const present = new Map(inputs.attachments.map((attachment) => [attachment.metadata.name, attachment]));
  const detach = inputs.attachments.filter(
    (attachment) =>
      attachment.metadata.deletionTimestamp === undefined &&
      isOurs(attachment, inputs) &&
      !wanted.has(attachment.metadata.name) &&
      !isInUse(attachment, inputs),
  );
  const attach: WantedAttachment[] = [];
  const blocked: AttachmentPlan['blocked'] = [];
  for (const want of wanted.values()) {
    if (present.has(want.name)) continue;
    const isShared = want.accessModes.some((mode) => mode === 'ReadWriteMany' || mode === 'ReadOnlyMany');
    const other = inputs.attachments.find(
      ({ spec }) => spec.source.persistentVolumeName === want.volume && spec.nodeName !== want.node,
    );
    if (other !== undefined && !isShared) blocked.push({ wanted: want, by: other.spec.nodeName });
    else attach.push(want);
  }
  return { attach, detach, blocked };
}

/** What a node's status says about attached volumes: those whose attachment is complete. */
export function attachedVolumes(
  node: string,
  inputs: Pick<AttachmentInputs, 'attachments' | 'volume'>,
): { name: string; devicePath: string }[] {
  const names = inputs.attachments.flatMap(({ spec, status, metadata }) => {
    const csi = inputs.volume(spec.source.persistentVolumeName ?? '')?.spec.csi;
    const isThere = spec.nodeName === node && status?.attached === true && metadata.deletionTimestamp === undefined;
    return isThere && csi !== undefined ? [uniqueName(csi.driver, csi.volumeHandle)] : [];
  });
  return [...new Set(names)].sort().map((name) => ({ name, devicePath: '' }));
}
