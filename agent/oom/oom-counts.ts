// How many processes of each container were killed because memory ran out, kept in a file over restarts of containers
// and of the agent, together with how far the kernel's log was read.
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { replaceFile } from '#kube/process/replace-file.ts';

interface Saved {
  bootId: string;
  sequence: number;
  /** By pod uid and container name. */
  kills: Record<string, Record<string, number>>;
}

export interface OomCounts {
  /** The last record of this boot that was read; -1 at first. */
  sequence(): number;
  of(podUid: string, container: string): number;
  add(podUid: string, container: string): void;
  /** Forgets all pods but these, notes how far the log was read, and writes the file. */
  save(sequence: number, podUids: ReadonlySet<string>): Promise<void>;
}

function isSaved(value: unknown): value is Saved {
  if (typeof value !== 'object' || value === null) return false;
  const { bootId, sequence, kills } = value as Partial<Saved>;
  return typeof bootId === 'string' && typeof sequence === 'number' && typeof kills === 'object' && kills !== null;
}

/** Reads `path`, where it is there; a damaged file is reported and starts empty. */
export async function openOomCounts(path: string, bootId: string, logger: Logger): Promise<OomCounts> {
  let kills: Saved['kills'] = {};
  let last = -1;
  try {
    const saved: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (!isSaved(saved)) throw new Error('it is not a list of counts');
    kills = saved.kills;
    if (saved.bootId === bootId) last = saved.sequence;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') logger.warn({ err: error, path }, 'cannot read OOM kills');
  }
  return {
    sequence: () => last,
    of: (podUid, container) => kills[podUid]?.[container] ?? 0,
    add(podUid, container) {
      const own = kills[podUid] ?? {};
      own[container] = (own[container] ?? 0) + 1;
      kills[podUid] = own;
    },
    async save(sequence, podUids) {
      last = sequence;
      kills = Object.fromEntries(Object.entries(kills).filter(([uid]) => podUids.has(uid)));
      await replaceFile(path, JSON.stringify({ bootId, sequence, kills }));
    },
  };
}
