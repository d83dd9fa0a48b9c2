// What is left of memory, disks and process ids on this node, as the kernel says it now.
import { readFile, statfs } from 'node:fs/promises';
import type { ImageService } from '../cri/image-service.ts';
import type { CgroupStatsReader } from '../stats/cgroup-stats.ts';
import type { Signals } from './compute-pressure.ts';

/** Where to look. */
export interface SignalSources {
  rootDir: string;
  images: ImageService;
  reader: CgroupStatsReader;
  memoryBytes: number;
}

async function filesystem(path: string): Promise<Map<string, { available: number; capacity: number }>> {
  const stats = await statfs(path).catch(() => undefined);
  if (stats === undefined) return new Map();
  return new Map([
    ['available', { available: stats.bavail * stats.bsize, capacity: stats.blocks * stats.bsize }],
    ['inodesFree', { available: stats.ffree, capacity: stats.files }],
  ]);
}

async function processIds(): Promise<{ available: number; capacity: number } | undefined> {
  const [max, load] = await Promise.all(
    ['/proc/sys/kernel/pid_max', '/proc/loadavg'].map((path) => readFile(path, 'utf8').catch(() => '')),
  );
  const capacity = Number(max);
  const used = Number(/\/(\d+)/.exec(load ?? '')?.[1]);
  return capacity > 0 && !Number.isNaN(used) ? { available: capacity - used, capacity } : undefined;
}

/** Reads every signal; what cannot be read is left out. */
export async function readSignals({ rootDir, images, reader, memoryBytes }: SignalSources): Promise<Signals> {
  const signals = new Map<string, { available: number; capacity: number }>();
  const workingSet = reader.read('/')?.memory.workingSet;
  if (workingSet !== undefined) {
    signals.set('memory.available', { available: memoryBytes - workingSet, capacity: memoryBytes });
  }
  const info = await images.imageFsInfo().catch(() => undefined);
  const imagePath = info?.imageFilesystems[0]?.fsId?.mountpoint;
  for (const [name, path] of [
    ['nodefs', rootDir],
    ['imagefs', imagePath],
  ] as const) {
    if (path === undefined) continue;
    for (const [what, amounts] of await filesystem(path)) signals.set(`${name}.${what}`, amounts);
  }
  const pids = await processIds();
  if (pids !== undefined) signals.set('pid.available', pids);
  return signals;
}
