// What is left of memory, disks and process ids on this node, as the kernel says it now.
import { readFile, stat, statfs } from 'node:fs/promises';
import type { ImageService } from '../cri/image-service.ts';
import type { CgroupStatsReader } from '../stats/cgroup-stats.ts';
import type { DiskLayout } from './rank-pods.ts';
import type { Observations } from './thresholds.ts';

/** Where to look. */
export interface SignalSources {
  rootDir: string;
  images: Pick<ImageService, 'imageFsInfo'>;
  reader: CgroupStatsReader;
  memoryBytes: number;
  /** The cgroup of all pods. */
  podsPath: string;
}

type Amounts = { available: number; capacity: number };

async function filesystem(path: string): Promise<Map<string, Amounts>> {
  const stats = await statfs(path).catch(() => undefined);
  if (stats === undefined) return new Map();
  return new Map([
    ['available', { available: stats.bavail * stats.bsize, capacity: stats.blocks * stats.bsize }],
    // Some file systems have no fixed number of inodes: nothing can run out.
    ...(stats.files > 0 ? [['inodesFree', { available: stats.ffree, capacity: stats.files }] as const] : []),
  ]);
}

async function processIds(): Promise<Amounts | undefined> {
  const read = (path: string) => readFile(path, 'utf8').catch(() => '');
  const [pids, threads, load] = await Promise.all(
    ['/proc/sys/kernel/pid_max', '/proc/sys/kernel/threads-max', '/proc/loadavg'].map(read),
  );
  const most = [pids, threads].map(Number).filter((value) => value > 0);
  const used = Number(/\/(\d+)/.exec(load ?? '')?.[1]);
  const capacity = Math.min(...most);
  return most.length > 0 && !Number.isNaN(used) ? { available: capacity - used, capacity } : undefined;
}

async function deviceOf(path: string | undefined): Promise<number | undefined> {
  if (path === undefined) return undefined;
  return stat(path).then(
    ({ dev }) => dev,
    () => undefined,
  );
}

/** Memory of the node and of all pods together. */
export function readMemorySignals({ reader, memoryBytes, podsPath }: SignalSources): Map<string, Amounts> {
  const signals = new Map<string, Amounts>();
  const workingSet = reader.read('/')?.memory.workingSet;
  if (workingSet !== undefined) {
    signals.set('memory.available', { available: memoryBytes - workingSet, capacity: memoryBytes });
  }
  const pods = reader.read(podsPath);
  if (pods !== undefined && pods.spec.memoryLimit > 0) {
    const { memoryLimit } = pods.spec;
    const available = Math.max(memoryLimit - pods.memory.workingSet, 0);
    signals.set('allocatableMemory.available', { available, capacity: memoryLimit });
  }
  return signals;
}

/** Reads every signal; what cannot be read is left out. */
export async function readSignals(sources: SignalSources): Promise<{ seen: Observations; layout: DiskLayout }> {
  const seen = readMemorySignals(sources);
  const info = await sources.images.imageFsInfo().catch(() => undefined);
  const imagePath = info?.imageFilesystems[0]?.fsId?.mountpoint;
  const containerPath = info?.containerFilesystems[0]?.fsId?.mountpoint ?? imagePath;
  const places = [
    ['nodefs', sources.rootDir],
    ['imagefs', imagePath],
    ['containerfs', containerPath],
  ] as const;
  for (const [name, path] of places) {
    if (path === undefined) continue;
    for (const [what, amounts] of await filesystem(path)) seen.set(`${name}.${what}`, amounts);
  }
  const pids = await processIds();
  if (pids !== undefined) seen.set('pid.available', pids);
  const [node, image, container] = await Promise.all(places.map(([, path]) => deviceOf(path)));
  const layout = image === undefined || image === node ? 'one' : container === node ? 'split' : 'imagefs';
  return { seen, layout };
}
