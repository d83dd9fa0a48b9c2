// The record of what `berth up` started and changed, for `berth down`, a second `berth up`, and after a crash.
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { replaceFile } from '#kube/process/replace-file.ts';

/** A process, told apart from a later one with the same id by its start time. */
export interface ProcessRecord {
  name: string;
  pid: number;
  /** Clock ticks since boot, field 22 of /proc/PID/stat. */
  startTime: string;
}

export interface RunState {
  supervisor: ProcessRecord;
  processes: ProcessRecord[];
  hostname: string;
  nodeCount: number;
  nodeIP: string;
  ready: boolean;
  /** Settings of the kernel as they were before, by path. */
  sysctls: Record<string, string>;
}

/** The start time of a process; undefined when there is none with this id. */
export function processStartTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses and may hold anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

export function isAlive({ pid, startTime }: ProcessRecord): boolean {
  return processStartTime(pid) === startTime;
}

export function recordProcess(name: string, pid: number): ProcessRecord {
  return { name, pid, startTime: processStartTime(pid) ?? '' };
}

export async function readRunState(path: string): Promise<RunState | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as RunState;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

export async function writeRunState(path: string, state: RunState): Promise<void> {
  await replaceFile(path, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600, directoryMode: 0o755 });
}
