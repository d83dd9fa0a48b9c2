// What a cgroup says about what runs in it, in one form for both versions.

export interface CpuStats {
  totalNs: number;
  userNs: number;
  systemNs: number;
  periods: number;
  throttledPeriods: number;
  throttledNs: number;
}

/** Bytes, and counts of faults. */
export interface MemoryStats {
  usage: number;
  maxUsage: number;
  /** Usage without the file pages that could be dropped at once. */
  workingSet: number;
  cache: number;
  rss: number;
  swap: number;
  mappedFile: number;
  kernel: number;
  activeFile: number;
  inactiveFile: number;
  failures: number;
  pageFaults: number;
  majorPageFaults: number;
  oomKills: number;
}

/** Settings; 0 where there is no limit. */
export interface CgroupSpec {
  cpuShares: number;
  cpuPeriodUs: number;
  cpuQuotaUs: number;
  memoryLimit: number;
  memoryReservation: number;
  memorySwapLimit: number;
  pidsLimit: number;
}

export interface CgroupStats {
  cpu: CpuStats;
  memory: MemoryStats;
  spec: CgroupSpec;
  /** Processes and threads, by the pids controller. */
  threads: number;
  processes: number[];
  createdAtMs: number;
}

/** Reads the statistics of cgroups, by their path below the hierarchy's root. */
export interface CgroupStatsReader {
  /** Undefined when there is no such cgroup. */
  read(path: string): CgroupStats | undefined;
  /** Names of the direct children. */
  children(path: string): string[];
}
