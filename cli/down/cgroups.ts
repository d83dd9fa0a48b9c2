// Kills what is left in a cgroup and removes the cgroup from every hierarchy, v1 and v2.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';

const cgroupMount = '/sys/fs/cgroup';
const removeAttempts = 40;
const pollMs = 50;

/** The folder of a cgroup in each mounted hierarchy where it exists. */
function foldersOf(path: string, mount = cgroupMount): string[] {
  if (!existsSync(mount)) return [];
  const hierarchies = existsSync(join(mount, 'cgroup.controllers'))
    ? [mount]
    : readdirSync(mount).map((controller) => join(mount, controller));
  return hierarchies.map((dir) => join(dir, path)).filter((dir) => existsSync(dir));
}

/** The folder and all below it, innermost first. */
function descend(dir: string): string[] {
  const children = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...children.flatMap((child) => descend(join(dir, child.name))), dir];
}

function processesBelow(dir: string): number[] {
  return descend(dir).flatMap((folder) => {
    const text = readFileSync(join(folder, 'cgroup.procs'), 'utf8');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  });
}

/** Kills every process in the cgroup and waits until it is empty, for two seconds at most. */
export async function killCgroup(path: string, clock: Clock): Promise<void> {
  for (const dir of foldersOf(path)) {
    for (let attempt = 0; attempt < removeAttempts; attempt += 1) {
      const pids = processesBelow(dir).filter((pid) => pid > 0);
      if (pids.length === 0) break;
      for (const pid of pids) killIfThere(pid);
      await clock.sleep(pollMs);
    }
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Removes cgroups with all below them; the kernel may need a moment to let go of the last process. */
export async function removeCgroups(paths: readonly string[], clock: Clock): Promise<void> {
  for (const dir of paths.flatMap((path) => foldersOf(path))) {
    for (const folder of descend(dir)) {
      for (let attempt = 1; ; attempt += 1) {
        try {
          await rmdir(folder);
          break;
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException;
          if (code === 'ENOENT') break;
          if (code !== 'EBUSY' || attempt === removeAttempts) throw error;
          await clock.sleep(pollMs);
        }
      }
    }
  }
}
