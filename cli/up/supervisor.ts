// Keeps the processes of a cluster running: starts them, starts again what ends, stops them in reverse order.
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import { type RunningProcess, spawnProcess } from '#kube/process/spawn.ts';
import type { ProcessRecord } from './run-state.ts';
import { recordProcess } from './run-state.ts';

const firstRestartDelayMs = 500;
/** A node must be heard of again before the cluster gives it up, also when it is killed again and again. */
const maxRestartDelayMs = 3000;
/** A process that ran this long had started well: its next restart is quick again. */
const stableAfterMs = 30_000;

export interface ProcessSpec {
  name: string;
  file: string;
  args: readonly string[];
  logPath: string;
  env?: Record<string, string | undefined>;
  /** How long it may take to stop by itself. */
  stopGraceMs: number;
}

export interface Supervisor {
  /** Starts a process and keeps it running until it is stopped. */
  start(spec: ProcessSpec): Promise<void>;
  stop(name: string): Promise<void>;
  stopAll(): Promise<void>;
  readonly processes: ProcessRecord[];
}

interface Supervised {
  spec: ProcessSpec;
  process: RunningProcess;
  stopping: AbortController;
  done: Promise<void>;
}

/** `changed` is called whenever a process id changes. */
export function createSupervisor(clock: Clock, logger: Logger, changed: () => void): Supervisor {
  const running = new Map<string, Supervised>();

  async function keep(supervised: Supervised): Promise<void> {
    const { spec, stopping } = supervised;
    let delayMs = firstRestartDelayMs;
    while (!stopping.signal.aborted) {
      const startedMs = clock.monotonicMs();
      const end = await supervised.process.exited;
      if (stopping.signal.aborted) return;
      if (clock.monotonicMs() - startedMs > stableAfterMs) delayMs = firstRestartDelayMs;
      logger.warn({ process: spec.name, ...end, delayMs }, 'process ended; starting it again');
      try {
        await clock.sleep(delayMs, stopping.signal);
        delayMs = Math.min(delayMs * 2, maxRestartDelayMs);
        supervised.process = await spawnProcess(spec.file, spec.args, spec);
        changed();
      } catch (error) {
        if (stopping.signal.aborted) return;
        logger.error({ process: spec.name, err: error }, 'cannot start process');
        await clock.sleep(maxRestartDelayMs, stopping.signal).catch(() => undefined);
      }
    }
  }

  async function stop(name: string): Promise<void> {
    const supervised = running.get(name);
    if (supervised === undefined) return;
    running.delete(name);
    supervised.stopping.abort();
    await supervised.process.stop(clock, supervised.spec.stopGraceMs);
    await supervised.done;
    changed();
  }

  return {
    start: async (spec) => {
      const process = await spawnProcess(spec.file, spec.args, spec);
      const supervised: Supervised = { spec, process, stopping: new AbortController(), done: Promise.resolve() };
      supervised.done = keep(supervised);
      running.set(spec.name, supervised);
      changed();
    },
    stop,
    stopAll: async () => {
      for (const name of [...running.keys()].reverse()) await stop(name);
    },
    get processes() {
      return [...running].map(([name, { process }]) => recordProcess(name, process.pid));
    },
  };
}
