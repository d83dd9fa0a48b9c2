// What pods that are no more have left behind.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { type HousekeepingOptions, runHousekeeping } from '../../../agent/sync/housekeeping.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

describe('housekeeping', () => {
  it('removes directories, cgroups, logs and links of pods that are no more, and counts', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'housekeeping-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const [logs, links] = [join(directory, 'pods'), join(directory, 'containers')];
    for (const name of ['n_known_uid-1', 'n_gone_uid-2']) mkdirSync(join(logs, name), { recursive: true });
    mkdirSync(links);
    writeFileSync(join(logs, 'n_known_uid-1', '0.log'), '');
    symlinkSync(join(logs, 'n_known_uid-1', '0.log'), join(links, 'alive.log'));
    symlinkSync(join(logs, 'nowhere.log'), join(links, 'dead.log'));
    const removed: string[] = [];
    const found: object[] = [];
    const clock = createFakeClock(0);
    const stop = new AbortController();
    const options = {
      ready: Promise.resolve(),
      volumes: {
        listPods: async () => ['uid-1', 'uid-2', 'uid-3'],
        async removeDirectory(uid: string) {
          if (uid === 'uid-3') throw new Error('busy');
          removed.push(`directory ${uid}`);
        },
      },
      cgroups: {
        listPods: async () => ['uid-1', 'uid-2'],
        removePod: async (uid: string) => void removed.push(`cgroup ${uid}`),
        updateClasses: async () => undefined,
      },
      cache: { get: () => undefined },
      workers: { get: (uid: string) => (uid === 'uid-1' ? {} : undefined), active: () => [] },
      ...{ clock, logger: pino({ level: 'silent' }), podLogsDir: logs, legacyLogsDir: links },
      podCidr: () => '10.0.0.0/24',
      setPodCidr: async (cidr: string) => void removed.push(`addresses ${cidr}`),
      observeOrphans: (round: object) => void found.push(round),
    } as unknown as HousekeepingOptions;
    const running = runHousekeeping(options, stop.signal);
    for (let tries = 0; found.length < 2 && tries < 2000; tries += 1) {
      await clock.advance(10_000);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    stop.abort();
    await running;
    assert.deepEqual(removed.slice(0, 3), ['directory uid-2', 'cgroup uid-2', 'addresses 10.0.0.0/24']);
    assert.deepEqual(found[0], { removed: 1, failed: 1 });
    assert.equal(removed.filter((line) => line.startsWith('addresses')).length, 1, 'told once');
    assert.deepEqual([readdirSync(logs), readdirSync(links)], [['n_known_uid-1'], ['alive.log']]);
  });
});
