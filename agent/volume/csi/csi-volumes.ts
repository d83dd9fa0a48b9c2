// Volumes of CSI drivers: attached by others, staged once for the node, published for each pod, grown, given to the
// pod's group, and taken back in the opposite order (pkg/volume/csi).
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { CSIDriver } from '#kube/api/generated/storage-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Informer } from '#kube/informer/types.ts';
import { createKeyLock } from '../key-lock.ts';
import { isMountPoint, type Mounter } from '../mounter.ts';
import { VolumeError } from '../payload.ts';
import { listDirectory, removeTree } from '../remove-tree.ts';
import type { TokenManager } from '../token-manager.ts';
import { type PreparedVolume, uidOf, type VolumeKind } from '../volume-kind.ts';
import { applyFsGroup } from '../volume-ownership.ts';
import type { Attachments, VolumeIdentity } from './attachments.ts';
import { type BlockVolumes, createBlockVolumes } from './block-volumes.ts';
import type { CsiDrivers } from './csi-drivers.ts';
import { isCsiNotFound } from './csi-error.ts';
import { attachmentName, csiPlugin, csiVolumeDirectory, csiVolumesOfPod } from './csi-paths.ts';
import { csiTokens, readCsiSecret } from './csi-secrets.ts';
import { type CsiTask, inStep } from './csi-task.ts';
import { expandVolume, needsExpansion } from './expand-volume.ts';
import { measureCsiVolume } from './measure-csi-volume.ts';
import {
  agentOwnsGroup,
  type CsiSource,
  checkLifecycle,
  csiSourceOf,
  podInfo,
  volumeCapability,
} from './plan-csi-volume.ts';
import type { StagedVolumes } from './staged-volumes.ts';
import { readVolumeData, type VolumeData, writeVolumeData } from './volume-data.ts';

export interface CsiVolumesOptions {
  rootDir: string;
  nodeName: string;
  mounter: Mounter;
  client: ApiClient;
  drivers: CsiDrivers;
  staged: StagedVolumes;
  attachments: Attachments;
  tokens: TokenManager;
  /** What drivers say of themselves in the API. */
  described: Pick<Informer<CSIDriver>, 'get' | 'synced'>;
  record(pod: Pod, type: string, reason: string, message: string): void;
  logger: Logger;
}

/** The kind, and what ends it. */
export interface CsiVolumes extends VolumeKind {
  /** Unpublishes every volume of the pod, and unstages those that no other pod of the node uses. */
  release(podUid: string): Promise<void>;
  /** Unstages what an agent before left of volumes that no pod uses any more. */
  sweep(driver: string): Promise<void>;
}

function missing(source: CsiSource): VolumeError {
  const [step, where] = source.isBlock
    ? ['MapVolume.SetUpDevice failed', 'blockMapper.SetUpDevice failed to get CSI client']
    : source.lifecycle === 'Persistent'
      ? ['MountVolume.MountDevice failed', 'attacher.MountDevice failed to create newCsiDriverClient']
      : ['MountVolume.SetUp failed', 'mounter.SetUpAt failed to get CSI client'];
  const message = `driver name ${source.driver} not found in the list of registered CSI drivers`;
  return new VolumeError(`kubernetes.io/csi: ${where}: ${message}`, { step });
}

