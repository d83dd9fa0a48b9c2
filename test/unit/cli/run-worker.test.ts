import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { runWorker, type WorkerProcess } from '../../../cli/up/run-worker.ts';
import type { ProcessSpec } from '../../../cli/up/supervisor.ts';
import type { WorkerAnswer, WorkerMessage } from '../../../cli/up/worker-messages.ts';

const spec: ProcessSpec = { name: 'agent vm', file: 'berth', args: ['agent'], logPath: '/dev/null', stopGraceMs: 1 };

/** A worker that is played by the test. */
class PlayedWorker extends EventEmitter {
  connected = true;
  answers: WorkerAnswer[] = [];
  signals: string[] = [];
  send(answer: WorkerAnswer): boolean {
    this.answers.push(answer);
    return true;
  }
  kill(signal: string): boolean {
    this.signals.push(signal);
    this.emit('exit', null, signal);
    return true;
  }
  say(message: WorkerMessage): void {
    this.emit('message', message);
  }
}

function play(options: { failStart?: boolean; signal?: AbortSignal } = {}) {
  const worker = new PlayedWorker();
  const done: string[] = [];
  const host = {
    supervisor: {
      start: async ({ name }: ProcessSpec) => {
        if (options.failStart === true) throw new Error('no such file');
        done.push(`start ${name}`);
      },
      stop: async (name: string) => void done.push(`stop ${name}`),
    },
    report: {
      start: (step: string) => void done.push(`began ${step}`),
      detail: (step: string, text: string) => void done.push(`${step}: ${text}`),
      done: (step: string) => void done.push(`did ${step}`),
    },
    changed: async ({ nodeIP }: { nodeIP?: string }) => void done.push(`address ${nodeIP}`),
  };
  return { worker, done, running: runWorker(worker as unknown as WorkerProcess, host, options.signal) };
}

describe('runWorker', () => {
  it('does what the worker asks for, passes its reports on and answers every request', async () => {
    const { worker, done, running } = play();
    worker.say({ type: 'report', message: { type: 'start', step: 'nodes' } });
    worker.say({ type: 'request', id: 1, request: { type: 'start-process', spec } });
    worker.say({ type: 'request', id: 2, request: { type: 'changed', facts: { nodeIP: '10.0.0.1' } } });
    worker.say({ type: 'request', id: 3, request: { type: 'stop-process', name: 'agent vm' } });
    worker.say({ type: 'report', message: { type: 'done', step: 'nodes' } });
    await new Promise(setImmediate);
    worker.say({ type: 'finished' });
    worker.emit('exit', 0, null);
    await running;
    assert.deepEqual(done.sort(), ['address 10.0.0.1', 'began nodes', 'did nodes', 'start agent vm', 'stop agent vm']);
    assert.deepEqual(worker.answers, [{ id: 1 }, { id: 2 }, { id: 3 }]);
  });

  it('answers a request that failed with what went wrong', async () => {
    const { worker, running } = play({ failStart: true });
    worker.say({ type: 'request', id: 7, request: { type: 'start-process', spec } });
    await new Promise(setImmediate);
    worker.say({ type: 'finished' });
    worker.emit('exit', 0, null);
    await running;
    assert.deepEqual(worker.answers, [{ id: 7, error: 'no such file' }]);
  });

  it('fails with the words of the worker', async () => {
    const { worker, running } = play();
    worker.say({ type: 'failed', message: 'port 6443 is in use', stack: undefined });
    worker.emit('exit', 0, null);
    await assert.rejects(running, { message: 'port 6443 is in use' });
  });

  it('fails when the worker ends before it is done', async () => {
    const { worker, running } = play();
    worker.emit('exit', null, 'SIGKILL');
    await assert.rejects(running, { message: 'a worker of berth up ended with SIGKILL' });
  });

  it('stops the worker when told to stop, and fails with the reason', async () => {
    const stop = new AbortController();
    const { worker, running } = play({ signal: stop.signal });
    stop.abort(new Error('received SIGTERM'));
    await assert.rejects(running, { message: 'received SIGTERM' });
    assert.deepEqual(worker.signals, ['SIGTERM']);
  });
});
