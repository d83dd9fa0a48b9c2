// Who keeps iptables waiting: legacy iptables holds a file lock while it works, and only the kernel's list of locks says
// whose it is.
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';

const lockPath = 'run/xtables.lock';
/** Waiting that is worth a line. */
const patienceMs = 1000;

export interface LockHolder {
  pid: number;
  command: string;
}

/** Process ids that hold locks on an inode, in the text of /proc/locks. Those that wait are marked by an arrow. */
export function parseLocks(text: string, inode: number): number[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\d+: (?!->)\S+\s+\S+\s+\S+\s+(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line);
    return match !== null && Number(match[2]) === inode ? [Number(match[1])] : [];
  });
}

async function readText(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '');
}

/** The process that holds the lock; undefined when nobody does, or a program that this process started. */
export async function findLockHolder(root: string, ownPid: number): Promise<LockHolder | undefined> {
  const inode = await stat(join(root, lockPath)).then(
    ({ ino }) => ino,
    () => undefined,
  );
  if (inode === undefined) return undefined;
  for (const pid of parseLocks(await readText(join(root, 'proc/locks')), inode)) {
    const parent = /^PPid:\s+(\d+)/m.exec(await readText(join(root, `proc/${pid}/status`)))?.[1];
    if (Number(parent) === ownPid) continue;
    const command = (await readText(join(root, `proc/${pid}/cmdline`))).split('\0').join(' ').trim();
    return { pid, command };
  }
  return undefined;
}

export interface LockWatchOptions {
  clock: Clock;
  /** `/`, or what stands for it in a test. */
  root: string;
  ownPid: number;
  logger: Logger;
}

/** Runs programs; of one that takes long because another process has the lock, the log says whose it is. */
export function watchXtablesLock(exec: Exec, { clock, root, ownPid, logger }: LockWatchOptions): Exec {
  return async (file, args, options) => {
    const tell = async (): Promise<void> => {
      const holder = await findLockHolder(root, ownPid);
      if (holder !== undefined) logger.warn({ program: file, holder }, 'waiting for the xtables lock');
    };
    const timer = clock.after(patienceMs, () => {
      void tell();
    });
    try {
      return await exec(file, args, options);
    } finally {
      timer.cancel();
    }
  };
}
