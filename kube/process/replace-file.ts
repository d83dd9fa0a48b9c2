// State and configuration files are replaced as a whole: a reader, or the next start, finds the old text or the new one.
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface ReplaceFileOptions {
  /** Of the file, whatever the umask says and whatever an earlier run left; 0600 where absent. */
  mode?: number;
  /** Of directories that have to be made; 0750 where absent. */
  directoryMode?: number;
  /** Whether the text is on the disk before it takes its place, so that a power cut cannot empty it; true where absent. */
  flush?: boolean;
}

/** Replaces `path` in one step. Throws the file system's error; what was there then stays as it was. */
export async function replaceFile(
  path: string,
  data: string | Uint8Array,
  options: ReplaceFileOptions = {},
): Promise<void> {
  const { mode = 0o600, directoryMode = 0o750, flush = true } = options;
  await mkdir(dirname(path), { recursive: true, mode: directoryMode });
  const temporary = `${path}.new`;
  try {
    await using file = await open(temporary, 'w', mode);
    await file.chmod(mode);
    await file.writeFile(data);
    if (flush) await file.sync();
  } catch (error) {
    // On a full disk the half of a file would only take more of it.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
  await rename(temporary, path);
}
