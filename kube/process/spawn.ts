// Long-running child processes: started, watched and stopped. Arguments as arrays, never a shell.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from './clock.ts';

export interface SpawnOptions {
  /** Standard output and error are appended here. */
  logPath: string;
  env?: Record<string, string | undefined>;
  cwd?: string;
}

/** A child that runs until it ends by itself or is stopped. */
export interface RunningProcess {
  readonly pid: number;
  /** Resolves with the exit code, or the signal that ended it. Never rejects. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Sends SIGTERM, and SIGKILL after `graceMs`; resolves when the child has ended. */
  stop(clock: Clock, graceMs: number): Promise<void>;
}

function started(child: ChildProcess, file: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('spawn', () => resolve(child.pid ?? 0));
    child.once('error', (error) => reject(new Error(`cannot start ${file}: ${error.message}`, { cause: error })));
  });
}

/** Starts a program in a process group of its own, so that a terminal's Ctrl-C does not reach it. */
export async function spawnProcess(
  file: string,
  args: readonly string[],
  options: SpawnOptions,
): Promise<RunningProcess> {
  mkdirSync(dirname(options.logPath), { recursive: true });
  const log = openSync(options.logPath, 'a', 0o600);
  let child: ChildProcess;
  try {
    child = spawn(file, args, {
      stdio: ['ignore', log, log],
      detached: true,
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
  } finally {
    closeSync(log);
  }
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const pid = await started(child, file);
  return {
    pid,
    exited,
    stop: async (clock, graceMs) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const timer = clock.after(graceMs, () => child.kill('SIGKILL'));
      await exited;
      timer.cancel();
    },
  };
}
