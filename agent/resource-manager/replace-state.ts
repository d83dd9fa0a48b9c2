// State files of the managers: replaced as a whole, and left alone when nothing has changed, so that an agent starts
// also where its disk is full.
import { readFile } from 'node:fs/promises';
import { replaceFile } from '#kube/process/replace-file.ts';

/** Makes the file say `text`; readers see the old state or the new one. */
export async function replaceState(path: string, text: string): Promise<void> {
  if ((await readFile(path, 'utf8').catch(() => undefined)) === text) return;
  await replaceFile(path, text);
}
