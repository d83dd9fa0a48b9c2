// Volumes of CSI drivers: what the volume manager asks of them.
import type { VolumeKind } from '../volume-kind.ts';

/** The kind, and what ends it. */
export interface CsiVolumes extends VolumeKind {
  /** Unpublishes every volume of the pod, and unstages those that no other pod of the node uses. */
  release(podUid: string): Promise<void>;
}
