// The version 1 hierarchies: one directory per controller, created in all of them.
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';
import type { CgroupFs, CgroupLimits } from './cgroup-fs.ts';
import { killProcess, removeCgroupTree } from './remove-tree.ts';

/** The kernel shows no limit as the highest number of bytes that is a multiple of its page size. */
const unlimitedBytes = 2 ** 62;

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Largest limit first, where memory and its limit with swap have to stay in order. */
async function writeMemoryLimit(directory: string, bytes: number): Promise<void> {
  await writeFile(join(directory, 'memory.limit_in_bytes'), `${bytes}`);
}

async function setLimits(controller: string, directory: string, limits: CgroupLimits): Promise<void> {
  const { cpuShares, cpuPeriodUs, cpuQuotaUs, memoryBytes, pids, hugepages = {} } = limits;
  const parts = controller.split(',');
  if (parts.includes('cpu')) {
    if (cpuShares !== undefined) await writeFile(join(directory, 'cpu.shares'), `${cpuShares}`);
    if (cpuPeriodUs !== undefined) await writeFile(join(directory, 'cpu.cfs_period_us'), `${cpuPeriodUs}`);
    if (cpuQuotaUs !== undefined) await writeFile(join(directory, 'cpu.cfs_quota_us'), `${cpuQuotaUs}`);
  }
  if (parts.includes('memory') && memoryBytes !== undefined) await writeMemoryLimit(directory, memoryBytes);
  if (parts.includes('pids') && pids !== undefined) {
    await writeFile(join(directory, 'pids.max'), pids < 0 ? 'max' : `${pids}`);
  }
  if (parts.includes('hugetlb')) {
    for (const [size, bytes] of Object.entries(hugepages)) {
      const file = join(directory, `hugetlb.${size}.limit_in_bytes`);
      // A size the kernel does not have cannot be used either.
      if (await exists(file)) await writeFile(file, `${bytes}`);
    }
  }
}

/** A cpuset without processors and memory nodes accepts no process: inherit the parent's. */
async function inheritCpuset(root: string, name: string): Promise<void> {
  let directory = root;
  for (const part of name.split('/').filter((item) => item !== '')) {
    const parent = directory;
    directory = join(directory, part);
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if ((await readFile(join(directory, file), 'utf8')).trim() !== '') continue;
      await writeFile(join(directory, file), await readFile(join(parent, file), 'utf8'));
    }
  }
}

/** The hierarchies mounted below `root`, usually /sys/fs/cgroup. */
export function createCgroupV1(root: string, clock: Clock): CgroupFs {
  let found: Promise<string[]> | undefined;
  const controllers = () => {
    found ??= readdir(root, { withFileTypes: true }).then(async (entries) => {
      const names = entries.filter((entry) => entry.isDirectory() && entry.name !== 'unified').map(({ name }) => name);
      const mounted = await Promise.all(names.map((name) => exists(join(root, name, 'cgroup.procs'))));
      return names.filter((_, index) => mounted[index]);
    });
    return found;
  };
  return {
    version: 1,
    async ensure(name, limits) {
      await Promise.all(
        (await controllers()).map(async (controller) => {
          const directory = join(root, controller, name);
          await mkdir(directory, { recursive: true });
          if (controller === 'cpuset') await inheritCpuset(join(root, controller), name);
          await setLimits(controller, directory, limits);
        }),
      );
    },
    async remove(name) {
      // runc also makes a group in the version 2 hierarchy where one is mounted beside.
      const hierarchies = [...(await controllers()), 'unified'];
      await Promise.all(
        hierarchies.map((controller) => removeCgroupTree(join(root, controller, name), clock, killProcess)),
      );
    },
    async exists(name) {
      const all = await Promise.all((await controllers()).map((controller) => exists(join(root, controller, name))));
      return all.length > 0 && all.every((item) => item);
    },
    async read(name) {
      const all = await controllers();
      const numberIn = async (controller: string, file: string) => {
        const mounted = all.find((item) => item.split(',').includes(controller));
        return mounted === undefined ? 0 : Number(await readFile(join(root, mounted, name, file), 'utf8'));
      };
      const quota = await numberIn('cpu', 'cpu.cfs_quota_us');
      const memory = await numberIn('memory', 'memory.limit_in_bytes');
      return {
        cpuShares: await numberIn('cpu', 'cpu.shares'),
        cpuQuotaUs: quota <= 0 ? Number.POSITIVE_INFINITY : quota,
        memoryBytes: memory === 0 || memory >= unlimitedBytes ? Number.POSITIVE_INFINITY : memory,
        memoryUsageBytes: await numberIn('memory', 'memory.usage_in_bytes'),
      };
    },
    async children(name) {
      const names = new Set<string>();
      for (const controller of await controllers()) {
        const directory = join(root, controller, name);
        if (!(await exists(directory))) continue;
        for (const entry of await readdir(directory, { withFileTypes: true })) {
          if (entry.isDirectory()) names.add(entry.name);
        }
      }
      return [...names];
    },
  };
}
