// Directories whose files never reach a disk: secrets and tokens. All of them live on one tmpfs of the agent, with a
// link at the place where the volume is expected: a mount per volume would cost more than everything else about it.
import { lstat, mkdir, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Mounter } from './mounter.ts';

/** Directories in memory, by pod. */
export interface MemoryDirectories {
  /** Makes `path` a directory in memory. One that is there already, from another agent, stays what it is. */
  ensureDirectory(podUid: string, path: string): Promise<void>;
  /** Removes what the pod has; the links go with the pod's volumes. */
  remove(podUid: string): Promise<void>;
}

/** Keeps the tmpfs below the agent's root directory; it is mounted with the first use. */
export function createMemoryDirectories(rootDir: string, mounter: Mounter): MemoryDirectories {
  const root = join(rootDir, 'memory-volumes');
  let mounted: Promise<void> | undefined;

  async function mount(): Promise<void> {
    await mkdir(root, { recursive: true, mode: 0o711 });
    if (!(await mounter.listBelow(root)).includes(root))
      await mounter.mount({ type: 'tmpfs', source: 'tmpfs', target: root, options: ['mode=0711'] });
  }

  return {
    async ensureDirectory(podUid, path) {
      const present = await lstat(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        return undefined;
      });
      if (present?.isDirectory()) return;
      mounted ??= mount();
      await mounted.catch((error: unknown) => {
        mounted = undefined;
        throw error;
      });
      const target = join(root, podUid, basename(dirname(path)), basename(path));
      await mkdir(target, { recursive: true, mode: 0o755 });
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      if (present === undefined) await symlink(target, path);
    },
    remove: (podUid) => rm(join(root, podUid), { recursive: true, force: true }),
  };
}
