// Statistics of version 1 cgroups, one directory per controller.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';
import type { CgroupSpec, CgroupStats, CgroupStatsReader, CpuStats, MemoryStats } from './cgroup-stats.ts';
import { parsePairs, readNumber, readNumbers, readText } from './read-file.ts';
import { createSlowValues } from './slow-values.ts';

/** cpuacct.stat counts in USER_HZ. */
const nsPerTick = 1e7;
/** No limit is shown as the largest multiple of the page size. */
const noLimit = 2 ** 62;

function limited(value: number): number {
  return value >= noLimit ? 0 : value;
}

function readCpu(cpu: string, cpuacct: string, limitedCpu: boolean): CpuStats {
  const times = parsePairs(readText(`${cpuacct}/cpuacct.stat`));
  // Only a group with a quota can be throttled.
  const throttling = parsePairs(limitedCpu ? readText(`${cpu}/cpu.stat`) : '');
  return {
    totalNs: readNumber(`${cpuacct}/cpuacct.usage`),
    userNs: (times.get('user') ?? 0) * nsPerTick,
    systemNs: (times.get('system') ?? 0) * nsPerTick,
    periods: throttling.get('nr_periods') ?? 0,
    throttledPeriods: throttling.get('nr_throttled') ?? 0,
    throttledNs: throttling.get('throttled_time') ?? 0,
  };
}

type SlowMemory = Pick<MemoryStats, 'maxUsage' | 'kernel' | 'failures' | 'oomKills'>;

function readSlowMemory(directory: string): SlowMemory {
  return {
    maxUsage: readNumber(`${directory}/memory.max_usage_in_bytes`),
    kernel: readNumber(`${directory}/memory.kmem.usage_in_bytes`),
    failures: readNumber(`${directory}/memory.failcnt`),
    oomKills: parsePairs(readText(`${directory}/memory.oom_control`)).get('oom_kill') ?? 0,
  };
}

function readMemory(directory: string, slow: SlowMemory): MemoryStats {
  const stat = parsePairs(readText(`${directory}/memory.stat`));
  // The totals include the children, which is where the processes are.
  const total = (name: string) => stat.get(`total_${name}`) ?? stat.get(name) ?? 0;
  const usage = readNumber(`${directory}/memory.usage_in_bytes`);
  const inactiveFile = total('inactive_file');
  return {
    ...slow,
    maxUsage: Math.max(slow.maxUsage, usage),
    usage,
    workingSet: Math.max(usage - inactiveFile, 0),
    cache: total('cache'),
    rss: total('rss'),
    swap: total('swap'),
    mappedFile: total('mapped_file'),
    activeFile: total('active_file'),
    inactiveFile,
    pageFaults: total('pgfault'),
    majorPageFaults: total('pgmajfault'),
  };
}

function readSpec(cpu: string, memory: string, pids: string): CgroupSpec {
  return {
    cpuShares: readNumber(`${cpu}/cpu.shares`),
    cpuPeriodUs: readNumber(`${cpu}/cpu.cfs_period_us`),
    cpuQuotaUs: Math.max(readNumber(`${cpu}/cpu.cfs_quota_us`), 0),
    memoryLimit: limited(readNumber(`${memory}/memory.limit_in_bytes`)),
    memoryReservation: limited(readNumber(`${memory}/memory.soft_limit_in_bytes`)),
    memorySwapLimit: limited(readNumber(`${memory}/memory.memsw.limit_in_bytes`)),
    pidsLimit: readNumber(`${pids}/pids.max`),
  };
}

/** Reads the hierarchies below `root`, usually /sys/fs/cgroup. */
export function createCgroupV1StatsReader(root: string, clock: Clock): CgroupStatsReader {
  const slow = createSlowValues(clock, (path) => ({
    spec: readSpec(`${root}/cpu${path}`, `${root}/memory${path}`, `${root}/pids${path}`),
    memory: readSlowMemory(`${root}/memory${path}`),
  }));
  return {
    read(path) {
      const memory = `${root}/memory${path}`;
      const created = statSync(memory, { throwIfNoEntry: false });
      if (created === undefined) return undefined;
      const { spec, memory: slowMemory } = slow(path);
      const stats: CgroupStats = {
        cpu: readCpu(`${root}/cpu${path}`, `${root}/cpuacct${path}`, spec.cpuQuotaUs > 0),
        memory: readMemory(memory, slowMemory),
        spec,
        threads: readNumber(`${root}/pids${path}/pids.current`),
        processes: readNumbers(`${memory}/cgroup.procs`),
        createdAtMs: created.ctimeMs,
      };
      return stats;
    },
    children(path) {
      try {
        const entries = readdirSync(join(root, 'memory', path), { withFileTypes: true });
        return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
      } catch {
        // The pod has ended meanwhile.
        return [];
      }
    },
  };
}
