// What the agent reads of cgroups, from files as both versions of the kernel's interface have them.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { CgroupFs } from '../../../agent/cgroup/cgroup-fs.ts';
import { createCgroupManager } from '../../../agent/cgroup/cgroup-manager.ts';
import { createCgroupV1 } from '../../../agent/cgroup/cgroup-v1.ts';
import { createCgroupV2, sharesToWeight, weightToShares } from '../../../agent/cgroup/cgroup-v2.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { container, podOf } from './fixtures.ts';

type Files = Record<string, string>;

function directoryWith(t: { after(run: () => void): void }, files: Files): string {
  const root = mkdtempSync(join(tmpdir(), 'cgroup-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

const v1 = (quota: string, memory: string): Files => ({
  'cpu,cpuacct/cgroup.procs': '',
  'memory/cgroup.procs': '',
  'cpu,cpuacct/pod/cpu.shares': '204\n',
  'cpu,cpuacct/pod/cpu.cfs_quota_us': quota,
  'memory/pod/memory.limit_in_bytes': memory,
  'memory/pod/memory.usage_in_bytes': '4096\n',
});

const v2 = (max: string, memory: string): Files => ({
  'pod/cpu.max': max,
  'pod/cpu.weight': '8\n',
  'pod/memory.max': memory,
  'pod/memory.current': '4096\n',
});

describe('the state of a cgroup', () => {
  it('is read in version 1', async (t) => {
    const limited = createCgroupV1(directoryWith(t, v1('20000\n', '1048576\n')), createFakeClock());
    const expected = { cpuShares: 204, cpuQuotaUs: 20_000, memoryBytes: 1_048_576, memoryUsageBytes: 4096 };
    assert.deepEqual(await limited.read('/pod'), expected);
    const free = createCgroupV1(directoryWith(t, v1('-1\n', '9223372036854771712\n')), createFakeClock());
    const { cpuQuotaUs, memoryBytes } = await free.read('/pod');
    assert.deepEqual([cpuQuotaUs, memoryBytes], [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  });

  it('is read in version 2', async (t) => {
    const limited = createCgroupV2(directoryWith(t, v2('20000 100000\n', '1048576\n')), createFakeClock());
    const expected = {
      cpuShares: weightToShares(8),
      cpuQuotaUs: 20_000,
      memoryBytes: 1_048_576,
      memoryUsageBytes: 4096,
    };
    assert.deepEqual(await limited.read('/pod'), expected);
    const free = createCgroupV2(directoryWith(t, v2('max 100000\n', 'max\n')), createFakeClock());
    const { cpuQuotaUs, memoryBytes } = await free.read('/pod');
    assert.deepEqual([cpuQuotaUs, memoryBytes], [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
    await assert.rejects(free.read('/none'), /no cgroup \/none/);
  });

  it('has weights that lead back to the shares they were made of', () => {
    for (const shares of [2, 102, 1024, 262_144]) {
      assert.equal(sharesToWeight(weightToShares(sharesToWeight(shares))), sharesToWeight(shares));
    }
  });

  it('sets no quota for pods whose processors are their own', async () => {
    const set: [string, unknown][] = [];
    const fs = {
      version: 1,
      ensure: async (path: string, limits: { cpuQuotaUs?: number }) => void set.push([path, limits.cpuQuotaUs]),
    } as unknown as CgroupFs;
    const limits = { cpuCfsQuota: true, cpuCfsQuotaPeriodMs: 100, podPidsLimit: -1 };
    const manager = createCgroupManager({
      ...{ fs, driver: 'cgroupfs', root: '/', perQos: true, limits, enforceAllocatable: true },
      withoutQuota: ({ metadata }) => metadata.uid === 'own',
    });
    const amounts = { limits: { cpu: '1', memory: '1Mi' }, requests: { cpu: '1', memory: '1Mi' } };
    for (const uid of ['own', 'shared']) {
      await manager.ensurePod(podOf({ containers: [container('c', { resources: amounts })] }, { uid }));
    }
    assert.deepEqual(set, [
      ['/kubepods/podown', -1],
      ['/kubepods/podshared', 100_000],
    ]);
  });

  it('tells how much memory a container uses, wherever the runtime put its group', async () => {
    const usage: Record<string, number> = { abc123: 10, 'cri-containerd-def456.scope': 20 };
    const fs = {
      version: 1,
      children: async () => Object.keys(usage),
      read: async (path: string) => ({ memoryUsageBytes: usage[path.slice(path.lastIndexOf('/') + 1)] }),
    } as unknown as CgroupFs;
    const limits = { cpuCfsQuota: true, cpuCfsQuotaPeriodMs: 100, podPidsLimit: -1 };
    const manager = createCgroupManager({
      fs,
      driver: 'cgroupfs',
      root: '/',
      perQos: true,
      limits,
      enforceAllocatable: true,
    });
    const pod = podOf({ containers: [container('c')] });
    assert.equal(await manager.containerMemory(pod, 'abc123'), 10);
    assert.equal(await manager.containerMemory(pod, 'def456'), 20);
    assert.equal(await manager.containerMemory(pod, 'none'), undefined);
  });
});
