// hostPath volumes: a path of the node, checked or created as its type says.
import { mkdir, open, stat } from 'node:fs/promises';
import type { HostPathVolumeSource } from '#kube/api/generated/core-v1.ts';
import { VolumeError } from './payload.ts';
import type { VolumeKind } from './volume-kind.ts';

type Kind = 'directory' | 'file' | 'socket' | 'characterDevice' | 'blockDevice' | 'other' | 'missing';

async function kindOf(path: string): Promise<Kind> {
  try {
    const info = await stat(path);
    if (info.isDirectory()) return 'directory';
    if (info.isFile()) return 'file';
    if (info.isSocket()) return 'socket';
    if (info.isCharacterDevice()) return 'characterDevice';
    return info.isBlockDevice() ? 'blockDevice' : 'other';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'missing';
    throw error;
  }
}

/** Makes sure that the path is what the pod expects. Throws VolumeError. */
export async function ensureHostPath({ path, type = '' }: HostPathVolumeSource): Promise<void> {
  if (path.split('/').includes('..')) throw new VolumeError(`invalid HostPath \`${path}\`: must not contain '..'`);
  if (type === '') return;
  let kind = await kindOf(path);
  if (type === 'DirectoryOrCreate' && kind === 'missing') {
    await mkdir(path, { recursive: true, mode: 0o755 });
    kind = 'directory';
  } else if (type === 'FileOrCreate' && kind === 'missing') {
    await (await open(path, 'a', 0o644)).close();
    kind = 'file';
  }
  const wanted: Record<string, [Kind, string]> = {
    DirectoryOrCreate: ['directory', 'a directory'],
    Directory: ['directory', 'a directory'],
    FileOrCreate: ['file', 'a file'],
    File: ['file', 'a file'],
    Socket: ['socket', 'a socket file'],
    CharDevice: ['characterDevice', 'a character device'],
    BlockDevice: ['blockDevice', 'a block device'],
  };
  const [expected, words] = wanted[type] ?? ['missing', ''];
  if (words === '') throw new VolumeError(`${type} is an invalid volume type`);
  if (kind !== expected) throw new VolumeError(`hostPath type check failed: ${path} is not ${words}`);
}

/** hostPath volumes of pods, and persistent volumes that are a path of the node. */
export const hostPathKind: VolumeKind = {
  plugin: 'kubernetes.io/host-path',
  supports: ({ volume, bound }) => (bound === undefined ? volume.hostPath : bound.volume.spec?.hostPath) !== undefined,
  async setUp({ volume, bound }) {
    const source = bound === undefined ? volume.hostPath : bound.volume.spec?.hostPath;
    if (source === undefined) throw new VolumeError(`volume "${volume.name}" is not a path of the node`);
    await ensureHostPath(source);
    return { hostPath: source.path, readOnly: bound?.readOnly === true };
  },
};
