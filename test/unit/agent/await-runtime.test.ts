import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { awaitRuntime } from '../../../agent/cri/await-runtime.ts';
import type { RuntimeService } from '../../../agent/cri/runtime-service.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

type Version = Awaited<ReturnType<RuntimeService['version']>>;
const version: Version = { version: '0.1.0', runtimeName: 'containerd', runtimeVersion: '1', runtimeApiVersion: 'v1' };

function start(answers: (Version | Error)[]) {
  const clock = createFakeClock();
  const warnings: string[] = [];
  const stop = new AbortController();
  let calls = 0;
  const runtime = {
    version: async () => {
      const answer = answers[Math.min(calls, answers.length - 1)];
      calls += 1;
      if (answer === undefined || answer instanceof Error) throw answer;
      return answer;
    },
  };
  const waiting = (error: Error) => void warnings.push(error.message);
  const outcome = awaitRuntime(runtime, { clock, limitMs: 10_000, waiting }, stop.signal).then(
    ({ runtimeName }) => runtimeName,
    (error: Error) => `failed: ${error.message}`,
  );
  return { clock, warnings, stop, outcome, calls: () => calls };
}

describe('awaitRuntime', () => {
  it('asks again until the runtime answers, and says once that it waits', async () => {
    const refused = new Error('refused');
    const { clock, warnings, outcome, calls } = start([refused, refused, version]);
    await clock.advance(1000);
    assert.equal(await outcome, 'containerd');
    assert.equal(calls(), 3);
    assert.deepEqual(warnings, ['refused']);
    assert.equal(clock.pending, 0);
  });

  it('gives up when the time is over', async () => {
    const { clock, outcome } = start([new Error('refused')]);
    await clock.advance(11_000);
    assert.equal(await outcome, 'failed: refused');
  });

  it('ends with its signal', async () => {
    const { clock, stop, outcome } = start([new Error('refused')]);
    await clock.advance(300);
    stop.abort(new Error('stopping'));
    assert.equal(await outcome, 'failed: stopping');
  });
});
