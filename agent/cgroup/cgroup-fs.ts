// What the agent needs of a cgroup hierarchy, whichever version the kernel has.

/** Limits of one cgroup; absent ones are left as they are. */
export interface CgroupLimits {
  cpuShares?: number | undefined;
  cpuPeriodUs?: number | undefined;
  /** Negative: no limit. */
  cpuQuotaUs?: number | undefined;
  /** Negative: no limit. */
  memoryBytes?: number | undefined;
  /** Negative: no limit. */
  pids?: number | undefined;
  /** Bytes by page size as the kernel names it, for example 2MB. */
  hugepages?: Readonly<Record<string, number>> | undefined;
  /** Bytes that are kept from being reclaimed; version 2 only. */
  memoryMinBytes?: number | undefined;
}

/** What a cgroup has now. Infinity: no limit. */
export interface CgroupState {
  cpuShares: number;
  cpuQuotaUs: number;
  memoryBytes: number;
  memoryUsageBytes: number;
}

/** Names are paths from the root of the hierarchy, for example /kubepods/burstable. */
export interface CgroupFs {
  readonly version: 1 | 2;
  /** Creates the cgroup and its parents; the limits are set whether or not it existed. */
  ensure(name: string, limits: CgroupLimits): Promise<void>;
  /** Removes the cgroup and everything below it, killing processes that are left. Absent ones are no error. */
  remove(name: string): Promise<void>;
  exists(name: string): Promise<boolean>;
  /** Reads limits and use. Throws where the cgroup is not there. */
  read(name: string): Promise<CgroupState>;
  /** Names of the direct children. */
  children(name: string): Promise<string[]>;
}
