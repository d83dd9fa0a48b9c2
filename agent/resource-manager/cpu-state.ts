// cpu_manager_state: which containers have which processors for themselves, in kubelet's format and with its checksum
// (pkg/kubelet/cm/cpumanager/state).
import { readFile } from 'node:fs/promises';
import { CheckpointError } from '../allocation/checkpoint.ts';
import { fnv32a } from '../container/container-hash.ts';
import { formatCpuSet, parseCpuSet } from './cpu-set.ts';
import { replaceState } from './replace-state.ts';

export interface CpuState {
  policy: string;
  shared: ReadonlySet<number>;
  /** By pod uid and container name. */
  entries: ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<number>>>;
}

type Entries = Record<string, Record<string, string>>;

const sorted = <T>(map: Record<string, T>) => Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1));

/** As Go's spew prints the structure without its checksum. */
function checksumOf(policy: string, shared: string, entries: Entries, version = ''): number {
  const pods = sorted(entries).map(
    ([uid, own]) =>
      `${uid}:map[${sorted(own)
        .map(([name, cpus]) => `${name}:${cpus}`)
        .join(' ')}]`,
  );
  const text = `(*state.CPUManagerCheckpoint${version}){PolicyName:(string)${policy} DefaultCPUSet:(string)${shared} Entries:(map[string]map[string]string)map[${pods.join(' ')}] Checksum:(checksum.Checksum)0}`;
  return fnv32a(Buffer.from(text));
}

/** The text of the file. */
export function encodeCpuState({ policy, shared, entries }: CpuState): string {
  const own: Entries = {};
  for (const [uid, containers] of entries) {
    own[uid] = Object.fromEntries([...containers].map(([name, cpus]) => [name, formatCpuSet(cpus)]));
  }
  const defaultCpuSet = formatCpuSet(shared);
  const written = Object.keys(own).length === 0 ? {} : { entries: own };
  return JSON.stringify({
    policyName: policy,
    defaultCpuSet,
    ...written,
    checksum: checksumOf(policy, defaultCpuSet, own),
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads the text back. Throws CheckpointError. */
export function decodeCpuState(text: string): CpuState {
  try {
    const file: unknown = JSON.parse(text);
    if (!isObject(file)) throw new CheckpointError('it is no object');
    const entries: Entries = {};
    for (const [uid, containers] of Object.entries(isObject(file['entries']) ? file['entries'] : {})) {
      if (!isObject(containers)) continue;
      entries[uid] = Object.fromEntries(Object.entries(containers).map(([name, cpus]) => [name, String(cpus)]));
    }
    const policy = String(file['policyName'] ?? '');
    const shared = String(file['defaultCpuSet'] ?? '');
    // Newer versions use another name of the structure.
    const sums = ['', 'V2'].map((version) => checksumOf(policy, shared, entries, version));
    if (!sums.includes(Number(file['checksum']))) throw new CheckpointError('its checksum does not fit');
    return {
      policy,
      shared: parseCpuSet(shared),
      entries: new Map(
        Object.entries(entries).map(([uid, own]) => [
          uid,
          new Map(Object.entries(own).map(([name, cpus]) => [name, parseCpuSet(cpus)])),
        ]),
      ),
    };
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    throw new CheckpointError(`not the state of processors: ${(error as Error).message}`, { cause: error });
  }
}

/** Undefined where there is no file. Throws CheckpointError. */
export async function readCpuState(path: string): Promise<CpuState | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? undefined : decodeCpuState(text);
}

/** Replaces the file. */
export async function writeCpuState(path: string, state: CpuState): Promise<void> {
  await replaceState(path, encodeCpuState(state));
}
