import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { pino } from 'pino';
import { runLogRotation } from '../../../agent/container/log-rotation.ts';
import { computeNextLookMs } from '../../../agent/container/plan-log-rotation.ts';
import type { RuntimeService } from '../../../agent/cri/runtime-service.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { run, runtimeOf } from './fixtures.ts';

describe('computeNextLookMs', () => {
  const cases: [string, number, number, number, number][] = [
    ['waits for a period when nothing was written', 500, 0, 1000, 10_000],
    ['waits for a period when little was written', 500, 1, 1000, 10_000],
    ['looks again at half of the time that is left', 500, 100, 1000, 2500],
    ['looks five times a second at the most', 500, 500, 10, 200],
  ];
  for (const [name, sizeBytes, grownBytes, elapsedMs, expected] of cases) {
    it(name, () => assert.equal(computeNextLookMs({ sizeBytes, grownBytes, elapsedMs }, 1000, 10_000), expected));
  }
});

/** File work takes real time between the steps of the fake clock. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 30));

describe('log rotation', () => {
  async function withRotation(
    body: (rotation: {
      log: string;
      pass(ms: number): Promise<void>;
      /** Lets little time of the clock pass, and as much real time as it takes; at most `limitMs` of the clock. */
      until(holds: () => boolean, limitMs: number): Promise<void>;
      names(): string[];
    }) => Promise<void>,
  ): Promise<void> {
    const directory = mkdtempSync(join(tmpdir(), 'log-rotation-'));
    const log = join(directory, '0.log');
    writeFileSync(log, '');
    const clock = createFakeClock(Date.parse('2026-01-01T00:00:00Z'));
    const runtime = { reopenContainerLog: async () => writeFileSync(log, '') } as unknown as RuntimeService;
    const stop = new AbortController();
    const pods = () => [runtimeOf([run('c', { logPath: log })])];
    const options = {
      runtime,
      pods,
      clock,
      logger: pino({ level: 'silent' }),
      maxBytes: 100,
      maxFiles: 4,
      periodMs: 10_000,
    };
    const rotating = runLogRotation(options, stop.signal);
    await settled();
    try {
      await body({
        log,
        names: () => readdirSync(directory).sort(),
        async until(holds, limitMs) {
          for (let passed = 0; passed < limitMs; passed += 50) {
            for (let waited = 0; waited < 10 && !holds(); waited += 1) await settled();
            if (holds()) return;
            await clock.advance(50);
          }
          assert.ok(holds());
        },
        async pass(ms) {
          for (let left = ms; left > 0; left -= 250) {
            await clock.advance(Math.min(left, 250));
            await settled();
          }
        },
      });
    } finally {
      stop.abort();
      await clock.advance(1);
      await rotating;
      rmSync(directory, { recursive: true, force: true });
    }
  }

  it('puts a quiet log aside soon after it grew too large, long before the period is over', () =>
    withRotation(async ({ log, pass, until, names }) => {
      await pass(1000);
      writeFileSync(log, 'x'.repeat(150));
      await until(() => names().length === 2 && readFileSync(log, 'utf8') === '', 1000);
    }));

  it('compresses older ones and keeps as many files as it may', () =>
    withRotation(async ({ log, pass, until, names }) => {
      for (let round = 0; round < 6; round += 1) {
        appendFileSync(log, `${round}`.repeat(150));
        await until(() => readFileSync(log, 'utf8') === '', 5000);
        await pass(1250);
      }
      await until(() => names().length === 4 && names()[2]?.endsWith('.gz') === true, 1000);
      const rotated = names().slice(1);
      assert.equal(names().length, 4);
      assert.deepEqual(
        rotated.map((name) => name.endsWith('.gz')),
        [true, true, false],
      );
      const directory = join(log, '..');
      const [first = ''] = rotated;
      assert.equal(gunzipSync(readFileSync(join(directory, first))).toString(), '3'.repeat(150));
    }));

  it('never puts two logs aside under one name', () =>
    withRotation(async ({ log, until, names }) => {
      writeFileSync(log, 'a'.repeat(150));
      await until(() => names().length === 2, 450);
      writeFileSync(log, 'b'.repeat(150));
      await until(() => names().length === 3 && names()[1]?.endsWith('.gz') === true, 450);
      const [, one = '', two = ''] = names();
      assert.equal(gunzipSync(readFileSync(join(log, '..', one))).toString(), 'a'.repeat(150));
      assert.equal(readFileSync(join(log, '..', two), 'utf8'), 'b'.repeat(150));
      assert.equal(readFileSync(log, 'utf8'), '');
    }));
});