/** Creates the kind. */
export function createCsiVolumes(options: CsiVolumesOptions): CsiVolumes {
  const { rootDir, nodeName, mounter, client, drivers, staged, attachments, tokens, logger } = options;
  const lock = createKeyLock();
  const keyOf = ({ driver, handle }: VolumeIdentity) => `${driver}^${handle}`;
  const needsAttachment = (described: CSIDriver | undefined) => described?.spec.attachRequired !== false;

  function dataOf({ source, request }: CsiTask): VolumeData {
    const isPersistent = source.lifecycle === 'Persistent';
    return {
      specVolID: request.specName,
      volumeHandle: source.handle,
      driverName: source.driver,
      nodeName,
      attachmentID: isPersistent ? attachmentName(source.handle, source.driver, nodeName) : '',
      volumeLifecycleMode: source.lifecycle,
      seLinuxMountContext: '',
    };
  }

  /** What both stage and publish requests say. */
  async function baseRequest(task: CsiTask, secret: CsiSource['publishSecret'], signal: AbortSignal) {
    const { source, request, driver, context } = task;
    return {
      publishContext: context,
      volumeCapability: volumeCapability(source, request.pod, await driver.capabilities(signal)),
      secrets: await readCsiSecret(client, secret, signal),
      volumeContext: source.attributes,
    };
  }

  async function publishRequest(task: CsiTask, stagingTargetPath: string, targetPath: string, signal: AbortSignal) {
    const { source, request, described } = task;
    const base = await baseRequest(task, source.publishSecret, signal);
    const issued = await csiTokens(tokens, request.pod, described, signal);
    const inSecrets = described?.spec.serviceAccountTokenInSecrets === true;
    return {
      ...base,
      volumeId: source.handle,
      stagingTargetPath,
      targetPath,
      readonly: source.readOnly,
      secrets: { ...base.secrets, ...(inSecrets ? issued : {}) },
      volumeContext: {
        ...base.volumeContext,
        ...(described?.spec.podInfoOnMount === true ? podInfo(request.pod, source) : {}),
        ...(inSecrets ? {} : issued),
      },
    };
  }

  async function expand(
    task: CsiTask,
    volumePath: string,
    stagingTargetPath: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { request, source, driver } = task;
    const { bound, pod, specName } = request;
    if (bound === undefined || !needsExpansion(bound)) return;
    const capability = volumeCapability(source, pod, await driver.capabilities(signal));
    const secrets = await readCsiSecret(client, source.expandSecret, signal);
    const target = {
      pod,
      bound,
      handle: source.handle,
      volumePath,
      stagingTargetPath,
      volumeCapability: capability,
      secrets,
    };
    try {
      await expandVolume(client, driver, target, signal);
    } catch (error) {
      signal.throwIfAborted();
      const message = `NodeExpandVolume.NodeExpandVolume failed for volume "${specName}" : ${(error as Error).message}`;
      options.record(pod, 'Warning', 'VolumeResizeFailed', message);
      throw new VolumeError((error as Error).message, {
        step: 'MountVolume.Setup failed while expanding volume',
        cause: error,
      });
    }
    const message = `MountVolume.NodeExpandVolume succeeded for volume "${specName}" ${nodeName}`;
    options.record(pod, 'Normal', 'FileSystemResizeSuccessful', message);
  }

  async function mountVolume(task: CsiTask, signal: AbortSignal): Promise<PreparedVolume> {
    const { request, source, driver, described } = task;
    const { pod, specName } = request;
    const directory = csiVolumeDirectory(rootDir, uidOf(pod), specName);
    const hostPath = join(directory, 'mount');
    const isMounted = await isMountPoint(mounter, hostPath);
    await mkdir(directory, { recursive: true, mode: 0o750 });
    if (!isMounted) await writeVolumeData(directory, dataOf(task));
    const staging =
      source.lifecycle === 'Ephemeral'
        ? ''
        : await inStep('MountVolume.MountDevice failed', () =>
            staged.ensure(source, driver, () => baseRequest(task, source.stageSecret, signal), signal),
          );
    if (!isMounted || described?.spec.requiresRepublish === true) {
      await driver.publish(await publishRequest(task, staging, hostPath, signal), signal);
    }
    if (!isMounted) {
      const { fsGroup: gid, fsGroupChangePolicy: changePolicy } = pod.spec.securityContext ?? {};
      const isOurs = agentOwnsGroup(source, pod, described, await driver.capabilities(signal));
      if (gid !== undefined && isOurs) await applyFsGroup(hostPath, { gid, readOnly: false, changePolicy });
    }
    await expand(task, hostPath, staging, signal);
    return { hostPath, readOnly: source.readOnly };
  }

  const blocks: BlockVolumes = createBlockVolumes({ rootDir, mounter, baseRequest, publishRequest, dataOf, expand });

  /** What the attacher says about the volume; nothing where that is known to be done. */
  async function attach(
    source: CsiSource,
    described: CSIDriver | undefined,
    isAttached: boolean,
    signal: AbortSignal,
    progress: (waitingFor: string) => void,
  ): Promise<Record<string, string>> {
    if (source.lifecycle === 'Ephemeral' || !needsAttachment(described) || isAttached) return {};
    return attachments.waitFor(source, signal, progress);
  }

  async function releaseVolume(podUid: string, directory: string, data: VolumeData): Promise<void> {
    const volume = { driver: data.driverName, handle: data.volumeHandle };
    const driver = drivers.find(volume.driver);
    if (driver === undefined) {
      const why = `driver name ${volume.driver} not found in the list of registered CSI drivers`;
      throw new VolumeError(`kubernetes.io/csi: Unmounter.TearDownAt failed to get CSI client: ${why}`);
    }
    await lock(keyOf(volume), async () => {
      const target = join(directory, 'mount');
      await driver.unpublish(volume.handle, target).catch((error: unknown) => {
        if (!isCsiNotFound(error)) throw error;
      });
      for (const mount of await mounter.listBelow(target)) await mounter.unmount(mount);
      if (data.volumeLifecycleMode === 'Persistent' && !(await staged.isUsed(volume, podUid))) {
        await staged.remove(volume, driver);
        await attachments.release(volume);
      }
      await removeTree(directory);
    });
  }

  return {
    plugin: csiPlugin,
    supports: (request) => csiSourceOf(request) !== undefined,
    // Storage behind a claim may grow; a driver may want to be asked again and again.
    isLive: ({ bound, volume }) =>
      bound !== undefined || options.described.get(volume.csi?.driver ?? '')?.spec.requiresRepublish === true,
    async setUp(request, signal, progress) {
      const source = csiSourceOf(request);
      if (source === undefined) throw new VolumeError(`volume "${request.specName}" is not of a CSI driver`);
      await options.described.synced;
      const described = options.described.get(source.driver);
      checkLifecycle(source, described);
      const uid = uidOf(request.pod);
      const target = join(csiVolumeDirectory(rootDir, uid, request.specName), 'mount');
      const isPublished = source.isBlock
        ? await blocks.isPublished(request.specName, uid)
        : await isMountPoint(mounter, target);
      const driver = drivers.find(source.driver);
      if (driver === undefined) {
        // What is mounted stays of use while its driver is away.
        if (isPublished && !source.isBlock) return { hostPath: target, readOnly: source.readOnly };
        throw missing(source);
      }
      const isAttached = isPublished && described?.spec.requiresRepublish !== true;
      const context = await attach(source, described, isAttached, signal, progress);
      const task = { request, source, driver, described, context };
      const work = () => (source.isBlock ? blocks.map(task, signal) : mountVolume(task, signal));
      return source.lifecycle === 'Ephemeral' ? work() : lock(keyOf(source), work);
    },
    async measure(request, { hostPath }) {
      const source = csiSourceOf(request);
      const driver = source === undefined ? undefined : drivers.find(source.driver);
      return source === undefined || driver === undefined
        ? undefined
        : measureCsiVolume(driver, source.handle, hostPath);
    },
    async release(podUid) {
      const root = csiVolumesOfPod(rootDir, podUid);
      const failures: unknown[] = [];
      const attempt = (work: Promise<void>) => work.catch((error: unknown) => void failures.push(error));
      for (const name of await listDirectory(root)) {
        const directory = join(root, name);
        const data = await readVolumeData(directory);
        // One driver that is away keeps no other from letting go.
        if (data !== undefined) await attempt(releaseVolume(podUid, directory, data));
      }
      await attempt(blocks.release(podUid, drivers, (volume, work) => lock(keyOf(volume), work), attachments));
      if (failures.length > 0) throw failures[0];
    },
    async sweep(name) {
      const driver = drivers.find(name);
      if (driver === undefined) return;
      for (const volume of await staged.list()) {
        if (volume.driver !== name) continue;
        await lock(keyOf(volume), async () => {
          if (await staged.isUsed(volume)) return;
          logger.info({ ...volume }, 'unstaging a volume that no pod uses');
          await staged.remove(volume, driver);
          await attachments.release(volume);
        });
      }
    },
  };
}
