// Raw devices of CSI drivers: staged and published as files of their own, shown to the pod by a link
// (pkg/volume/csi/csi_block.go).
import { mkdir, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { NodePublishVolumeRequest } from '#proto/generated/csi/csi/v1/NodePublishVolumeRequest.ts';
import type { NodeStageVolumeRequest } from '#proto/generated/csi/csi/v1/NodeStageVolumeRequest.ts';
import type { Mounter } from '../mounter.ts';
import { VolumeError } from '../payload.ts';
import { listDirectory, removeTree } from '../remove-tree.ts';
import { type PreparedVolume, uidOf } from '../volume-kind.ts';
import type { Attachments, VolumeIdentity } from './attachments.ts';
import type { CsiDrivers } from './csi-drivers.ts';
import { isCsiNotFound } from './csi-error.ts';
import { blockPaths, csiDevicesOfPod } from './csi-paths.ts';
import { type CsiTask, inStep } from './csi-task.ts';
import type { CsiSource } from './plan-csi-volume.ts';
import { readVolumeData, type VolumeData, writeVolumeData } from './volume-data.ts';

export interface BlockVolumesOptions {
  rootDir: string;
  mounter: Mounter;
  baseRequest(
    task: CsiTask,
    secret: CsiSource['publishSecret'],
    signal: AbortSignal,
  ): Promise<Omit<NodeStageVolumeRequest, 'volumeId' | 'stagingTargetPath'>>;
  publishRequest(
    task: CsiTask,
    staging: string,
    target: string,
    signal: AbortSignal,
  ): Promise<NodePublishVolumeRequest>;
  dataOf(task: CsiTask): VolumeData;
  expand(task: CsiTask, volumePath: string, stagingTargetPath: string, signal: AbortSignal): Promise<void>;
}

export interface BlockVolumes {
  isPublished(specName: string, podUid: string): Promise<boolean>;
  /** Called with the volume's lock held. */
  map(task: CsiTask, signal: AbortSignal): Promise<PreparedVolume>;
  /** Takes back every device of the pod. */
  release(
    podUid: string,
    drivers: CsiDrivers,
    locked: (volume: VolumeIdentity, work: () => Promise<void>) => Promise<void>,
    attachments: Attachments,
  ): Promise<void>;
}

const stageStep = 'MapVolume.SetUpDevice failed';
const publishStep = 'MapVolume.MapPodDevice failed';

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Creates the part of the kind that is about devices. */
export function createBlockVolumes(options: BlockVolumesOptions): BlockVolumes {
  const { rootDir, mounter } = options;

  async function stage(task: CsiTask, signal: AbortSignal): Promise<string> {
    const { source, driver, request } = task;
    const paths = blockPaths(rootDir, request.specName);
    await writeVolumeData(paths.data, options.dataOf(task));
    if (!(await driver.capabilities(signal)).has('STAGE_UNSTAGE_VOLUME')) return '';
    await mkdir(paths.staging, { recursive: true, mode: 0o750 });
    const base = await options.baseRequest(task, source.stageSecret, signal);
    await driver.stage({ ...base, volumeId: source.handle, stagingTargetPath: paths.staging }, signal);
    return paths.staging;
  }

  async function isUsed(specName: string, exceptPod: string): Promise<boolean> {
    for (const podUid of await listDirectory(join(rootDir, 'pods'))) {
      if (podUid === exceptPod) continue;
      if ((await listDirectory(csiDevicesOfPod(rootDir, podUid))).includes(specName)) return true;
    }
    return false;
  }

  return {
    isPublished: async (specName, podUid) =>
      (await exists(blockPaths(rootDir, specName).publish(podUid))) &&
      (await exists(join(csiDevicesOfPod(rootDir, podUid), specName))),
    async map(task, signal) {
      const { request, source, driver } = task;
      const { pod, specName } = request;
      const uid = uidOf(pod);
      const target = blockPaths(rootDir, specName).publish(uid);
      const link = join(csiDevicesOfPod(rootDir, uid), specName);
      const prepared = { hostPath: link, readOnly: source.readOnly, isDevice: true };
      if ((await exists(target)) && (await exists(link))) {
        await options.expand(task, target, '', signal);
        return prepared;
      }
      await mkdir(dirname(link), { recursive: true, mode: 0o750 });
      await mkdir(dirname(target), { recursive: true, mode: 0o750 });
      // The link comes first: from here on the pod counts as a user of the volume.
      await rm(link, { force: true });
      await symlink(target, link);
      const staging = await inStep(stageStep, () => stage(task, signal));
      await inStep(publishStep, async () =>
        driver.publish(await options.publishRequest(task, staging, target, signal), signal),
      );
      await options.expand(task, target, staging, signal);
      return prepared;
    },
    async release(podUid, drivers, locked, attachments) {
      const links = csiDevicesOfPod(rootDir, podUid);
      for (const specName of await listDirectory(links)) {
        const paths = blockPaths(rootDir, specName);
        const data = await readVolumeData(paths.data);
        if (data === undefined) continue;
        const volume = { driver: data.driverName, handle: data.volumeHandle };
        const driver = drivers.find(volume.driver);
        if (driver === undefined) {
          throw new VolumeError(`driver name ${volume.driver} not found in the list of registered CSI drivers`);
        }
        const ignoreMissing = (error: unknown) => {
          if (!isCsiNotFound(error)) throw error;
        };
        await locked(volume, async () => {
          const target = paths.publish(podUid);
          await driver.unpublish(volume.handle, target).catch(ignoreMissing);
          for (const mount of await mounter.listBelow(target)) await mounter.unmount(mount);
          await removeTree(target);
          if (!(await isUsed(specName, podUid))) {
            const stages = (await driver.capabilities()).has('STAGE_UNSTAGE_VOLUME');
            if (stages) await driver.unstage(volume.handle, paths.staging).catch(ignoreMissing);
            for (const path of [paths.staging, dirname(target), dirname(paths.data)]) await removeTree(path);
            await attachments.release(volume);
          }
          await rm(join(links, specName), { force: true });
        });
      }
    },
  };
}
