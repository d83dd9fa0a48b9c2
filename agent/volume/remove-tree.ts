// Removes a directory with all that is in it, and nothing of another mount: what is mounted somewhere below belongs to
// somebody else, and the removal ends with an error there.
import type { FileHandle } from 'node:fs/promises';
import { readdir, readFile, rmdir, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { openAnchor, openChild, throughHandle } from './anchored-path.ts';
import { VolumeError } from './payload.ts';

/** How many entries of a directory are removed at a time. */
const batch = 16;

async function mountIdOf(handle: FileHandle): Promise<string> {
  const text = await readFile(`/proc/self/fdinfo/${handle.fd}`, 'utf8');
  const id = /^mnt_id:\s*(\d+)$/m.exec(text)?.[1];
  if (id === undefined) throw new Error('the kernel does not tell the mount of an open file');
  return id;
}

/** A file that something is mounted on cannot be unlinked: nothing has to be looked at before. */
async function removeFile(parent: FileHandle, name: string, path: string): Promise<void> {
  await unlink(`${throughHandle(parent)}/${name}`).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EBUSY' ? new VolumeError(`not removing ${path}: something is mounted there`) : error;
  });
}

async function removeDirectory(parent: FileHandle, name: string, mountId: string, path: string): Promise<void> {
  const handle = await openChild(parent, name);
  try {
    if (!(await handle.stat()).isDirectory()) return await removeFile(parent, name, path);
    if ((await mountIdOf(handle)) !== mountId)
      throw new VolumeError(`not removing ${path}: something is mounted there`);
    await emptyDirectory(handle, mountId, path);
  } finally {
    await handle.close();
  }
  await rmdir(`${throughHandle(parent)}/${name}`);
}

async function emptyDirectory(directory: FileHandle, mountId: string, path: string): Promise<void> {
  const entries = await readdir(throughHandle(directory), { withFileTypes: true });
  for (let start = 0; start < entries.length; start += batch) {
    const results = await Promise.allSettled(
      entries.slice(start, start + batch).map((entry) => {
        const place = `${path}/${entry.name}`;
        return entry.isDirectory()
          ? removeDirectory(directory, entry.name, mountId, place)
          : removeFile(directory, entry.name, place);
      }),
    );
    for (const result of results) {
      if (result.status === 'rejected' && !isMissing(result.reason)) throw result.reason;
    }
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

/** Removes `path`; a missing one is fine. Throws VolumeError where a mount is in the way, before crossing it. */
export async function removeTree(path: string): Promise<void> {
  let parent: FileHandle;
  try {
    parent = await openAnchor(dirname(path));
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  try {
    await removeDirectory(parent, basename(path), await mountIdOf(parent), path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  } finally {
    await parent.close();
  }
}

/** Names in a directory; none where it is missing. */
export async function listDirectory(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw error;
  });
}
