// memory_manager_state: which containers have which memory, in kubelet's format and with its checksum
// (pkg/kubelet/cm/memorymanager/state).
import { CheckpointError } from '../allocation/checkpoint.ts';
import { fnv32a } from '../container/container-hash.ts';
import {
  type MachineMemory,
  type MemoryAssignments,
  type MemoryBlock,
  type MemoryTable,
  nodesOf,
} from './machine-memory.ts';

export interface MemoryState {
  policy: string;
  machine: MachineMemory;
  assignments: MemoryAssignments;
}

interface RawTable {
  total: number;
  systemReserved: number;
  allocatable: number;
  reserved: number;
  free: number;
}

interface RawNode {
  numberOfAssignments: number;
  memoryMap: Record<string, RawTable>;
  cells: number[];
}

interface RawBlock {
  numaAffinity: number[];
  type: string;
  size: number;
}

interface RawState {
  policyName: string;
  machineState: Record<string, RawNode>;
  entries: Record<string, Record<string, RawBlock[]>>;
}

const byKey = <T>(map: Record<string, T>): [string, T][] =>
  Object.entries(map).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));

function dumpTable({ total, systemReserved, allocatable, reserved, free }: RawTable): string {
  return `<*>{TotalMemSize:(uint64)${total} SystemReserved:(uint64)${systemReserved} Allocatable:(uint64)${allocatable} Reserved:(uint64)${reserved} Free:(uint64)${free}}`;
}

function dumpNode({ numberOfAssignments, memoryMap, cells }: RawNode): string {
  const tables = byKey(memoryMap).map(([resource, table]) => `${resource}:${dumpTable(table)}`);
  return `<*>{NumberOfAssignments:(int)${numberOfAssignments} MemoryMap:(map[v1.ResourceName]*state.MemoryTable)map[${tables.join(' ')}] Cells:([]int)[${cells.join(' ')}]}`;
}

function dumpBlock({ numaAffinity, type, size }: RawBlock): string {
  return `{NUMAAffinity:([]int)[${numaAffinity.join(' ')}] Type:(v1.ResourceName)${type} Size:(uint64)${size}}`;
}

/** As Go's spew prints the structure of this name without its checksum. */
function checksumOf({ policyName, machineState, entries }: RawState, name: string): number {
  const nodes = Object.entries(machineState)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([id, node]) => `${id}:${dumpNode(node)}`);
  const pods = byKey(entries).map(([uid, own]) => {
    const containers = byKey(own).map(([container, blocks]) => `${container}:[${blocks.map(dumpBlock).join(' ')}]`);
    return `${uid}:map[${containers.join(' ')}]`;
  });
  const text = `(*state.${name}){PolicyName:(string)${policyName} MachineState:(state.NUMANodeMap)map[${nodes.join(' ')}] Entries:(state.ContainerMemoryAssignments)map[${pods.join(' ')}] Checksum:(checksum.Checksum)0}`;
  return fnv32a(Buffer.from(text));
}

function rawOf({ policy, machine, assignments }: MemoryState): RawState {
  const table = (memory: MemoryTable): RawTable => ({
    total: memory.totalBytes,
    systemReserved: memory.systemReservedBytes,
    allocatable: memory.allocatableBytes,
    reserved: memory.reservedBytes,
    free: memory.freeBytes,
  });
  const node = (id: number, { assignments: count, tables, group }: { assignments: number } & RawSource) => [
    `${id}`,
    {
      numberOfAssignments: count,
      memoryMap: Object.fromEntries([...tables].map(([resource, memory]) => [resource, table(memory)])),
      cells: nodesOf(group),
    },
  ];
  const block = ({ nodes, resource, sizeBytes }: MemoryBlock): RawBlock => ({
    numaAffinity: nodesOf(nodes),
    type: resource,
    size: sizeBytes,
  });
  return {
    policyName: policy,
    machineState: Object.fromEntries([...machine].map(([id, own]) => node(id, own))),
    entries: Object.fromEntries(
      [...assignments].map(([uid, own]) => [
        uid,
        Object.fromEntries([...own].map(([name, blocks]) => [name, blocks.map(block)])),
      ]),
    ),
  };
}

