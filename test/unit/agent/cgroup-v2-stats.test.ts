import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { createCgroupV2StatsReader } from '../../../agent/stats/cgroup-v2-stats.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const mib = 1024 * 1024;

describe('statistics of version 2 cgroups', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'cgroup2-'));
    mkdirSync(join(root, 'kubepods'));
    writeFileSync(
      join(root, 'meminfo'),
      'MemTotal:        1024 kB\nMemFree:          256 kB\nSwapTotal:       128 kB\nSwapFree:         28 kB\n',
    );
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const put = (path: string, text: string) => writeFileSync(join(root, path), text);
  const read = (path: string) =>
    createCgroupV2StatsReader(root, createFakeClock(), join(root, 'meminfo')).read(path)?.memory;

  it('know what the machine uses although the root group has no memory.current', () => {
    put('memory.stat', `anon ${300 * mib}\nfile ${100 * mib}\ninactive_file ${80 * mib}\n`);
    const memory = read('/');
    assert.deepEqual([memory?.usage, memory?.workingSet], [400 * mib, 320 * mib]);
    assert.equal(memory?.swap, 100 * 1024);
  });

  it("take the machine's own count where the root group has no memory.stat either", () => {
    assert.equal(read('/')?.usage, 768 * 1024);
  });

  it('take what the kernel says of every other group', () => {
    put('kubepods/memory.current', `${50 * mib}\n`);
    put('kubepods/memory.swap.current', '4096\n');
    put('kubepods/memory.stat', `anon ${10 * mib}\nfile ${30 * mib}\ninactive_file ${20 * mib}\n`);
    const memory = read('/kubepods');
    assert.deepEqual([memory?.usage, memory?.workingSet, memory?.swap], [50 * mib, 30 * mib, 4096]);
  });

  it('are zero for a group that ends while it is read', () => {
    assert.equal(read('/kubepods')?.usage, 0);
  });
});
