// The process in which start-up or teardown runs. It asks the supervising process to start and stop what stays.
import { resolve } from 'node:path';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { layoutFor, type UpOptions } from './options.ts';
import { forwardReport } from './progress-message.ts';
import { readRunState } from './run-state.ts';
import { openUpLog } from './up-log.ts';
import type { WorkerAnswer, WorkerMessage, WorkerRequest } from './worker-messages.ts';

/** Asks and waits for the answers, by number. */
function createAsker(send: (message: WorkerMessage) => void) {
  const waiting = new Map<number, PromiseWithResolvers<void>>();
  let last = 0;
  return {
    ask: async (request: WorkerRequest): Promise<void> => {
      last += 1;
      const answered = Promise.withResolvers<void>();
      waiting.set(last, answered);
      send({ type: 'request', id: last, request });
      await answered.promise;
    },
    answer: ({ id, error }: WorkerAnswer): void => {
      const answered = waiting.get(id);
      waiting.delete(id);
      if (error === undefined) answered?.resolve();
      else answered?.reject(new Error(error));
    },
  };
}

type Ask = ReturnType<typeof createAsker>['ask'];

async function start(options: UpOptions, send: (message: WorkerMessage) => void, ask: Ask, signal: AbortSignal) {
  const { startCluster } = await import('./start-cluster.ts');
  await startCluster({
    layout: layoutFor(options),
    supervisor: { start: async (spec) => ask({ type: 'start-process', spec }) },
    exec: systemExec,
    clock: systemClock,
    env: process.env,
    uid: process.getuid?.() ?? -1,
    apiPort: options.apiPort,
    store: options.store,
    loadBalancerPool: options.loadBalancerPool,
    schedulerConfig: options.schedulerConfig === undefined ? undefined : resolve(options.schedulerConfig),
    report: forwardReport((message) => send({ type: 'report', message })),
    signal,
    changed: async (facts) => ask({ type: 'changed', facts }),
  });
}

async function takeDown(options: UpOptions, ask: Ask): Promise<void> {
  const { teardown } = await import('../down/teardown.ts');
  const layout = layoutFor(options);
  const state = await readRunState(layout.stateFile);
  if (state === undefined) throw new Error(`${layout.stateFile} is missing`);
  await teardown({
    layout,
    state,
    supervisor: { processes: state.processes, stop: async (name) => ask({ type: 'stop-process', name }) },
    exec: systemExec,
    clock: systemClock,
    logger: openUpLog(layout),
  });
}

/** Runs the task named by the first argument with the options in the second. */
export async function main([task, text = '{}']: readonly string[], signal: AbortSignal): Promise<void> {
  const options = JSON.parse(text) as UpOptions;
  const send = (message: WorkerMessage): void => void process.send?.(message);
  const { ask, answer } = createAsker(send);
  process.on('message', (message: WorkerAnswer) => answer(message));
  // Nothing can go on without the supervising process; `berth down` clears up after both.
  const orphaned = (): never => process.exit(1);
  process.once('disconnect', orphaned);
  try {
    if (task === 'start') await start(options, send, ask, signal);
    else await takeDown(options, ask);
    send({ type: 'finished' });
  } catch (error) {
    const failure = error instanceof Error ? error : new Error(String(error));
    send({ type: 'failed', message: failure.message, stack: failure.stack });
  }
  process.removeListener('disconnect', orphaned);
  process.disconnect();
}
