// Starts a cluster, keeps its processes running until told to stop, then takes it down. This is what stays in memory
// for as long as the cluster is up: start-up and teardown themselves run in workers.
import { systemClock } from '#kube/process/clock.ts';
import { stopLeftovers } from '../down/stop-recorded.ts';
import { layoutFor, type UpOptions } from './options.ts';
import type { Report } from './progress-message.ts';
import { type RunState, readRunState, recordProcess, writeRunState } from './run-state.ts';
import { forkWorker, runWorker, type WorkerHost } from './run-worker.ts';
import { createSupervisor } from './supervisor.ts';
import { openUpLog } from './up-log.ts';

/** Runs until the signal is aborted; `ready` is called once the cluster is. Throws when it cannot be brought up. */
export async function supervise(
  options: UpOptions,
  report: Report,
  ready: () => void,
  signal: AbortSignal,
): Promise<void> {
  const layout = layoutFor(options);
  const logger = openUpLog(layout);
  const previous = await readRunState(layout.stateFile);
  if (previous !== undefined) await stopLeftovers(previous, systemClock);
  const state: RunState = {
    supervisor: recordProcess('up', process.pid),
    processes: [],
    hostname: layout.nodes[0]?.name ?? '',
    nodeCount: options.nodes,
    nodeIP: previous?.nodeIP ?? '',
    ready: false,
    sysctls: previous?.sysctls ?? {},
  };
  let writing = Promise.resolve();
  const save = (): Promise<void> => {
    writing = writing.then(() => writeRunState(layout.stateFile, state));
    return writing;
  };
  let takingDown = false;
  const supervisor = createSupervisor(systemClock, logger, () => {
    state.processes = supervisor.processes;
    // The record goes with the other run-time files.
    if (!takingDown) save().catch((error: unknown) => logger.error({ err: error }, 'cannot record the state'));
  });
  const host: WorkerHost = {
    supervisor,
    report,
    changed: async ({ nodeIP, sysctls }) => {
      if (nodeIP !== undefined) state.nodeIP = nodeIP;
      // What was there before the first run counts, not what that run set.
      if (sysctls !== undefined) state.sysctls = { ...sysctls, ...state.sysctls };
      await save();
    },
  };
  const takeDown = async (): Promise<void> => {
    await save();
    takingDown = true;
    try {
      await runWorker(forkWorker('teardown', options), host);
    } finally {
      await supervisor.stopAll();
    }
  };
  await save();
  try {
    await runWorker(forkWorker('start', options), host, signal);
    state.ready = true;
    await save();
    ready();
    const stopped = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => stopped.resolve(), { once: true });
    if (!signal.aborted) await stopped.promise;
  } catch (error) {
    logger.error({ err: error }, 'cannot bring the cluster up');
    // What went wrong first is what the user has to know; the log has the rest.
    await takeDown().catch((failure: unknown) => logger.error({ err: failure }, 'cannot take everything down'));
    throw error;
  }
  await takeDown();
}
