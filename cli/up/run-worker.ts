// Runs start-up or teardown in a process of its own and does for it what only the supervising process can.
import { type ChildProcess, fork } from 'node:child_process';
import type { UpOptions } from './options.ts';
import { applyReport, type Report } from './progress-message.ts';
import type { Supervisor } from './supervisor.ts';
import type { StartFacts, WorkerAnswer, WorkerMessage, WorkerRequest, WorkerTask } from './worker-messages.ts';

export interface WorkerHost {
  supervisor: Pick<Supervisor, 'start' | 'stop'>;
  report: Report;
  changed(facts: StartFacts): Promise<void>;
}

/** The part of a child process that is talked to. */
export type WorkerProcess = Pick<ChildProcess, 'on' | 'once' | 'send' | 'kill' | 'connected'>;

/** Starts a worker from the file this process was started from. */
export function forkWorker(task: WorkerTask, options: UpOptions): WorkerProcess {
  // In a group of its own: Ctrl-C is for the process that supervises, which decides what becomes of the worker.
  return fork(process.argv[1] ?? '', ['up-worker', task, JSON.stringify(options)], {
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

function failureOf({ message, stack }: { message: string; stack: string | undefined }): Error {
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}

async function serve(host: WorkerHost, request: WorkerRequest): Promise<void> {
  switch (request.type) {
    case 'start-process':
      return host.supervisor.start(request.spec);
    case 'stop-process':
      return host.supervisor.stop(request.name);
    case 'changed':
      return host.changed(request.facts);
    default:
      return request satisfies never;
  }
}

/** Serves a worker until it has ended. Throws what it failed with; after an abort, the signal's reason. */
export async function runWorker(worker: WorkerProcess, host: WorkerHost, signal?: AbortSignal): Promise<void> {
  const ended = Promise.withResolvers<string>();
  let finished = false;
  let failure: Error | undefined;
  worker.on('message', (message: WorkerMessage) => {
    if (message.type === 'report') applyReport(host.report, message.message);
    else if (message.type === 'finished') finished = true;
    else if (message.type === 'failed') failure = failureOf(message);
    else {
      const answer = (error?: unknown): void => {
        const text = error === undefined ? {} : { error: error instanceof Error ? error.message : String(error) };
        // The worker may have been stopped meanwhile.
        if (worker.connected) worker.send({ id: message.id, ...text } satisfies WorkerAnswer, () => undefined);
      };
      serve(host, message.request).then(() => answer(), answer);
    }
  });
  worker.once('error', (error) => ended.reject(error));
  worker.once('exit', (code, by) => ended.resolve(`${by ?? code}`));
  const abort = (): void => void worker.kill('SIGTERM');
  if (signal?.aborted === true) abort();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const end = await ended.promise;
    signal?.throwIfAborted();
    if (failure !== undefined) throw failure;
    if (!finished) throw new Error(`a worker of berth up ended with ${end}`);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
