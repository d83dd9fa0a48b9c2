import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Exec } from '#kube/process/exec.ts';
import { createServiceNotifier, watchdogPeriodMs } from '#kube/process/service-notifier.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const logger = pino({ level: 'silent' });

function recorder() {
  const told: string[][] = [];
  const exec: Exec = async (file, args) => {
    assert.equal(file, 'systemd-notify');
    told.push([...args]);
    return { exitCode: 0, stdout: '', stderr: '' };
  };
  return { told, exec };
}

describe('service notifier', () => {
  it('tells nothing where no service manager listens', async () => {
    const { told, exec } = recorder();
    const notifier = createServiceNotifier({ env: {}, exec, clock: createFakeClock(), logger });
    const stop = new AbortController();
    const running = notifier.run({ ready: Promise.resolve(), problem: () => undefined }, stop.signal);
    stop.abort();
    await running;
    assert.deepEqual(told, []);
  });

  it('tells that the service is ready, feeds the watchdog at half its time, and tells the end', async () => {
    const { told, exec } = recorder();
    const clock = createFakeClock();
    const env = { NOTIFY_SOCKET: '/run/systemd/notify', WATCHDOG_USEC: '20000000' };
    const stop = new AbortController();
    const ready = Promise.withResolvers<void>();
    let problem: string | undefined;
    const running = createServiceNotifier({ env, exec, clock, logger }).run(
      { ready: ready.promise, problem: () => problem },
      stop.signal,
    );
    await new Promise(setImmediate);
    assert.deepEqual(told, [['WATCHDOG=1']]);
    ready.resolve();
    await new Promise(setImmediate);
    assert.deepEqual(told.at(-1), ['READY=1']);
    await clock.advance(10_000);
    assert.equal(told.filter(([state]) => state === 'WATCHDOG=1').length, 2);
    problem = 'the loop hangs';
    await clock.advance(30_000);
    assert.equal(told.filter(([state]) => state === 'WATCHDOG=1').length, 2);
    stop.abort();
    await running;
    assert.deepEqual(told.at(-1), ['STOPPING=1']);
  });

  it('goes on when systemd cannot be told', async () => {
    const exec: Exec = async () => {
      throw new Error('no such program');
    };
    const stop = new AbortController();
    const notifier = createServiceNotifier({ env: { NOTIFY_SOCKET: '@x' }, exec, clock: createFakeClock(), logger });
    const running = notifier.run({ ready: Promise.resolve(), problem: () => undefined }, stop.signal);
    await new Promise(setImmediate);
    stop.abort();
    await running;
  });

  it('has no period without a watchdog', () => {
    assert.equal(watchdogPeriodMs({}), undefined);
    assert.equal(watchdogPeriodMs({ WATCHDOG_USEC: '120000000' }), 60_000);
  });
});
