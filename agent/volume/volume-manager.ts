// Prepares the volumes of pods, keeps those made from objects up to date, and takes everything away again. What is on
// disk is the only state: after a restart the same call finds its own work done.
import { randomInt } from 'node:crypto';
import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Pod, Volume } from '#kube/api/generated/core-v1.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import type { Clock } from '#kube/process/clock.ts';
import { containersOf } from '../container/pod-containers.ts';
import { writeAtomically } from './atomic-writer.ts';
import { ensureHostPath } from './host-path.ts';
import { createMemoryDirectories } from './memory-directories.ts';
import type { Mounter } from './mounter.ts';
import { type Payload, VolumeError } from './payload.ts';
import { podDirectory, volumeDirectory } from './pod-paths.ts';
import { type PayloadSources, resolvePayload } from './resolve-payload.ts';
import { applyFsGroup } from './volume-ownership.ts';

/** A volume ready to be mounted into containers. */
export interface PreparedVolume {
  hostPath: string;
  /** No container may write to it. */
  readOnly: boolean;
}

export interface VolumeManagerOptions {
  rootDir: string;
  mounter: Mounter;
  sources: PayloadSources;
  clock: Clock;
  logger: Logger;
  /** A volume could not be prepared: for the FailedMount event. */
  failed: (pod: Pod, message: string) => void;
}

export interface VolumeManager {
  /** Prepares every volume that containers mount. Throws VolumeError after reporting each failure. */
  prepare(pod: Pod, signal: AbortSignal): Promise<Map<string, PreparedVolume>>;
  /** Unmounts and removes the pod's volumes; termination messages stay to be read again. */
  teardown(podUid: string): Promise<void>;
  /** Removes all files of a pod that is gone. */
  removeDirectory(podUid: string): Promise<void>;
  /** Uids of the pods that have a directory. */
  listPods(): Promise<string[]>;
}

/** Plugin of volumes made from objects, and whether their files must not reach a disk. */
function payloadPlugin(volume: Volume): { plugin: string; inMemory: boolean } | undefined {
  if (volume.configMap !== undefined) return { plugin: 'kubernetes.io/configmap', inMemory: false };
  if (volume.secret !== undefined) return { plugin: 'kubernetes.io/secret', inMemory: true };
  if (volume.downwardAPI !== undefined) return { plugin: 'kubernetes.io/downward-api', inMemory: true };
  if (volume.projected !== undefined) return { plugin: 'kubernetes.io/projected', inMemory: true };
  return undefined;
}

function mountedNames(pod: Pod): Set<string> {
  return new Set(containersOf(pod).flatMap(({ container }) => (container.volumeMounts ?? []).map(({ name }) => name)));
}

/** Creates the manager. */
export function createVolumeManager(options: VolumeManagerOptions): VolumeManager {
  const { rootDir, mounter, sources, clock, logger } = options;
  const memory = createMemoryDirectories(rootDir, mounter);

  async function ensureTmpfs(directory: string, mountOptions: string[]): Promise<void> {
    if ((await mounter.listBelow(directory)).includes(directory)) return;
    await mounter.mountTmpfs(directory, mountOptions);
  }

  async function prepareEmptyDir(pod: Pod, volume: Volume): Promise<PreparedVolume> {
    const { medium = '', sizeLimit } = volume.emptyDir ?? {};
    const hostPath = volumeDirectory(rootDir, pod.metadata.uid ?? '', 'kubernetes.io/empty-dir', volume.name);
    await mkdir(hostPath, { recursive: true, mode: 0o777 });
    if (medium === 'Memory') {
      const size = quantityValue(sizeLimit);
      await ensureTmpfs(hostPath, size > 0 ? [`size=${size}`] : []);
    } else if (medium !== '') throw new VolumeError(`emptyDir medium "${medium}" is not supported`);
    await chmod(hostPath, 0o777);
    const fsGroup = pod.spec.securityContext?.fsGroup;
    if (fsGroup !== undefined) await applyFsGroup(hostPath, fsGroup, false);
    return { hostPath, readOnly: false };
  }

  async function writePayload(pod: Pod, volume: Volume, payload: Payload): Promise<PreparedVolume> {
    const place = payloadPlugin(volume);
    if (place === undefined) throw new VolumeError(`volume "${volume.name}" is not made from objects`);
    const uid = pod.metadata.uid ?? '';
    const hostPath = volumeDirectory(rootDir, uid, place.plugin, volume.name);
    if (place.inMemory) await memory.ensureDirectory(uid, hostPath);
    else await mkdir(hostPath, { recursive: true, mode: 0o755 });
    await chmod(hostPath, 0o777);
    const fsGroup = pod.spec.securityContext?.fsGroup;
    const unique = `${randomInt(1_000_000_000)}`;
    await writeAtomically(hostPath, payload, {
      nowMs: clock.now(),
      unique,
      ...(fsGroup === undefined ? {} : { prepare: (directory: string) => applyFsGroup(directory, fsGroup, true) }),
    });
    return { hostPath, readOnly: true };
  }

  async function prepareOne(pod: Pod, volume: Volume, signal: AbortSignal): Promise<PreparedVolume> {
    const payload = await resolvePayload(pod, volume, sources, signal);
    if (payload !== undefined) return writePayload(pod, volume, payload);
    if (volume.hostPath !== undefined) {
      await ensureHostPath(volume.hostPath);
      return { hostPath: volume.hostPath.path, readOnly: false };
    }
    const kinds = Object.keys(volume).filter((key) => key !== 'name');
    if (volume.emptyDir !== undefined || kinds.length === 0) return prepareEmptyDir(pod, volume);
    throw new VolumeError(`no volume plugin matched: ${kinds.join(', ')} volumes are not supported on this node`);
  }

  async function prepare(pod: Pod, signal: AbortSignal): Promise<Map<string, PreparedVolume>> {
    const wanted = mountedNames(pod);
    const prepared = new Map<string, PreparedVolume>();
    const failures: string[] = [];
    await Promise.all(
      (pod.spec.volumes ?? [])
        .filter((volume) => wanted.has(volume.name))
        .map(async (volume) => {
          try {
            prepared.set(volume.name, await prepareOne(pod, volume, signal));
          } catch (error) {
            signal.throwIfAborted();
            failures.push(volume.name);
            options.failed(pod, `MountVolume.SetUp failed for volume "${volume.name}" : ${(error as Error).message}`);
          }
        }),
    );
    if (failures.length > 0) throw new VolumeError(`volumes not ready: ${failures.join(', ')}`);
    return prepared;
  }

  async function teardown(podUid: string): Promise<void> {
    const directory = podDirectory(rootDir, podUid);
    for (const mount of await mounter.listBelow(directory)) {
      logger.debug({ mount }, 'unmounting');
      await mounter.unmount(mount);
    }
    await memory.remove(podUid);
    for (const name of ['volumes', 'volume-subpaths']) {
      await rm(join(directory, name), { recursive: true, force: true });
    }
  }

  return {
    prepare,
    teardown,
    async removeDirectory(podUid) {
      await teardown(podUid);
      await rm(podDirectory(rootDir, podUid), { recursive: true, force: true });
    },
    async listPods() {
      try {
        return await readdir(join(rootDir, 'pods'));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw error;
      }
    },
  };
}
