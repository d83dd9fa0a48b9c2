// Makes a volume belong to the pod's fsGroup (pkg/volume/volume_linux.go).
import { chmod, lchown, lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const setGid = 0o2000;

async function own(path: string, gid: number, readOnly: boolean): Promise<boolean> {
  const info = await lstat(path);
  await lchown(path, info.uid, gid);
  if (info.isSymbolicLink()) return false;
  let mode = (info.mode & 0o7777) | (readOnly ? 0o440 : 0o660);
  if (info.isDirectory()) mode |= setGid | 0o110;
  await chmod(path, mode);
  return info.isDirectory();
}

/** Gives `path` and all below it to the group, readable (and writable unless `readOnly`) by it. */
export async function applyFsGroup(path: string, gid: number, readOnly: boolean): Promise<void> {
  if (!(await own(path, gid, readOnly))) return;
  for (const name of await readdir(path)) await applyFsGroup(join(path, name), gid, readOnly);
}
