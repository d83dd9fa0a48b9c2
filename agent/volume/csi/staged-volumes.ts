// Volumes as their drivers have them on this node, once for all pods: staged with the first pod, unstaged after the
// last. Which pods use one is read from the disk, so that nothing is forgotten with the agent.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeStageVolumeRequest } from '#proto/generated/csi/csi/v1/NodeStageVolumeRequest.ts';
import { isMountPoint, type Mounter } from '../mounter.ts';
import { listDirectory, removeTree } from '../remove-tree.ts';
import type { VolumeIdentity } from './attachments.ts';
import { isCsiNotFound } from './csi-error.ts';
import type { CsiNodeClient } from './csi-node-client.ts';
import { csiPlugin, csiVolumesOfPod, stagingDirectory, volumeDataFile } from './csi-paths.ts';
import { readVolumeData, writeVolumeData } from './volume-data.ts';

export interface StagedVolumes {
  /** Stages the volume unless it is; answers where, empty for drivers that stage nothing. Throws CsiError. */
  ensure(
    volume: VolumeIdentity,
    driver: CsiNodeClient,
    request: () => Promise<Omit<NodeStageVolumeRequest, 'volumeId' | 'stagingTargetPath'>>,
    signal: AbortSignal,
  ): Promise<string>;
  /** Unstages. Throws CsiError. */
  remove(volume: VolumeIdentity, driver: CsiNodeClient): Promise<void>;
  /** Whether a pod other than the one given has it mounted, or is about to. */
  isUsed(volume: VolumeIdentity, exceptPod?: string): Promise<boolean>;
  /** All that are staged. */
  list(): Promise<VolumeIdentity[]>;
}

/** Creates the view; callers hold the volume's lock. */
export function createStagedVolumes(rootDir: string, mounter: Mounter): StagedVolumes {
  const done = new Set<string>();
  const root = join(rootDir, 'plugins', csiPlugin);
  const keyOf = ({ driver, handle }: VolumeIdentity) => `${driver}^${handle}`;

  return {
    async ensure(volume, driver, request, signal) {
      const directory = stagingDirectory(rootDir, volume.driver, volume.handle);
      const target = join(directory, 'globalmount');
      await mkdir(target, { recursive: true, mode: 0o750 });
      await writeVolumeData(directory, { driverName: volume.driver, volumeHandle: volume.handle });
      if (!(await driver.capabilities(signal)).has('STAGE_UNSTAGE_VOLUME')) return '';
      if (done.has(keyOf(volume)) || (await isMountPoint(mounter, target))) return target;
      await driver.stage({ ...(await request()), volumeId: volume.handle, stagingTargetPath: target }, signal);
      done.add(keyOf(volume));
      return target;
    },
    async remove(volume, driver) {
      const directory = stagingDirectory(rootDir, volume.driver, volume.handle);
      const target = join(directory, 'globalmount');
      if ((await readVolumeData(directory)) === undefined) return;
      if ((await driver.capabilities()).has('STAGE_UNSTAGE_VOLUME')) {
        await driver.unstage(volume.handle, target).catch((error: unknown) => {
          if (!isCsiNotFound(error)) throw error;
        });
      }
      done.delete(keyOf(volume));
      for (const mount of await mounter.listBelow(target)) await mounter.unmount(mount);
      await removeTree(directory);
    },
    async isUsed({ driver, handle }, exceptPod) {
      for (const podUid of await listDirectory(join(rootDir, 'pods'))) {
        if (podUid === exceptPod) continue;
        const volumes = csiVolumesOfPod(rootDir, podUid);
        for (const name of await listDirectory(volumes)) {
          const data = await readVolumeData(join(volumes, name));
          if (data?.driverName === driver && data.volumeHandle === handle) return true;
        }
      }
      return false;
    },
    async list() {
      const found: VolumeIdentity[] = [];
      for (const driver of await listDirectory(root)) {
        if (driver === 'volumeDevices' || driver === volumeDataFile) continue;
        for (const name of await listDirectory(join(root, driver))) {
          const data = await readVolumeData(join(root, driver, name));
          if (data !== undefined) found.push({ driver: data.driverName, handle: data.volumeHandle });
        }
      }
      return found;
    },
  };
}
