// The directory where the container runtime finds its network: only the one file of ours is ever written or removed.
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '#kube/process/replace-file.ts';
import { cniFileName, judgeCniFile } from './plan-cni.ts';

export interface CniDirectory {
  /** The text of our file; undefined when there is none. */
  own: string | undefined;
  /** Names of files of other networks. */
  foreign: string[];
}

/** Text of a file that may be removed at any moment. */
async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

export async function readCniDirectory(dir: string): Promise<CniDirectory> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  let own: string | undefined;
  const foreign: string[] = [];
  for (const name of names.sort()) {
    if (!/\.(conf|conflist|json)$/.test(name)) continue;
    const text = await textOf(join(dir, name));
    if (text === undefined) continue;
    const verdict = judgeCniFile(name, text);
    if (verdict === 'ours') own = text;
    else if (verdict === 'foreign') foreign.push(name);
  }
  return { own, foreign };
}

export async function writeCniFile(dir: string, text: string): Promise<void> {
  await replaceFile(join(dir, cniFileName), text, { mode: 0o644, directoryMode: 0o755 });
}

/** Removes the file when it is ours. */
export async function removeCniFile(dir: string): Promise<void> {
  const { own } = await readCniDirectory(dir);
  if (own !== undefined) await rm(join(dir, cniFileName), { force: true });
}
