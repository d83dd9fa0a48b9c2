// One suite for both versions of cgroups. Version 2 is tested where it is mounted, if only beside version 1: limits
// need its controllers, which it may then not have.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { systemClock } from '#kube/process/clock.ts';
import type { CgroupFs } from '../../../agent/cgroup/cgroup-fs.ts';
import { createCgroupV1 } from '../../../agent/cgroup/cgroup-v1.ts';
import { createCgroupV2 } from '../../../agent/cgroup/cgroup-v2.ts';
import type { CgroupStatsReader } from '../../../agent/stats/cgroup-stats.ts';
import { createCgroupV1StatsReader } from '../../../agent/stats/cgroup-v1-stats.ts';
import { createCgroupV2StatsReader } from '../../../agent/stats/cgroup-v2-stats.ts';

const mount = '/sys/fs/cgroup';
const unified = [mount, join(mount, 'unified')].find((path) => existsSync(join(path, 'cgroup.controllers')));

interface Version {
  name: string;
  missing: string | undefined;
  /** A directory with the cgroup's own files. */
  directory: string;
  fs: () => CgroupFs;
  reader: () => CgroupStatsReader;
  memoryFile: string;
}

const notRoot = process.getuid?.() === 0 ? undefined : 'needs root to make cgroups';
const hasV1 = existsSync(join(mount, 'memory/cgroup.procs'));
const versions: Version[] = [
  {
    name: 'version 1',
    missing: notRoot ?? (hasV1 ? undefined : 'version 1 is not mounted'),
    directory: join(mount, 'memory'),
    fs: () => createCgroupV1(mount, systemClock),
    reader: () => createCgroupV1StatsReader(mount, systemClock),
    memoryFile: 'memory.limit_in_bytes',
  },
  {
    name: 'version 2',
    missing: notRoot ?? (unified === undefined ? 'version 2 is not mounted' : undefined),
    directory: unified ?? '',
    fs: () => createCgroupV2(unified ?? '', systemClock),
    reader: () => createCgroupV2StatsReader(unified ?? '', systemClock),
    memoryFile: 'memory.max',
  },
];

for (const version of versions) {
  describe(`cgroups ${version.name}`, { skip: version.missing ?? false }, () => {
    const root = `/agent-test-${randomBytes(4).toString('hex')}`;
    const path = (name: string) => join(version.directory, root, name);
    after(() => version.fs().remove(root));

    it('creates a group with its parents, and finds it', async () => {
      const fs = version.fs();
      assert.equal(await fs.exists(`${root}/a/b`), false);
      await fs.ensure(`${root}/a/b`, {});
      await fs.ensure(`${root}/a/c`, {});
      assert.equal(await fs.exists(`${root}/a/b`), true);
      assert.deepEqual((await fs.children(`${root}/a`)).sort(), ['b', 'c']);
      assert.deepEqual(await fs.children(`${root}/absent`), []);
    });

    it('is not disturbed by a group that exists', async () => {
      await version.fs().ensure(`${root}/a/b`, {});
      assert.equal(await version.fs().exists(`${root}/a/b`), true);
    });

    it('sets the limit of memory', async (test) => {
      await version.fs().ensure(`${root}/limited`, { memoryBytes: 64 * 1024 * 1024, cpuShares: 512 });
      if (!existsSync(path(`limited/${version.memoryFile}`))) {
        test.skip('this hierarchy does not have the memory controller');
        return;
      }
      assert.equal(readFileSync(path(`limited/${version.memoryFile}`), 'utf8').trim(), `${64 * 1024 * 1024}`);
      assert.equal(version.reader().read(`${root}/limited`)?.spec.memoryLimit, 64 * 1024 * 1024);
    });

    it('reads back what it has set, and changes one limit without the others', async (test) => {
      const fs = version.fs();
      const memoryBytes = 64 * 1024 * 1024;
      await fs.ensure(`${root}/read`, { memoryBytes, cpuShares: 512, cpuPeriodUs: 100_000, cpuQuotaUs: 20_000 });
      if (!existsSync(path(`read/${version.memoryFile}`))) {
        test.skip('this hierarchy does not have the memory controller');
        return;
      }
      const before = await fs.read(`${root}/read`);
      assert.deepEqual([before.memoryBytes, before.cpuQuotaUs], [memoryBytes, 20_000]);
      await fs.ensure(`${root}/read`, { memoryBytes: 2 * memoryBytes });
      const after = await fs.read(`${root}/read`);
      assert.deepEqual(
        { ...after, memoryUsageBytes: 0 },
        { ...before, memoryBytes: 2 * memoryBytes, memoryUsageBytes: 0 },
      );
      await fs.ensure(`${root}/open`, {});
      assert.equal((await fs.read(`${root}/open`)).memoryBytes, Number.POSITIVE_INFINITY);
    });

    it('counts the processes of a group', async () => {
      await version.fs().ensure(`${root}/counted`, {});
      const child = spawn('sleep', ['1000']);
      const exited = once(child, 'exit');
      try {
        writeFileSync(path('counted/cgroup.procs'), `${child.pid}`);
        assert.deepEqual(version.reader().read(`${root}/counted`)?.processes, [child.pid]);
        assert.equal(version.reader().read(`${root}/absent`), undefined);
      } finally {
        child.kill('SIGKILL');
        await exited;
      }
    });

    it('removes a group with all below it, and kills what still runs there', async () => {
      const fs = version.fs();
      await fs.ensure(`${root}/busy/inner`, {});
      const child = spawn('sleep', ['1000']);
      const exited = once(child, 'exit');
      try {
        writeFileSync(path('busy/inner/cgroup.procs'), `${child.pid}`);
        await fs.remove(`${root}/busy`);
      } finally {
        child.kill('SIGTERM');
      }
      assert.equal((await exited)[1], 'SIGKILL');
      assert.equal(await fs.exists(`${root}/busy`), false);
      await fs.remove(`${root}/busy`);
    });
  });
}
