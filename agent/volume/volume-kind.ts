// What every kind of volume answers, and what it is asked with.
import type { PersistentVolume, PersistentVolumeClaim, Pod, Volume } from '#kube/api/generated/core-v1.ts';
import type { VolumeUsage } from './measure-usage.ts';

/** A volume ready to be mounted into containers. */
export interface PreparedVolume {
  /** The directory or file; for a block device its node. */
  hostPath: string;
  /** No container may write to it. */
  readOnly: boolean;
  /** Containers get it by volumeDevices. */
  isDevice?: boolean;
}

/** The storage behind a claim. */
export interface BoundClaim {
  claim: PersistentVolumeClaim;
  volume: PersistentVolume;
  /** As the pod mounts the claim. */
  readOnly: boolean;
}

/** One volume of one pod to be prepared. */
export interface VolumeRequest {
  pod: Pod;
  volume: Volume;
  /** In directories and messages: the volume's name, for claims that of the persistent volume. */
  specName: string;
  /** Set for claims and generic ephemeral volumes. */
  bound: BoundClaim | undefined;
}

/** Prepares volumes of one kind. Called again for a volume that is ready it must find that out and change nothing. */
export interface VolumeKind {
  /** Such as kubernetes.io/empty-dir. */
  readonly plugin: string;
  supports(request: VolumeRequest): boolean;
  /** True: asked again with every look at the pod, as the volume follows something that changes. */
  isLive?(request: VolumeRequest): boolean;
  /** Throws VolumeError. `progress` is told what is waited for. */
  setUp(request: VolumeRequest, signal: AbortSignal, progress: (waitingFor: string) => void): Promise<PreparedVolume>;
  /** How full a prepared volume is; undefined where nobody can tell. Absent: of this kind nobody can. */
  measure?(request: VolumeRequest, prepared: PreparedVolume): Promise<VolumeUsage | undefined>;
}

/** Tells the pod's events. */
export type RecordVolumeEvent = (pod: Pod, type: 'Normal' | 'Warning', reason: string, message: string) => void;

/** The pod's uid, which every pod on a node has. */
export function uidOf(pod: Pod): string {
  return pod.metadata.uid ?? '';
}

/** Whether the claim gives a raw device. */
export function isBlock({ bound }: VolumeRequest): boolean {
  return bound?.volume.spec?.volumeMode === 'Block';
}
