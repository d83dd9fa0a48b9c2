// `berth down`: takes the cluster of this machine down, also after the process that kept it was killed.
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { UsageError } from '#kube/process/flags.ts';
import { computeLayout } from '../up/layout.ts';
import { isAlive, readRunState } from '../up/run-state.ts';
import { purge, teardown } from './teardown.ts';

const stopTimeoutMs = 90_000;
const pollMs = 100;

export interface DownOptions {
  instance: string;
  /** Also removes the cluster's data, logs and configuration. */
  purge: boolean;
}

/** Runs `berth down`. Safe to run when nothing is up. */
export async function runDown(options: DownOptions): Promise<void> {
  if (process.getuid?.() !== 0) throw new UsageError('berth down needs root: run it with sudo');
  const hostName = hostname().trim().toLowerCase();
  let layout = computeLayout({ instance: options.instance, hostname: hostName, nodeCount: 1 });
  const state = await readRunState(layout.stateFile);
  if (state !== undefined) {
    layout = computeLayout({ instance: options.instance, hostname: state.hostname, nodeCount: state.nodeCount });
    if (isAlive(state.supervisor)) {
      process.stdout.write('stopping pods and processes\n');
      process.kill(state.supervisor.pid, 'SIGTERM');
      const deadlineMs = systemClock.monotonicMs() + stopTimeoutMs;
      while (isAlive(state.supervisor) && systemClock.monotonicMs() < deadlineMs) await systemClock.sleep(pollMs);
      if (isAlive(state.supervisor)) process.kill(state.supervisor.pid, 'SIGKILL');
    }
    // What the supervisor did itself is found done; after a crash this does it all.
    const logger = pino({ base: { component: 'down' }, level: 'warn' }, pino.destination({ dest: 2, sync: true }));
    const left = (await readRunState(layout.stateFile)) ?? { ...state, processes: [] };
    await teardown({ layout, state: left, exec: systemExec, clock: systemClock, logger });
  }
  const hadData = existsSync(layout.stateDir) || existsSync(layout.configDir);
  if (options.purge) await purge(layout);
  const data = options.purge
    ? hadData
      ? ', data removed'
      : ''
    : hadData
      ? `, data kept in ${layout.stateDir} (--purge removes it)`
      : '';
  process.stdout.write(`${state === undefined ? 'nothing was up' : 'berth is down'}${data}\n`);
}
