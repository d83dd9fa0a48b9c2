import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Exec } from '#kube/process/exec.ts';
import { runGracefulShutdown } from '../../../agent/shutdown/graceful-shutdown.ts';
import { createLogind, type Logind, numberIn } from '../../../agent/shutdown/logind.ts';
import { planShutdown, shutdownGraceSeconds, shutdownPeriods } from '../../../agent/shutdown/plan-shutdown.ts';
import type { EndReason } from '../../../agent/sync/pod-work.ts';
import type { Bus } from '../../../agent/systemd/bus.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';

const logger = pino({ level: 'silent' });

function pod(name: string, priority?: number, graceSeconds = 30): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, uid: name },
    spec: {
      containers: [],
      terminationGracePeriodSeconds: graceSeconds,
      ...(priority === undefined ? {} : { priority }),
    },
  };
}

describe('the plan of a shutdown', () => {
  it('gives critical pods the last part of the whole time', () => {
    const periods = shutdownPeriods(30_000, 10_000, []);
    assert.deepEqual(periods, [
      { priority: 0, graceMs: 20_000 },
      { priority: 2_000_000_000, graceMs: 10_000 },
    ]);
    const groups = planShutdown([pod('critical', 2_000_001_000), pod('plain'), pod('low', -5)], periods);
    assert.deepEqual(
      groups.map(({ pods }) => pods.map(({ metadata }) => metadata.name)),
      [['plain', 'low'], ['critical']],
    );
  });

  it('has no periods where nothing is configured', () => {
    assert.deepEqual(shutdownPeriods(0, 0, []), []);
  });

  it('sorts periods by priority and leaves out groups without pods', () => {
    const byPriority = [100_000, 0, 1000].map((priority, index) => ({
      priority,
      shutdownGracePeriodSeconds: 10 * (index + 1),
    }));
    const periods = shutdownPeriods(0, 0, byPriority);
    assert.deepEqual(
      periods.map(({ priority }) => priority),
      [0, 1000, 100_000],
    );
    const groups = planShutdown([pod('high', 100_000), pod('zero', 0), pod('between', 999)], periods);
    assert.deepEqual(
      groups.map(({ priority, pods }) => [priority, pods.map(({ metadata }) => metadata.name)]),
      [
        [0, ['zero', 'between']],
        [100_000, ['high']],
      ],
    );
  });

  it("never gives a pod more than its own time or its group's", () => {
    assert.equal(shutdownGraceSeconds(pod('a', 0, 5), { priority: 0, graceMs: 20_000 }), 5);
    assert.equal(shutdownGraceSeconds(pod('a', 0, 60), { priority: 0, graceMs: 20_000 }), 20);
  });
});

function harness(pods: Pod[], periods = shutdownPeriods(30_000, 10_000, [])) {
  const clock = createFakeClock();
  const ended: [string, EndReason][] = [];
  const state = { isActive: false };
  const lock = { held: 0, taken: 0 };
  let listener: (isStarting: boolean) => void = () => undefined;
  let delayMs = 5000;
  const delays: number[] = [];
  const logind: Logind = {
    maxDelayMs: async () => delayMs,
    setMaxDelay: async (ms) => {
      delays.push(ms);
      delayMs = ms;
    },
    holdLock: (signal) => {
      lock.held += 1;
      lock.taken += 1;
      return new Promise((resolve) =>
        signal.addEventListener(
          'abort',
          () => {
            lock.held -= 1;
            resolve();
          },
          { once: true },
        ),
      );
    },
    watchShutdown: async (given) => {
      listener = given;
      return () => undefined;
    },
  };
  const stop = new AbortController();
  const alive = new Map(pods.map((item) => [item.metadata.uid ?? '', item]));
  const events: string[] = [];
  const running = runGracefulShutdown(
    {
      periods,
      state,
      logind,
      pods: () => [...alive.values()],
      end: (uid, reason) => ended.push([uid, reason]),
      changed: () => undefined,
      flush: async () => undefined,
      metrics: { started: () => events.push('started'), ended: () => events.push('ended') },
      record: (_, reason) => events.push(reason),
      clock,
      logger,
    },
    stop.signal,
  );
  return { clock, ended, state, lock, delays, alive, events, stop, running, tell: (value: boolean) => listener(value) };
}

