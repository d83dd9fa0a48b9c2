// All kinds of volumes of this node, in one list.
import type { Node } from '#kube/api/generated/core-v1.ts';
import { amountsOf } from '#kube/api/pod-resources.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import type { CsiVolumes } from './csi/csi-volumes.ts';
import { createEmptyDirKind } from './empty-dir.ts';
import { createFormatDevice } from './format-device.ts';
import { hostPathKind } from './host-path.ts';
import type { ImageVolumes } from './image-volume.ts';
import { checkNodeAffinity, createLocalKind } from './local-kind.ts';
import { createMemoryDirectories } from './memory-directories.ts';
import type { Mounter } from './mounter.ts';
import { createNfsKind } from './network-kind.ts';
import { createObjectKind } from './object-kind.ts';
import { VolumeError } from './payload.ts';
import type { PayloadSources } from './resolve-payload.ts';
import type { RecordVolumeEvent, VolumeKind, VolumeRequest } from './volume-kind.ts';

export interface VolumeKindsOptions {
  rootDir: string;
  mounter: Mounter;
  sources: PayloadSources;
  clock: Clock;
  exec: Exec;
  /** Volumes of drivers that run beside the agent; absent where there are none. */
  csi?: CsiVolumes | undefined;
  /** Images as volumes, which start with their containers and end with their pod. */
  images?: ImageVolumes | undefined;
  record?: RecordVolumeEvent;
  /** This node as last seen. */
  node(): Node | undefined;
}

export interface VolumeKinds {
  /** The kind of a volume. Throws VolumeError for one that this node does not know. */
  find(request: VolumeRequest): VolumeKind;
  /** Throws where the volume may not be used on this node. */
  check(request: VolumeRequest): void;
  /** Takes back what drivers did for the pod; its sub paths are unmounted already. */
  release(podUid: string): Promise<void>;
  /** Removes what lies outside the pod's directory; nothing of the pod is mounted any more. */
  remove(podUid: string): Promise<void>;
}

/** Creates the list. */
export function createVolumeKinds(options: VolumeKindsOptions): VolumeKinds {
  const { rootDir, mounter, sources, clock, exec, csi, images, node } = options;
  const memory = createMemoryDirectories(rootDir, mounter);
  const allocatable = () => amountsOf(node()?.status?.allocatable).get('memory') ?? 0;
  const local = createLocalKind(rootDir, mounter, createFormatDevice(exec), options.record);
  const kinds: readonly VolumeKind[] = [
    createObjectKind(rootDir, memory, sources, clock),
    createEmptyDirKind(rootDir, mounter, allocatable),
    hostPathKind,
    local,
    createNfsKind(rootDir, mounter),
    ...(csi === undefined ? [] : [csi]),
  ];
  return {
    find(request) {
      const kind = kinds.find((candidate) => candidate.supports(request));
      if (kind !== undefined) return kind;
      throw new VolumeError(
        `failed to get Plugin from volumeSpec for volume "${request.specName}" err=no volume plugin matched`,
      );
    },
    check: (request) => checkNodeAffinity(request, node()),
    async release(podUid) {
      await images?.release(podUid);
      await local.release(podUid);
      await csi?.release(podUid);
    },
    remove: (podUid) => memory.remove(podUid),
  };
}
