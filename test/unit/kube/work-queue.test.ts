import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { createWorkQueue } from '#kube/queue/work-queue.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';

const logger = pino({ enabled: false });

test('hands a key that was added twice to one worker once', async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue<string>({ clock, logger });
  const stop = new AbortController();
  const seen: string[] = [];
  queue.add('a');
  queue.add('b');
  queue.add('a');
  const run = queue.run(async (key) => void seen.push(key), { concurrency: 1, signal: stop.signal });
  await settle();
  assert.deepEqual(seen, ['a', 'b']);
  stop.abort();
  await run;
});

test('runs a key again that was added while its worker ran, and never twice at a time', async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue<string>({ clock, logger });
  const stop = new AbortController();
  let running = 0;
  let runs = 0;
  const run = queue.run(
    async () => {
      running += 1;
      runs += 1;
      assert.equal(running, 1);
      if (runs === 1) queue.add('a');
      await clock.sleep(10);
      running -= 1;
    },
    { concurrency: 4, signal: stop.signal },
  );
  queue.add('a');
  await clock.advance(30);
  assert.equal(runs, 2);
  stop.abort();
  await run;
});

test('retries a failing key with growing delays and forgets them after success', async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue<string>({ clock, logger, baseDelayMs: 10, maxDelayMs: 1000 });
  const stop = new AbortController();
  const times: number[] = [];
  const run = queue.run(
    async () => {
      times.push(clock.monotonicMs());
      if (times.length < 4) throw new Error('not yet');
    },
    { concurrency: 1, signal: stop.signal },
  );
  queue.add('a');
  await clock.advance(100);
  assert.deepEqual(times, [0, 10, 30, 70]);
  assert.equal(queue.retries('a'), 0);
  stop.abort();
  await run;
});

test('adds a key again after the time its handler asked for', async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue<string>({ clock, logger });
  const stop = new AbortController();
  const times: number[] = [];
  const handler = async () => {
    times.push(clock.monotonicMs());
    return { requeueAfterMs: 50 };
  };
  const run = queue.run(handler, { concurrency: 1, signal: stop.signal });
  queue.add('a');
  await clock.advance(120);
  assert.deepEqual(times, [0, 50, 100]);
  stop.abort();
  await run;
});

test('the earlier of two delayed additions counts', async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue<string>({ clock, logger });
  const stop = new AbortController();
  const times: number[] = [];
  const run = queue.run(async () => void times.push(clock.monotonicMs()), { concurrency: 1, signal: stop.signal });
  queue.addAfter('a', 100);
  queue.addAfter('a', 20);
  queue.addAfter('a', 60);
  await clock.advance(200);
  assert.deepEqual(times, [20]);
  stop.abort();
  await run;
});

test('drains running work when stopped and starts nothing more', async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue<string>({ clock, logger });
  const stop = new AbortController();
  const finished: string[] = [];
  const run = queue.run(
    async (key) => {
      await clock.sleep(10);
      finished.push(key);
    },
    { concurrency: 1, signal: stop.signal },
  );
  queue.add('a');
  queue.add('b');
  await settle();
  stop.abort();
  await clock.advance(50);
  await run;
  assert.deepEqual(finished, ['a']);
});

test('leaves no timer behind when it has stopped', async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue<string>({ clock, logger });
  const stop = new AbortController();
  const handler = async () => {
    await clock.sleep(10);
    return { requeueAfterMs: 3_600_000 };
  };
  const run = queue.run(handler, { concurrency: 2, signal: stop.signal });
  queue.add('a');
  queue.addAfter('b', 3_600_000);
  await settle();
  stop.abort();
  await clock.advance(10);
  await run;
  assert.equal(clock.pending, 0);
});
