// Writes the files of a volume so that a reader sees either all of the old or all of the new ones: a directory per
// version, the link ..data to the current one, and a link per file or top directory through it.
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Payload, validatePayloadPath } from './payload.ts';

const dataLink = '..data';

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

async function currentVersion(root: string): Promise<string | undefined> {
  try {
    return await readlink(join(root, dataLink));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));
}

async function isUnchanged(directory: string, payload: Payload): Promise<boolean> {
  try {
    const existing = await filesBelow(directory);
    if (existing.length !== payload.size) return false;
    for (const [path, { content, mode }] of payload) {
      const target = join(directory, path);
      if (((await lstat(target)).mode & mode) !== mode) return false;
      if (!content.equals(await readFile(target))) return false;
    }
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function writeVersion(directory: string, payload: Payload): Promise<void> {
  for (const [path, { content, mode, uid }] of payload) {
    const target = join(directory, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    await writeFile(target, content, { mode });
    // The creation mode is subject to the umask.
    await chmod(target, mode);
    if (uid !== undefined) await chown(target, uid, -1);
  }
}

async function updateLinks(root: string, payload: Payload): Promise<void> {
  const wanted = new Set([...payload.keys()].map((path) => path.split('/')[0] ?? ''));
  for (const name of await readdir(root)) {
    if (!name.startsWith('..') && !wanted.has(name)) await rm(join(root, name), { recursive: true, force: true });
  }
  for (const name of wanted) {
    await symlink(join(dataLink, name), join(root, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

function versionName(nowMs: number, unique: string): string {
  const stamp = new Date(nowMs).toISOString().slice(0, 19).replace('T', '_').replaceAll('-', '_').replaceAll(':', '_');
  return `..${stamp}.${unique}`;
}

/**
 * Makes the directory `root` hold exactly `payload`. `prepare` is applied to the new version before it becomes
 * visible (ownership). Returns false when nothing had to change. Throws VolumeError for a bad path.
 */
export async function writeAtomically(
  root: string,
  payload: Payload,
  options: { nowMs: number; unique: string; prepare?: (directory: string) => Promise<void> },
): Promise<boolean> {
  for (const path of payload.keys()) validatePayloadPath(path);
  const old = await currentVersion(root);
  if (old !== undefined && (await isUnchanged(join(root, old), payload))) return false;
  const version = versionName(options.nowMs, options.unique);
  const directory = join(root, version);
  await mkdir(directory, { mode: 0o755 });
  await chmod(directory, 0o755);
  await writeVersion(directory, payload);
  await options.prepare?.(directory);
  const temporary = join(root, `${dataLink}_tmp`);
  await rm(temporary, { force: true });
  await symlink(version, temporary);
  await rename(temporary, join(root, dataLink));
  await updateLinks(root, payload);
  if (old !== undefined && old !== version) await rm(join(root, old), { recursive: true, force: true });
  return true;
}
