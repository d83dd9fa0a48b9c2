// Removal of a cgroup directory: processes still inside are killed, children go first.
import { readdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';

const attempts = 20;
const retryMs = 50;

function isCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? '');
}

async function killAll(directory: string, kill: (pid: number) => void): Promise<void> {
  const text = await readFile(join(directory, 'cgroup.procs'), 'utf8').catch((error: unknown) => {
    if (isCode(error, 'ENOENT', 'ENODEV')) return '';
    throw error;
  });
  for (const pid of text.split('\n').filter((line) => line !== '')) kill(Number(pid));
}

/** Removes `directory` bottom up. Throws when processes in it survive being killed. */
export async function removeCgroupTree(directory: string, clock: Clock, kill: (pid: number) => void): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (entries === undefined) return;
  for (const entry of entries)
    if (entry.isDirectory()) await removeCgroupTree(join(directory, entry.name), clock, kill);
  for (let attempt = 1; ; attempt += 1) {
    try {
      await rmdir(directory);
      return;
    } catch (error) {
      if (isCode(error, 'ENOENT')) return;
      if (!isCode(error, 'EBUSY', 'ENOTEMPTY') || attempt === attempts) throw error;
      await killAll(directory, kill);
      await clock.sleep(retryMs);
    }
  }
}

/** SIGKILL to a process that may be gone already. */
export function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!isCode(error, 'ESRCH')) throw error;
  }
}
