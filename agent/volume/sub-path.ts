// Mounts of a part of a volume: the path is walked without following a link out of the volume, and bound where no
// container can change it between the check and the use (CVE-2017-1002101).
import { chmod, type FileHandle, mkdir, readlink, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { openAnchor, openChild, throughHandle } from './anchored-path.ts';
import { isMountPoint, type Mounter } from './mounter.ts';
import { VolumeError } from './payload.ts';

/** As many as the kernel follows. */
const maxLinks = 40;

/** Opens the child; a missing one becomes a directory with the permissions of the volume. */
async function openOrCreate(parent: FileHandle, name: string, mode: number): Promise<FileHandle> {
  try {
    return await openChild(parent, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await mkdir(`${throughHandle(parent)}/${name}`, { mode: 0o700 });
  const made = await openChild(parent, name);
  // Not by mkdir: what it gives is subject to the umask. A link that took its place is not followed.
  if ((await made.stat()).isDirectory()) await chmod(throughHandle(made), mode);
  return made;
}

/** Components of `path`, checked to stay inside. */
function componentsOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (path.startsWith('/') || parts.includes('..')) throw new VolumeError(`subPath "${path}" is not inside its volume`);
  return parts;
}

/**
 * Opens `subPath` below `root` component by component. Links are resolved by hand, relative to where they stand, and
 * must not leave the volume. Missing directories are created.
 */
async function openInside(root: string, subPath: string): Promise<FileHandle> {
  const stack: FileHandle[] = [await openAnchor(root)];
  const mode = (await stat(root)).mode & 0o7777;
  let pending = componentsOf(subPath);
  let links = 0;
  try {
    while (pending.length > 0) {
      const [name = '', ...rest] = pending;
      const parent = stack.at(-1);
      if (parent === undefined) throw new VolumeError(`subPath "${subPath}" is not inside its volume`);
      if (name === '..') {
        if (stack.length === 1) throw new VolumeError(`subPath "${subPath}" leads out of its volume`);
        await stack.pop()?.close();
        pending = rest;
        continue;
      }
      const next = await openOrCreate(parent, name, mode);
      if ((await next.stat()).isSymbolicLink()) {
        await next.close();
        links += 1;
        const target = await readlink(`${throughHandle(parent)}/${name}`);
        if (links > maxLinks || target.startsWith('/'))
          throw new VolumeError(`subPath "${subPath}" leads out of its volume`);
        pending = [...target.split('/').filter((part) => part !== '' && part !== '.'), ...rest];
        continue;
      }
      stack.push(next);
      pending = rest;
    }
    const last = stack.pop();
    if (last === undefined) throw new VolumeError(`subPath "${subPath}" names nothing`);
    return last;
  } finally {
    await Promise.all(stack.map((handle) => handle.close()));
  }
}

/** Binds `subPath` of the volume at `root` onto `target`, which is made a file or a directory to match. */
export async function bindSubPath(root: string, subPath: string, target: string, mounter: Mounter): Promise<void> {
  const handle = await openInside(root, subPath);
  try {
    if (await isMountPoint(mounter, target)) {
      const [wanted, mounted] = await Promise.all([handle.stat(), stat(target)]);
      if (wanted.ino === mounted.ino && wanted.dev === mounted.dev) return;
      // The file was replaced since: a container that starts now gets the new one.
      await mounter.unmount(target);
    }
    if ((await handle.stat()).isDirectory()) await mkdir(target, { recursive: true, mode: 0o750 });
    else {
      await mkdir(dirname(target), { recursive: true, mode: 0o750 });
      await writeFile(target, '', { flag: 'a', mode: 0o640 });
    }
    await mounter.bind(throughHandle(handle), target, { readOnly: false });
  } finally {
    await handle.close();
  }
}

/** The place of the bind of a container's mount with that index. */
export function subPathTarget(directory: string, mountIndex: number): string {
  return join(directory, `${mountIndex}`);
}
