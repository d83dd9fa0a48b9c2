// How much volumes hold: by walking a directory, or as the filesystem itself counts.
import { lstat, readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';

/** What /stats/summary and the eviction of pods need to know of a volume. */
export interface VolumeUsage {
  usedBytes: number;
  inodesUsed: number;
  capacityBytes: number;
  availableBytes: number;
  inodes: number;
  inodesFree: number;
  /** Set by drivers that can tell: something is wrong with the volume. */
  abnormal?: boolean;
}

const blockBytes = 512;
const batch = 32;

/** Bytes and inodes of a directory with all below it, each file once, without what is mounted inside. */
export async function measureDirectory(path: string): Promise<{ usedBytes: number; inodesUsed: number }> {
  const seen = new Set<number>();
  let usedBytes = 0;
  let inodesUsed = 0;
  const root = await lstat(path);

  async function visit(directory: string): Promise<void> {
    // Files come and go while they are counted.
    const names = await readdir(directory).catch(() => []);
    for (let start = 0; start < names.length; start += batch) {
      await Promise.all(names.slice(start, start + batch).map((name) => count(join(directory, name))));
    }
  }

  async function count(entry: string): Promise<void> {
    const info = await lstat(entry).catch(() => undefined);
    if (info === undefined || info.dev !== root.dev) return;
    if (info.nlink > 1 && !info.isDirectory()) {
      if (seen.has(info.ino)) return;
      seen.add(info.ino);
    }
    usedBytes += info.blocks * blockBytes;
    inodesUsed += 1;
    if (info.isDirectory()) await visit(entry);
  }

  usedBytes += root.blocks * blockBytes;
  inodesUsed += 1;
  if (root.isDirectory()) await visit(path);
  return { usedBytes, inodesUsed };
}

/** The whole filesystem that holds `path`. */
export async function measureFilesystem(path: string): Promise<VolumeUsage> {
  const { blocks, bsize, bfree, bavail, files, ffree } = await statfs(path);
  return {
    usedBytes: (blocks - bfree) * bsize,
    inodesUsed: files - ffree,
    capacityBytes: blocks * bsize,
    availableBytes: bavail * bsize,
    inodes: files,
    inodesFree: ffree,
  };
}

/** A directory in a filesystem that it shares with others. */
export async function measureShare(path: string): Promise<VolumeUsage> {
  return { ...(await measureFilesystem(path)), ...(await measureDirectory(path)) };
}