describe('graceful node shutdown', () => {
  it('ends ordinary pods, then critical ones, and lets go of the lock after them', async () => {
    const { clock, ended, state, lock, delays, alive, events, stop, running, tell } = harness([
      pod('plain', 0, 60),
      pod('critical', 2_000_000_000, 60),
    ]);
    await settle();
    assert.deepEqual(delays, [30_000]);
    assert.equal(lock.held, 1);
    tell(true);
    await settle();
    assert.equal(state.isActive, true);
    assert.deepEqual(events, ['NodeShutdown', 'started']);
    const message = 'Pod was terminated in response to imminent node shutdown.';
    const reason = { phase: 'Failed', reason: 'Terminated', message, disruption: message };
    assert.deepEqual(ended, [['plain', { ...reason, graceSeconds: 20 }]]);
    alive.delete('plain');
    await clock.advance(200);
    assert.deepEqual(ended[1], ['critical', { ...reason, graceSeconds: 10 }]);
    assert.equal(lock.held, 1);
    alive.delete('critical');
    await clock.advance(200);
    assert.equal(lock.held, 0);
    assert.equal(events.at(-1), 'ended');
    assert.equal(state.isActive, true);
    stop.abort();
    await running;
  });

  it('goes on to the next group when the time of one is over', async () => {
    const { clock, ended, lock, stop, running, tell } = harness([pod('slow', 0), pod('critical', 2_000_000_000)]);
    await settle();
    tell(true);
    await clock.advance(20_100);
    assert.deepEqual(
      ended.map(([uid]) => uid),
      ['slow', 'critical'],
    );
    await clock.advance(10_100);
    assert.equal(lock.held, 0);
    stop.abort();
    await running;
  });

  it('takes pods again, and a new lock, when the end is called off', async () => {
    const { clock, state, lock, stop, running, tell } = harness([pod('a')]);
    await settle();
    tell(true);
    await settle();
    tell(false);
    await clock.advance(200);
    assert.equal(state.isActive, false);
    assert.deepEqual(lock, { held: 1, taken: 2 });
    stop.abort();
    await running;
    assert.equal(lock.held, 0);
  });

  it('asks nothing of a machine without grace periods', async () => {
    const { lock, delays, stop, running } = harness([pod('a')], []);
    await settle();
    assert.deepEqual([lock.taken, delays], [0, []]);
    stop.abort();
    await running;
  });
});

describe('the login manager', () => {
  it('is told the longest delay in a file, and to read it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'berth-logind-'));
    try {
      const calls: string[] = [];
      const bus: Bus = {
        call: async ({ member, body }) => {
          calls.push(`${member} ${JSON.stringify(body)}`);
          return [[[{ type: 't', child: [] }], [5_000_000n]]];
        },
        watch: async () => () => undefined,
        close: async () => undefined,
      };
      const exec: Exec = async () => ({ exitCode: 0, stdout: '', stderr: '' });
      const file = join(directory, 'logind.conf.d/99-kubelet.conf');
      const logind = createLogind(bus, exec, 1, file);
      assert.equal(await logind.maxDelayMs(), 5000);
      await logind.setMaxDelay(30_000);
      assert.match(readFileSync(file, 'utf8'), /\[Login\]\nInhibitDelayMaxSec=30\n/);
      assert.equal(calls[1], 'KillUnit ["systemd-logind.service","all",1]');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('finds the number in what the bus answers', () => {
    assert.equal(numberIn([[[{ type: 't' }], [7n]]]), 7);
    assert.equal(numberIn([{ signature: 't', value: 8 }]), 8);
    assert.equal(numberIn(['5000000']), 5_000_000);
    assert.equal(numberIn([[]]), undefined);
  });
});
