// Files written with a record of what was there before.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { replaceFile } from '#kube/process/replace-file.ts';
import type { Ledger } from './ledger.ts';

/** Records directories that have to be made for a file, the outermost first. */
async function recordDirectories(directory: string, ledger: Ledger): Promise<void> {
  if (existsSync(directory)) return;
  await recordDirectories(dirname(directory), ledger);
  const isInTree = ledger.entries().some(({ kind, ...entry }) => {
    const path = 'path' in entry ? entry.path : '';
    return kind === 'tree' && (directory === path || directory.startsWith(`${path}/`));
  });
  if (!isInTree) await ledger.add({ kind: 'directory', path: directory });
}

/** Records how a path is now, before it is written. */
export async function recordFile(path: string, ledger: Ledger): Promise<void> {
  await recordDirectories(dirname(path), ledger);
  if (existsSync(path)) {
    const content = readFileSync(path).toString('base64');
    await ledger.add({ kind: 'replaced', path, content, mode: statSync(path).mode & 0o7777 });
  } else {
    await ledger.add({ kind: 'file', path });
  }
}

/** Writes a file, recorded first. */
export async function writeRecorded(path: string, content: string, mode: number, ledger: Ledger): Promise<void> {
  await recordFile(path, ledger);
  await mkdir(dirname(path), { recursive: true });
  await replaceFile(path, content, { mode, directoryMode: 0o755 });
}

/** Makes a directory, recorded first. */
export async function makeRecordedDirectory(path: string, ledger: Ledger): Promise<void> {
  await recordDirectories(path, ledger);
  await mkdir(path, { recursive: true, mode: 0o755 });
}
