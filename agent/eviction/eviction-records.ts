// What became of each shortage: an entry for every eviction with the signal, the ranking and the choice, kept in a file
// of the agent's folder so that it can be read after a restart. The oldest entries go.
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { replaceFile } from '#kube/process/replace-file.ts';

const maxRecords = 100;
/** Of the ranking: those that would have been next are of interest, not the whole node. */
export const maxRanked = 20;

/** A pod as it was ranked. Amounts are bytes, inodes or processes. */
export interface RankedPodRecord {
  namespace: string;
  name: string;
  uid: string;
  priority: number;
  usage?: number;
  request: number;
  exceedsRequest: boolean;
  /** Spared: the node cannot do without it. */
  critical: boolean;
}

/** One eviction. */
export interface EvictionRecord {
  /** RFC 3339. */
  at: string;
  namespace: string;
  name: string;
  uid: string;
  signal: string;
  resource: string;
  /** What was left, what there is in all, and the threshold; in the signal's own unit. */
  observed: { available: number; capacity: number };
  threshold: { quantity: string; kind: 'hard' | 'soft'; gracePeriodSeconds?: number };
  /** How long the threshold had been passed. */
  lastedSeconds: number;
  /** What was tried before. */
  reclaimed: string[];
  /** First to go first; at most twenty. */
  ranking: RankedPodRecord[];
  rankedPods: number;
  gracePeriodSeconds: number;
  message: string;
}

export interface EvictionRecords {
  add(record: EvictionRecord): Promise<void>;
  /** Writes what could not be written when it was added. */
  retry(): Promise<void>;
  /** The newest about the pod. */
  of(podUid: string): EvictionRecord | undefined;
  all(): readonly EvictionRecord[];
}

function isRecord(value: unknown): value is EvictionRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { uid, signal, ranking } = value as Partial<EvictionRecord>;
  return typeof uid === 'string' && typeof signal === 'string' && Array.isArray(ranking);
}

/** Reads `path`, where it is there; a damaged file is reported and starts empty. */
export async function openEvictionRecords(path: string, logger: Logger): Promise<EvictionRecords> {
  let records: EvictionRecord[] = [];
  try {
    const read: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (Array.isArray(read)) records = read.filter(isRecord);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') logger.warn({ err: error, path }, 'cannot read evictions');
  }
  let isKept = true;

  async function write(): Promise<void> {
    await replaceFile(path, JSON.stringify(records));
    isKept = true;
  }

  return {
    async add(record) {
      records = [...records, record].slice(-maxRecords);
      isKept = false;
      // The disk may be what is short.
      await write().catch((error: Error) => logger.warn({ err: error, path }, 'cannot keep the record of an eviction'));
    },
    async retry() {
      // Told when it was added.
      if (!isKept) await write().catch(() => undefined);
    },
    of: (podUid) => records.findLast(({ uid }) => uid === podUid),
    all: () => records,
  };
}