interface RawSource {
  tables: ReadonlyMap<string, MemoryTable>;
  group: number;
}

/** The text of the file. */
export function encodeMemoryState(state: MemoryState): string {
  const raw = rawOf(state);
  const { policyName, machineState, entries } = raw;
  const written = Object.keys(entries).length === 0 ? {} : { entries };
  // By the name of the structure that every version reads.
  return JSON.stringify({
    policyName,
    machineState,
    ...written,
    checksum: checksumOf(raw, 'MemoryManagerCheckpoint'),
  });
}

function object(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function whole(value: unknown): number {
  const number = Number(value ?? 0);
  if (!Number.isInteger(number)) throw new CheckpointError(`${String(value)} is no whole number`);
  return number;
}

function maskOf(value: unknown): number {
  return list(value)
    .map(whole)
    .reduce((mask, id) => mask | (1 << id), 0);
}

function decodeNode(value: unknown): RawNode {
  const node = object(value);
  const tables = Object.entries(object(node['memoryMap'])).map(([resource, item]) => {
    const { total, systemReserved, allocatable, reserved, free } = object(item);
    const table: RawTable = {
      total: whole(total),
      systemReserved: whole(systemReserved),
      allocatable: whole(allocatable),
      reserved: whole(reserved),
      free: whole(free),
    };
    return [resource, table] as const;
  });
  return {
    numberOfAssignments: whole(node['numberOfAssignments']),
    memoryMap: Object.fromEntries(tables),
    cells: list(node['cells']).map(whole),
  };
}

function decodeBlocks(value: unknown): RawBlock[] {
  return list(value).map((item) => {
    const { numaAffinity, type, size } = object(item);
    return { numaAffinity: list(numaAffinity).map(whole), type: String(type), size: whole(size) };
  });
}

/** Reads the text back. Throws CheckpointError. */
export function decodeMemoryState(text: string): MemoryState {
  let file: Record<string, unknown>;
  try {
    file = object(JSON.parse(text));
  } catch (error) {
    throw new CheckpointError(`not JSON: ${(error as Error).message}`, { cause: error });
  }
  const map = <T>(value: unknown, decode: (item: unknown) => T): Record<string, T> =>
    Object.fromEntries(Object.entries(object(value)).map(([key, item]) => [key, decode(item)]));
  const raw: RawState = {
    policyName: String(file['policyName'] ?? ''),
    machineState: map(file['machineState'], decodeNode),
    entries: map(file['entries'], (own) => map(own, decodeBlocks)),
  };
  // Newer versions use another name of the structure; very old ones wrote no checksum.
  const sums = [0, ...['', 'V1'].map((suffix) => checksumOf(raw, `MemoryManagerCheckpoint${suffix}`))];
  if (!sums.includes(Number(file['checksum']))) throw new CheckpointError('checkpoint is corrupted');
  const machine: MachineMemory = new Map();
  for (const [id, { numberOfAssignments, memoryMap, cells }] of Object.entries(raw.machineState)) {
    const tables = Object.entries(memoryMap).map(([resource, item]): [string, MemoryTable] => [
      resource,
      {
        totalBytes: item.total,
        systemReservedBytes: item.systemReserved,
        allocatableBytes: item.allocatable,
        reservedBytes: item.reserved,
        freeBytes: item.free,
      },
    ]);
    machine.set(whole(id), { assignments: numberOfAssignments, tables: new Map(tables), group: maskOf(cells) });
  }
  const blocks = (items: RawBlock[]): MemoryBlock[] =>
    items.map(({ numaAffinity, type, size }) => ({ nodes: maskOf(numaAffinity), resource: type, sizeBytes: size }));
  const assignments = new Map(
    Object.entries(raw.entries).map(([uid, own]) => [
      uid,
      new Map(Object.entries(own).map(([name, items]) => [name, blocks(items)])),
    ]),
  );
  return { policy: raw.policyName, machine, assignments };
}
