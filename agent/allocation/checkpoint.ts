// The file that keeps allocations over a restart, in kubelet's format: JSON text and its checksum
// (pkg/kubelet/allocation/state, pkg/kubelet/checkpointmanager).
import { fnv32a, goDump } from '../container/container-hash.ts';
import type { PodAllocation } from './pod-allocation.ts';

/** A checkpoint that cannot be used. */
export class CheckpointError extends Error {
  readonly code = 'CHECKPOINT';

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CheckpointError';
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checksumOf(data: string): number {
  return fnv32a(Buffer.from(goDump(data)));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CheckpointError(`not JSON: ${(error as Error).message}`, { cause: error });
  }
}

/** The text of the file. */
export function encodeCheckpoint(entries: ReadonlyMap<string, PodAllocation>): string {
  const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
  const data = JSON.stringify(sorted.length === 0 ? {} : { entries: Object.fromEntries(sorted) });
  return JSON.stringify({ data, checksum: checksumOf(data) });
}

/** Reads the file's text back, by pod uid. Throws CheckpointError. */
export function decodeCheckpoint(text: string): Map<string, PodAllocation> {
  const file = parseJson(text);
  if (!isRecord(file) || typeof file['data'] !== 'string') throw new CheckpointError('it has no data');
  if (file['checksum'] !== checksumOf(file['data'])) throw new CheckpointError('its checksum does not fit');
  const data = parseJson(file['data']);
  const entries = isRecord(data) && isRecord(data['entries']) ? data['entries'] : {};
  return new Map(Object.entries(entries).filter(([, value]) => isRecord(value)) as [string, PodAllocation][]);
}
