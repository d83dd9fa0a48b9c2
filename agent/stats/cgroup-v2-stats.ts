// Statistics of version 2 cgroups.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';
import type { CgroupSpec, CgroupStats, CgroupStatsReader } from './cgroup-stats.ts';
import { parsePairs, readNumber, readNumbers, readText } from './read-file.ts';
import { createSlowValues } from './slow-values.ts';

const nsPerUs = 1000;

/** cpu.shares for a cpu.weight: the inverse of the runtime's conversion. */
function weightToShares(weight: number): number {
  return weight === 0 ? 0 : Math.round(2 + ((weight - 1) * 262142) / 9999);
}

interface Slow {
  spec: CgroupSpec;
  events: Map<string, number>;
  peak: number;
}

function readSlow(directory: string): Slow {
  const [quota = 'max', period = '0'] = readText(join(directory, 'cpu.max')).trim().split(' ');
  const memoryLimit = readNumber(join(directory, 'memory.max'));
  const swapLimit = readNumber(join(directory, 'memory.swap.max'));
  return {
    spec: {
      cpuShares: weightToShares(readNumber(join(directory, 'cpu.weight'))),
      cpuPeriodUs: Number(period),
      cpuQuotaUs: quota === 'max' ? 0 : Number(quota),
      memoryLimit,
      memoryReservation: readNumber(join(directory, 'memory.low')),
      memorySwapLimit: memoryLimit > 0 && swapLimit > 0 ? memoryLimit + swapLimit : 0,
      pidsLimit: readNumber(join(directory, 'pids.max')),
    },
    events: parsePairs(readText(join(directory, 'memory.events'))),
    peak: readNumber(join(directory, 'memory.peak')),
  };
}

/** Bytes that all processes of the machine use. The root group has no file for it: counted as in version 1. */
function readRootUsage(memory: Map<string, number>, meminfo: Map<string, number>): number {
  const [anon, file] = [memory.get('anon'), memory.get('file')];
  if (anon !== undefined && file !== undefined) return anon + file;
  return (meminfo.get('MemTotal') ?? 0) - (meminfo.get('MemFree') ?? 0);
}

function readStats(
  directory: string,
  createdAtMs: number,
  { spec, events, peak }: Slow,
  meminfo: Map<string, number> | undefined,
): CgroupStats {
  const cpu = parsePairs(readText(join(directory, 'cpu.stat')));
  const memory = parsePairs(readText(join(directory, 'memory.stat')));
  const usage = meminfo === undefined ? readNumber(join(directory, 'memory.current')) : readRootUsage(memory, meminfo);
  const swap =
    meminfo === undefined
      ? readNumber(join(directory, 'memory.swap.current'))
      : (meminfo.get('SwapTotal') ?? 0) - (meminfo.get('SwapFree') ?? 0);
  const inactiveFile = memory.get('inactive_file') ?? 0;
  return {
    cpu: {
      totalNs: (cpu.get('usage_usec') ?? 0) * nsPerUs,
      userNs: (cpu.get('user_usec') ?? 0) * nsPerUs,
      systemNs: (cpu.get('system_usec') ?? 0) * nsPerUs,
      periods: cpu.get('nr_periods') ?? 0,
      throttledPeriods: cpu.get('nr_throttled') ?? 0,
      throttledNs: (cpu.get('throttled_usec') ?? 0) * nsPerUs,
    },
    memory: {
      usage,
      maxUsage: Math.max(peak, usage),
      workingSet: Math.max(usage - inactiveFile, 0),
      cache: memory.get('file') ?? 0,
      rss: memory.get('anon') ?? 0,
      swap,
      mappedFile: memory.get('file_mapped') ?? 0,
      kernel: memory.get('kernel') ?? 0,
      activeFile: memory.get('active_file') ?? 0,
      inactiveFile,
      failures: events.get('max') ?? 0,
      pageFaults: memory.get('pgfault') ?? 0,
      majorPageFaults: memory.get('pgmajfault') ?? 0,
      oomKills: events.get('oom_kill') ?? 0,
    },
    spec,
    threads: readNumber(join(directory, 'pids.current')),
    processes: readNumbers(join(directory, 'cgroup.procs')),
    createdAtMs,
  };
}

/** Bytes by name of /proc/meminfo. */
function readMeminfo(path: string): Map<string, number> {
  return new Map(
    [...readText(path).matchAll(/^(\w+):\s+(\d+) kB$/gm)].map(([, name = '', kib]) => [name, Number(kib) * 1024]),
  );
}

/** Reads the hierarchy at `root`, usually /sys/fs/cgroup; its root group has what `meminfo` says. */
export function createCgroupV2StatsReader(root: string, clock: Clock, meminfo = '/proc/meminfo'): CgroupStatsReader {
  const slow = createSlowValues(clock, readSlow);
  return {
    read(path) {
      const created = statSync(join(root, path), { throwIfNoEntry: false });
      if (created === undefined) return undefined;
      const machine = path === '/' || path === '' ? readMeminfo(meminfo) : undefined;
      return readStats(join(root, path), created.ctimeMs, slow(join(root, path)), machine);
    },
    children(path) {
      try {
        const entries = readdirSync(join(root, path), { withFileTypes: true });
        return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
      } catch {
        // The pod has ended meanwhile.
        return [];
      }
    },
  };
}
