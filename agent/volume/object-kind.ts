// Volumes made from objects of the API: configMap, secret, downwardAPI and projected. They follow their objects, so
// their files are looked at whenever the pod is.
import { randomInt } from 'node:crypto';
import { access, chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Volume } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import { writeAtomically } from './atomic-writer.ts';
import { measureShare } from './measure-usage.ts';
import type { MemoryDirectories } from './memory-directories.ts';
import { VolumeError } from './payload.ts';
import { volumeDirectory } from './pod-paths.ts';
import { type PayloadSources, resolvePayload } from './resolve-payload.ts';
import { uidOf, type VolumeKind } from './volume-kind.ts';
import { applyFsGroup } from './volume-ownership.ts';

/** Plugin of the volume, and whether its files must not reach a disk. */
function placeOf(volume: Volume): { plugin: string; inMemory: boolean } | undefined {
  if (volume.configMap !== undefined) return { plugin: 'kubernetes.io/configmap', inMemory: false };
  if (volume.secret !== undefined) return { plugin: 'kubernetes.io/secret', inMemory: true };
  if (volume.downwardAPI !== undefined) return { plugin: 'kubernetes.io/downward-api', inMemory: true };
  if (volume.projected !== undefined) return { plugin: 'kubernetes.io/projected', inMemory: true };
  return undefined;
}

/** Whether an agent before this one has written the files. */
async function hasFiles(directory: string): Promise<boolean> {
  return access(join(directory, '..data')).then(
    () => true,
    () => false,
  );
}

/** Creates the kind. */
export function createObjectKind(
  rootDir: string,
  memory: MemoryDirectories,
  sources: PayloadSources,
  clock: Clock,
): VolumeKind {
  return {
    plugin: 'kubernetes.io/projected',
    isLive: () => true,
    supports: ({ volume }) => placeOf(volume) !== undefined,
    measure: (_, { hostPath }) => measureShare(hostPath),
    async setUp({ pod, volume }, signal) {
      const place = placeOf(volume);
      if (place !== undefined && sources.isOffline?.() === true) {
        // What is there serves until the API server is back.
        const written = volumeDirectory(rootDir, uidOf(pod), place.plugin, volume.name);
        if (await hasFiles(written)) return { hostPath: written, readOnly: true };
      }
      const payload = await resolvePayload(pod, volume, sources, signal);
      if (place === undefined || payload === undefined) {
        throw new VolumeError(`volume "${volume.name}" is not made from objects`);
      }
      const uid = uidOf(pod);
      const hostPath = volumeDirectory(rootDir, uid, place.plugin, volume.name);
      if (place.inMemory) await memory.ensureDirectory(uid, hostPath);
      else await mkdir(hostPath, { recursive: true, mode: 0o755 });
      await chmod(hostPath, 0o777);
      const gid = pod.spec.securityContext?.fsGroup;
      await writeAtomically(hostPath, payload, {
        nowMs: clock.now(),
        unique: `${randomInt(1_000_000_000)}`,
        ...(gid === undefined
          ? {}
          : { prepare: (directory: string) => applyFsGroup(directory, { gid, readOnly: true }) }),
      });
      return { hostPath, readOnly: true };
    },
  };
}
