// Reads a file of a volume that containers write to: whatever they put there, nothing outside of the volume is read.
import { type FileHandle, open, readlink } from 'node:fs/promises';
import { openAnchor, openChild, throughHandle } from '../volume/anchored-path.ts';

const maxLinks = 40;
const maxBytes = 1024 * 1024;

const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '' && part !== '.');

/** Opens the place; links are resolved as if the volume were the root of the tree. */
async function openPlace(root: string, path: string): Promise<FileHandle> {
  const stack = [await openAnchor(root)];
  let pending = partsOf(path);
  let links = 0;
  try {
    while (pending.length > 0) {
      const [name = '', ...rest] = pending;
      pending = rest;
      if (name === '..') {
        if (stack.length > 1) await stack.pop()?.close();
        continue;
      }
      const parent = stack.at(-1);
      if (parent === undefined) throw new Error(`${path} names nothing`);
      const child = await openChild(parent, name);
      if (!(await child.stat()).isSymbolicLink()) {
        stack.push(child);
        continue;
      }
      await child.close();
      links += 1;
      if (links > maxLinks) throw new Error(`too many links on the way to ${path}`);
      const target = await readlink(`${throughHandle(parent)}/${name}`);
      if (target.startsWith('/')) await Promise.all(stack.splice(1).map((handle) => handle.close()));
      pending = [...partsOf(target), ...pending];
    }
    const last = stack.length > 1 ? stack.pop() : undefined;
    if (last === undefined) throw new Error(`${path} is no file`);
    return last;
  } finally {
    await Promise.all(stack.map((handle) => handle.close()));
  }
}

/** The text of a plain file; undefined when it is not there. Throws when it is something else, or too large. */
export async function readVolumeFile(root: string, path: string): Promise<string | undefined> {
  let place: FileHandle;
  try {
    place = await openPlace(root, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const found = await place.stat();
    if (!found.isFile()) throw new Error(`${path} is no plain file`);
    if (found.size > maxBytes) throw new Error(`${path} is larger than ${maxBytes} bytes`);
    const file = await open(throughHandle(place), 'r');
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes), 0, maxBytes, 0);
      return buffer.subarray(0, bytesRead).toString('utf8');
    } finally {
      await file.close();
    }
  } finally {
    await place.close();
  }
}
