// emptyDir volumes: a directory of the pod's, on disk, in memory or in huge pages (pkg/volume/emptydir).
import { chmod, mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { podLimits } from '#kube/api/pod-resources.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import { containersOf } from '../container/pod-containers.ts';
import { measureShare } from './measure-usage.ts';
import { isMountPoint, type Mounter } from './mounter.ts';
import { VolumeError } from './payload.ts';
import { pluginDirectory, volumeDirectory } from './pod-paths.ts';
import { uidOf, type VolumeKind } from './volume-kind.ts';
import { applyFsGroup } from './volume-ownership.ts';

const plugin = 'kubernetes.io/empty-dir';
const hugePages = 'hugepages-';

/** Bytes that a volume in memory may hold: the least of its own limit, the pod's and what the node has for pods. */
export function memoryVolumeBytes(pod: Pod, sizeLimit: string | undefined, allocatableBytes: number): number {
  const allLimited =
    pod.spec.resources?.limits?.['memory'] !== undefined ||
    containersOf(pod).every(
      ({ kind, container }) => kind === 'ephemeral' || container.resources?.limits?.['memory'] !== undefined,
    );
  const bounds = [
    allocatableBytes,
    allLimited ? (podLimits(pod).get('memory') ?? 0) : 0,
    quantityValue(sizeLimit),
  ].filter((bytes) => bytes > 0);
  return bounds.length === 0 ? 0 : Math.min(...bounds);
}

/** The page size, such as 2Mi, of a volume on a HugePages medium. Throws VolumeError when the pod names none or two. */
export function hugePageSize(pod: Pod, medium: string): string {
  const requested = new Set<string>();
  for (const { container } of containersOf(pod)) {
    for (const name of Object.keys(container.resources?.requests ?? container.resources?.limits ?? {})) {
      if (name.startsWith(hugePages)) requested.add(name.slice(hugePages.length));
    }
  }
  const [size] = requested;
  if (size === undefined) throw new VolumeError(`medium ${medium}: no container of the pod requests huge pages`);
  if (medium === 'HugePages') {
    if (requested.size > 1) throw new VolumeError(`medium ${medium}: the pod requests huge pages of several sizes`);
    return size;
  }
  const wanted = medium.slice('HugePages-'.length);
  if (!requested.has(wanted)) throw new VolumeError(`medium ${medium}: no container requests ${hugePages}${wanted}`);
  return wanted;
}

/** Creates the kind; `allocatableMemoryBytes` is what the node has for pods, 0 while that is not known. */
export function createEmptyDirKind(
  rootDir: string,
  mounter: Mounter,
  allocatableMemoryBytes: () => number,
): VolumeKind {
  async function mountMedium(pod: Pod, medium: string, sizeLimit: string | undefined, target: string): Promise<void> {
    if (await isMountPoint(mounter, target)) return;
    if (medium === 'Memory') {
      const bytes = memoryVolumeBytes(pod, sizeLimit, allocatableMemoryBytes());
      const options = bytes > 0 ? [`size=${bytes}`] : [];
      await mounter.mount({ type: 'tmpfs', source: 'tmpfs', target, options });
    } else if (medium === 'HugePages' || medium.startsWith('HugePages-')) {
      const options = [`pagesize=${hugePageSize(pod, medium)}`];
      await mounter.mount({ type: 'hugetlbfs', source: 'nodev', target, options });
    } else throw new VolumeError(`unknown storage medium "${medium}"`);
  }

  return {
    plugin,
    supports: ({ volume }) =>
      volume.emptyDir !== undefined ||
      Object.keys(volume).every((key) => key === 'name' || volume[key as never] === null),
    measure: (_, { hostPath }) => measureShare(hostPath),
    async setUp({ pod, volume }) {
      const { medium = '', sizeLimit } = volume.emptyDir ?? {};
      const hostPath = volumeDirectory(rootDir, uidOf(pod), plugin, volume.name);
      const marks = pluginDirectory(rootDir, uidOf(pod), plugin, volume.name);
      const mark = join(marks, 'ready');
      const prepared = { hostPath, readOnly: false };
      // What containers made of it since is theirs: a volume that was ready stays as it is.
      const isReady = await stat(mark).then(
        () => true,
        () => false,
      );
      if (isReady && (medium === '' || (await isMountPoint(mounter, hostPath)))) return prepared;
      await mkdir(hostPath, { recursive: true, mode: 0o777 });
      if (medium !== '') await mountMedium(pod, medium, sizeLimit, hostPath);
      await chmod(hostPath, 0o777);
      const gid = pod.spec.securityContext?.fsGroup;
      if (gid !== undefined) await applyFsGroup(hostPath, { gid, readOnly: false });
      await mkdir(marks, { recursive: true, mode: 0o750 });
      await writeFile(mark, '', { mode: 0o640 });
      return prepared;
    },
  };
}
