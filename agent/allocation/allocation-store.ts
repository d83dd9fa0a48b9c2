// Allocations by pod uid, in memory and in one file. The file is replaced as a whole; changes that come while it is
// being written go into the next version together.
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { replaceFile } from '#kube/process/replace-file.ts';
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint.ts';
import type { PodAllocation } from './pod-allocation.ts';

export interface AllocationStore {
  get(uid: string): PodAllocation | undefined;
  /** Resolves when the file has it. */
  set(uid: string, allocation: PodAllocation): Promise<void>;
  remove(uid: string): Promise<void>;
  uids(): string[];
}

/** Reads `path`, where it is there; a damaged file is reported and starts empty. */
export async function openAllocationStore(path: string, logger: Logger): Promise<AllocationStore> {
  let entries = new Map<string, PodAllocation>();
  try {
    entries = decodeCheckpoint(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') logger.error({ err: error, path }, 'cannot use checkpoint');
  }
  let writing: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;

  /** One write at a time; all that asked while it ran share the one after it. */
  function save(): Promise<void> {
    next ??= writing
      .catch(() => undefined)
      .then(() => {
        next = undefined;
        writing = replaceFile(path, encodeCheckpoint(entries));
        return writing;
      });
    return next;
  }

  return {
    get: (uid) => entries.get(uid),
    set(uid, allocation) {
      entries.set(uid, allocation);
      return save();
    },
    async remove(uid) {
      if (entries.delete(uid)) await save();
    },
    uids: () => [...entries.keys()],
  };
}
