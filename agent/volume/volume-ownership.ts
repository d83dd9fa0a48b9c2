// Makes a volume belong to the pod's fsGroup (pkg/volume/volume_linux.go). Containers may be using the volume
// meanwhile, so no link is ever followed.
import { chmod, type FileHandle, lchown, readdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { openAnchor, openChild, throughHandle } from './anchored-path.ts';

const setGid = 0o2000;

/** What the group gets. */
export interface GroupOwnership {
  gid: number;
  readOnly: boolean;
  /** OnRootMismatch leaves a volume alone whose top directory is right already. */
  changePolicy?: string | undefined;
}

function wantedMode(mode: number, isDirectory: boolean, readOnly: boolean): number {
  const granted = (mode & 0o7777) | (readOnly ? 0o440 : 0o660);
  return isDirectory ? granted | setGid | 0o110 : granted;
}

async function own(parent: FileHandle, name: string, ownership: GroupOwnership): Promise<void> {
  const { gid, readOnly } = ownership;
  const handle = await openChild(parent, name);
  try {
    const info = await handle.stat();
    await lchown(`${throughHandle(parent)}/${name}`, info.uid, gid);
    if (info.isSymbolicLink()) return;
    await chmod(throughHandle(handle), wantedMode(info.mode, info.isDirectory(), readOnly));
    if (!info.isDirectory()) return;
    for (const child of await readdir(throughHandle(handle))) await own(handle, child, ownership);
  } catch (error) {
    // Whoever uses the volume may remove a file under our hands.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  } finally {
    await handle.close();
  }
}

/** Whether the top directory shows that everything was done before. */
async function isRight(root: FileHandle, name: string, { gid, readOnly }: GroupOwnership): Promise<boolean> {
  const handle = await openChild(root, name);
  try {
    const info = await handle.stat();
    return info.gid === gid && wantedMode(info.mode, info.isDirectory(), readOnly) === (info.mode & 0o7777);
  } finally {
    await handle.close();
  }
}

/** Gives `path` and all below it to the group, readable (and writable unless `readOnly`) by it. */
export async function applyFsGroup(path: string, ownership: GroupOwnership): Promise<void> {
  const parent = await openAnchor(dirname(path));
  try {
    const name = basename(path);
    if (ownership.changePolicy === 'OnRootMismatch' && (await isRight(parent, name, ownership))) return;
    await own(parent, name, ownership);
  } finally {
    await parent.close();
  }
}
