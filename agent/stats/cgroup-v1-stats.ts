// Statistics of version 1 cgroups, one directory per controller.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupSpec, CgroupStats, CgroupStatsReader, CpuStats, MemoryStats } from './cgroup-stats.ts';
import { parsePairs, readNumber, readNumbers, readText } from './read-file.ts';

/** cpuacct.stat counts in USER_HZ. */
const nsPerTick = 1e7;
/** No limit is shown as the largest multiple of the page size. */
const noLimit = 2 ** 62;

function limited(value: number): number {
  return value >= noLimit ? 0 : value;
}

function readCpu(cpu: string, cpuacct: string): CpuStats {
  const times = parsePairs(readText(join(cpuacct, 'cpuacct.stat')));
  const throttling = parsePairs(readText(join(cpu, 'cpu.stat')));
  return {
    totalNs: readNumber(join(cpuacct, 'cpuacct.usage')),
    userNs: (times.get('user') ?? 0) * nsPerTick,
    systemNs: (times.get('system') ?? 0) * nsPerTick,
    periods: throttling.get('nr_periods') ?? 0,
    throttledPeriods: throttling.get('nr_throttled') ?? 0,
    throttledNs: throttling.get('throttled_time') ?? 0,
  };
}

function readMemory(directory: string): MemoryStats {
  const stat = parsePairs(readText(join(directory, 'memory.stat')));
  // The totals include the children, which is where the processes are.
  const total = (name: string) => stat.get(`total_${name}`) ?? stat.get(name) ?? 0;
  const usage = readNumber(join(directory, 'memory.usage_in_bytes'));
  const inactiveFile = total('inactive_file');
  return {
    usage,
    maxUsage: readNumber(join(directory, 'memory.max_usage_in_bytes')),
    workingSet: Math.max(usage - inactiveFile, 0),
    cache: total('cache'),
    rss: total('rss'),
    swap: total('swap'),
    mappedFile: total('mapped_file'),
    kernel: readNumber(join(directory, 'memory.kmem.usage_in_bytes')),
    activeFile: total('active_file'),
    inactiveFile,
    failures: readNumber(join(directory, 'memory.failcnt')),
    pageFaults: total('pgfault'),
    majorPageFaults: total('pgmajfault'),
    oomKills: parsePairs(readText(join(directory, 'memory.oom_control'))).get('oom_kill') ?? 0,
  };
}

function readSpec(cpu: string, memory: string, pids: string): CgroupSpec {
  return {
    cpuShares: readNumber(join(cpu, 'cpu.shares')),
    cpuPeriodUs: readNumber(join(cpu, 'cpu.cfs_period_us')),
    cpuQuotaUs: Math.max(readNumber(join(cpu, 'cpu.cfs_quota_us')), 0),
    memoryLimit: limited(readNumber(join(memory, 'memory.limit_in_bytes'))),
    memoryReservation: limited(readNumber(join(memory, 'memory.soft_limit_in_bytes'))),
    memorySwapLimit: limited(readNumber(join(memory, 'memory.memsw.limit_in_bytes'))),
    pidsLimit: readNumber(join(pids, 'pids.max')),
  };
}

/** Reads the hierarchies below `root`, usually /sys/fs/cgroup. */
export function createCgroupV1StatsReader(root: string): CgroupStatsReader {
  return {
    read(path) {
      const [cpu, cpuacct, memory, pids] = ['cpu', 'cpuacct', 'memory', 'pids'].map((name) => join(root, name, path));
      if (cpu === undefined || cpuacct === undefined || memory === undefined || pids === undefined) return undefined;
      const created = statSync(memory, { throwIfNoEntry: false });
      if (created === undefined) return undefined;
      const stats: CgroupStats = {
        cpu: readCpu(cpu, cpuacct),
        memory: readMemory(memory),
        spec: readSpec(cpu, memory, pids),
        threads: readNumber(join(pids, 'pids.current')),
        processes: readNumbers(join(memory, 'cgroup.procs')),
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
