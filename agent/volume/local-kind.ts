// Local persistent volumes: a directory, a filesystem on a block device, or a raw device of this very node
// (pkg/volume/local).
import { mkdir, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Node } from '#kube/api/generated/core-v1.ts';
import { nodeSelectorMatches } from '#kube/api/node-affinity.ts';
import { createKeyLock } from './key-lock.ts';
import { measureFilesystem } from './measure-usage.ts';
import { isMountPoint, type Mounter } from './mounter.ts';
import { VolumeError } from './payload.ts';
import { deviceDirectory, plainName, podDirectory, volumeDirectory } from './pod-paths.ts';
import { listDirectory, removeTree } from './remove-tree.ts';
import {
  isBlock,
  type PreparedVolume,
  type RecordVolumeEvent,
  uidOf,
  type VolumeKind,
  type VolumeRequest,
} from './volume-kind.ts';
import { applyFsGroup } from './volume-ownership.ts';

const plugin = 'kubernetes.io/local-volume';

/** Throws unless the volume may be used on this node. */
export function checkNodeAffinity({ bound }: VolumeRequest, node: Node | undefined): void {
  const required = bound?.volume.spec?.nodeAffinity?.required;
  if (required === undefined || node === undefined || nodeSelectorMatches(required, node)) return;
  throw new VolumeError('no matching NodeSelectorTerms', { step: 'MountVolume.NodeAffinity check failed' });
}

async function kindOfPath(path: string): Promise<'directory' | 'block'> {
  const step = 'MountVolume.NewMounter initialization failed';
  if (path.split('/').includes('..')) throw new VolumeError(`invalid path: ${path}: must not contain '..'`, { step });
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new VolumeError(`path "${path}" does not exist`, { step });
    throw error;
  });
  if (info.isDirectory()) return 'directory';
  if (info.isBlockDevice()) return 'block';
  throw new VolumeError(`path "${path}" is neither a directory nor a block device`, { step });
}

/** Makes a filesystem on a device that has none. */
export type FormatDevice = (device: string, fsType: string) => Promise<void>;

/** The kind, and what ends it. */
export interface LocalVolumes extends VolumeKind {
  /** Unmounts the pod's volumes, and filesystems on devices that no other pod of the node uses. */
  release(podUid: string): Promise<void>;
}

/** Creates the kind. */
export function createLocalKind(
  rootDir: string,
  mounter: Mounter,
  format: FormatDevice,
  record?: RecordVolumeEvent,
): LocalVolumes {
  const lock = createKeyLock();
  const deviceMount = (specName: string) => join(rootDir, 'plugins', plugin, 'mounts', plainName(specName));
  const volumesOf = (podUid: string) => join(podDirectory(rootDir, podUid), 'volumes', 'kubernetes.io~local-volume');

  async function isUsed(specName: string, exceptPod: string): Promise<boolean> {
    for (const podUid of await listDirectory(join(rootDir, 'pods'))) {
      if (podUid !== exceptPod && (await listDirectory(volumesOf(podUid))).includes(specName)) return true;
    }
    return false;
  }

  async function linkDevice(request: VolumeRequest, path: string): Promise<PreparedVolume> {
    const directory = deviceDirectory(rootDir, uidOf(request.pod), plugin);
    await mkdir(directory, { recursive: true, mode: 0o750 });
    const link = join(directory, request.specName);
    await rm(link, { force: true });
    await symlink(path, link);
    return { hostPath: link, readOnly: request.bound?.readOnly === true, isDevice: true };
  }

  /** The filesystem on the device, mounted once for all pods of the node. */
  async function mountDevice({ bound, specName }: VolumeRequest, device: string): Promise<string> {
    const target = deviceMount(specName);
    if (await isMountPoint(mounter, target)) return target;
    const fsType = bound?.volume.spec?.local?.fsType ?? 'ext4';
    const readOnly = bound?.readOnly === true;
    const options = [...(readOnly ? ['ro'] : []), ...(bound?.volume.spec?.mountOptions ?? [])];
    try {
      if (!readOnly) await format(device, fsType);
      await mkdir(target, { recursive: true, mode: 0o750 });
      await mounter.mount({ type: fsType, source: device, target, options });
    } catch (error) {
      throw new VolumeError((error as Error).message, { step: 'MountVolume.MountDevice failed', cause: error });
    }
    return target;
  }

  /** The first pod's group gets the volume: what a pod uses is not taken from it for another. */
  async function giveToGroup({ pod, specName }: VolumeRequest, hostPath: string): Promise<void> {
    const { fsGroup: gid, fsGroupChangePolicy: changePolicy } = pod.spec.securityContext ?? {};
    if (gid === undefined) return;
    if (!(await isUsed(specName, uidOf(pod)))) {
      await applyFsGroup(hostPath, { gid, readOnly: false, changePolicy });
      return;
    }
    const owner = (await stat(hostPath)).gid;
    if (owner === gid) return;
    const asked = `The requested fsGroup is ${gid}, but the volume ${specName} has GID ${owner}.`;
    record?.(pod, 'Warning', 'AlreadyMountedVolume', `${asked} The volume may not be shareable.`);
  }

  return {
    plugin,
    supports: ({ bound }) => bound?.volume.spec?.local !== undefined,
    measure: async (_, { hostPath, isDevice }) => (isDevice === true ? undefined : measureFilesystem(hostPath)),
    async setUp(request) {
      const { pod, bound, specName } = request;
      const { path } = bound?.volume.spec?.local ?? { path: '' };
      const found = await kindOfPath(path);
      if (isBlock(request)) {
        if (found !== 'block')
          throw new VolumeError(`path "${path}" is not a block device`, { step: 'MapVolume.SetUpDevice failed' });
        return linkDevice(request, path);
      }
      const readOnly = bound?.readOnly === true;
      const hostPath = volumeDirectory(rootDir, uidOf(pod), plugin, specName);
      if (await isMountPoint(mounter, hostPath)) return { hostPath, readOnly };
      // The directory comes first: from here on the pod counts as a user of the device.
      await mkdir(hostPath, { recursive: true, mode: 0o750 });
      const source = found === 'block' ? await lock(specName, () => mountDevice(request, path)) : path;
      const options = found === 'block' ? [] : (bound?.volume.spec?.mountOptions ?? []);
      await mounter.bind(source, hostPath, { readOnly, options });
      if (!readOnly) await giveToGroup(request, hostPath);
      return { hostPath, readOnly };
    },
    async release(podUid) {
      for (const specName of await listDirectory(volumesOf(podUid))) {
        const hostPath = join(volumesOf(podUid), specName);
        for (const mount of await mounter.listBelow(hostPath)) await mounter.unmount(mount);
        await lock(specName, async () => {
          const target = deviceMount(specName);
          if ((await isMountPoint(mounter, target)) && !(await isUsed(specName, podUid))) {
            await mounter.unmount(target);
            await removeTree(target);
          }
        });
        await removeTree(hostPath);
      }
    },
  };
}
