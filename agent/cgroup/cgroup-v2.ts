// The version 2 hierarchy: one tree, controllers enabled from the root down.
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';
import type { CgroupFs, CgroupLimits } from './cgroup-fs.ts';
import { killProcess, removeCgroupTree } from './remove-tree.ts';

const wanted = ['cpu', 'cpuset', 'io', 'memory', 'pids', 'hugetlb'];

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** cpu.weight for cpu.shares: [2, 262144] to [1, 10000], as runc converts it. */
export function sharesToWeight(shares: number): number {
  return Math.floor(1 + ((shares - 2) * 9999) / 262142);
}

/** The shares of which cpu.weight was made, as near as can be told. */
export function weightToShares(weight: number): number {
  return Math.ceil(2 + ((weight - 1) * 262142) / 9999);
}

async function enableControllers(directory: string): Promise<void> {
  const offered = (await readFile(join(directory, 'cgroup.controllers'), 'utf8')).trim().split(' ');
  const enabled = (await readFile(join(directory, 'cgroup.subtree_control'), 'utf8')).trim().split(' ');
  for (const controller of wanted) {
    if (!offered.includes(controller) || enabled.includes(controller)) continue;
    await writeFile(join(directory, 'cgroup.subtree_control'), `+${controller}`);
  }
}

function limitText(value: number): string {
  return value < 0 ? 'max' : `${value}`;
}

async function setLimits(directory: string, limits: CgroupLimits): Promise<void> {
  const { cpuShares, cpuPeriodUs = 100_000, cpuQuotaUs, memoryBytes, pids, hugepages = {}, memoryMinBytes } = limits;
  const set = async (file: string, value: string) => {
    // A controller that the parent does not offer has no files.
    if (await exists(join(directory, file))) await writeFile(join(directory, file), value);
  };
  if (cpuShares !== undefined) await set('cpu.weight', `${sharesToWeight(cpuShares)}`);
  if (cpuQuotaUs !== undefined) await set('cpu.max', `${limitText(cpuQuotaUs)} ${cpuPeriodUs}`);
  if (memoryBytes !== undefined) await set('memory.max', limitText(memoryBytes));
  if (memoryMinBytes !== undefined) await set('memory.min', `${memoryMinBytes}`);
  if (pids !== undefined) await set('pids.max', limitText(pids));
  for (const [size, bytes] of Object.entries(hugepages)) {
    await set(`hugetlb.${size}.max`, `${bytes}`);
    await set(`hugetlb.${size}.rsvd.max`, `${bytes}`);
  }
}

/** The hierarchy mounted at `root`, usually /sys/fs/cgroup. */
export function createCgroupV2(root: string, clock: Clock): CgroupFs {
  return {
    version: 2,
    async ensure(name, limits) {
      let directory = root;
      for (const part of name.split('/').filter((item) => item !== '')) {
        await enableControllers(directory);
        directory = join(directory, part);
        await mkdir(directory, { recursive: true });
      }
      // Not in the group itself: until the runtime makes groups in it, processes may live there.
      await setLimits(directory, limits);
    },
    remove: (name) => removeCgroupTree(join(root, name), clock, killProcess),
    exists: (name) => exists(join(root, name)),
    async read(name) {
      const directory = join(root, name);
      const text = async (file: string) => {
        const found = await readFile(join(directory, file), 'utf8').catch((error: NodeJS.ErrnoException) => {
          // The root's children lack the files of controllers that are not enabled.
          if (error.code === 'ENOENT') return '';
          throw error;
        });
        return found.trim();
      };
      if (!(await exists(directory))) throw new Error(`no cgroup ${name}`);
      const [quota = 'max'] = (await text('cpu.max')).split(' ');
      const limited = (value: string) => (value === '' || value === 'max' ? Number.POSITIVE_INFINITY : Number(value));
      return {
        cpuShares: weightToShares(Number((await text('cpu.weight')) || '1')),
        cpuQuotaUs: limited(quota),
        memoryBytes: limited(await text('memory.max')),
        memoryUsageBytes: Number((await text('memory.current')) || '0'),
      };
    },
    async children(name) {
      const directory = join(root, name);
      if (!(await exists(directory))) return [];
      const entries = await readdir(directory, { withFileTypes: true });
      return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
    },
  };
}

/** True where the hierarchy at `root` is the unified one. */
export async function isUnifiedHierarchy(root: string): Promise<boolean> {
  return exists(join(root, 'cgroup.controllers'));
}
