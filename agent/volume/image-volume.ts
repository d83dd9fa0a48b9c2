// Image volumes: an image's files as a volume. Runtimes that can mount images themselves are told the image; for others
// its snapshot is mounted read-only below the pod's directory, by the runtime's own tool.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { isMountPoint, type Mounter } from './mounter.ts';
import { VolumeError } from './payload.ts';
import { podDirectory, volumeDirectory } from './pod-paths.ts';
import { listDirectory, removeTree } from './remove-tree.ts';

const plugin = 'kubernetes.io/image';
const namespace = 'k8s.io';
const timeoutMs = 60_000;

/** Where the image's files are: a path of the node, or the runtime's business. */
export type ImageSource = { type: 'path'; hostPath: string } | { type: 'runtime' };

export interface ImageVolumes {
  /** Makes the files of an image that is on the node available to the pod. Throws VolumeError. */
  prepare(podUid: string, volume: string, imageId: string, signal: AbortSignal): Promise<ImageSource>;
  /** Unmounts all images of the pod; its sub paths are unmounted already. */
  release(podUid: string): Promise<void>;
}

export interface ImageVolumesOptions {
  rootDir: string;
  mounter: Mounter;
  exec: Exec;
  runtimeName: string;
  runtimeVersion: string;
  /** The runtime's socket. */
  runtimeEndpoint: string;
}

/** The first versions that mount images themselves, by the name the runtime tells. */
const firstVersions = new Map([
  ['containerd', [2, 1]],
  ['cri-o', [1, 31]],
]);

/** Whether the runtime takes an image as a mount. Unknown ones are given the chance. */
export function mountsImages(name: string, version: string): boolean {
  const [wantedMajor = 0, wantedMinor = 0] = firstVersions.get(name) ?? [0, 0];
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

/** Creates them. */
export function createImageVolumes(options: ImageVolumesOptions): ImageVolumes {
  const { rootDir, mounter, exec } = options;
  const isNative = mountsImages(options.runtimeName, options.runtimeVersion);
  const address = options.runtimeEndpoint.replace(/^unix:\/\//, '');
  const ctr = (args: readonly string[], signal?: AbortSignal) =>
    execOrThrow(exec, 'ctr', ['--address', address, '--namespace', namespace, 'images', ...args], {
      signal,
      timeoutMs,
    });

  return {
    async prepare(podUid, volume, imageId, signal) {
      if (isNative) return { type: 'runtime' };
      if (options.runtimeName !== 'containerd') {
        throw new VolumeError(`${options.runtimeName} ${options.runtimeVersion} cannot mount images`);
      }
      const hostPath = volumeDirectory(rootDir, podUid, plugin, volume);
      if (await isMountPoint(mounter, hostPath)) return { type: 'path', hostPath };
      await mkdir(hostPath, { recursive: true, mode: 0o750 });
      // What an earlier attempt left under this name is in the way of a new one.
      await ctr(['unmount', '--rm', hostPath], signal).catch(() => undefined);
      await ctr(['mount', imageId, hostPath], signal).catch((error: Error) => {
        signal.throwIfAborted();
        throw new VolumeError(error.message, { cause: error });
      });
      return { type: 'path', hostPath };
    },
    async release(podUid) {
      if (isNative) return;
      const directory = join(podDirectory(rootDir, podUid), 'volumes', 'kubernetes.io~image');
      for (const name of await listDirectory(directory)) {
        const hostPath = join(directory, name);
        for (const mount of await mounter.listBelow(hostPath)) await mounter.unmount(mount);
        await ctr(['unmount', '--rm', hostPath]);
        await removeTree(hostPath);
      }
    },
  };
}
