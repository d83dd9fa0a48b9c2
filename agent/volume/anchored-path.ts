// Walks in directories that others may change at the same time: a name is always looked up in a directory that is held
// open, and never followed when it is a link.
import { constants, type FileHandle, open } from 'node:fs/promises';

/** From <bits/fcntl-linux.h>: names a place in the tree without opening what is there. */
const openPath = 0x200000;

/** The path of what `handle` holds, also for other processes: whatever its name has become since. */
export function throughHandle(handle: FileHandle): string {
  return `/proc/${process.pid}/fd/${handle.fd}`;
}

/** Opens a directory as a place to start from; links on the way to it are followed. */
export async function openAnchor(path: string): Promise<FileHandle> {
  return open(path, openPath | constants.O_DIRECTORY);
}

/** Opens `name` in the directory that `parent` holds; a link is opened itself. */
export async function openChild(parent: FileHandle, name: string): Promise<FileHandle> {
  if (name === '' || name === '.' || name === '..' || name.includes('/')) throw new Error(`not a plain name: ${name}`);
  return open(`${throughHandle(parent)}/${name}`, openPath | constants.O_NOFOLLOW);
}
