// Memory and huge pages of each NUMA node: what is reserved for the system, what containers have, what is free. A node
// is used alone or in one group with others, never both (pkg/kubelet/cm/memorymanager/state). Pure.
import { hugepageNames } from '../node/machine-facts.ts';
import type { NumaNode } from './cpu-topology.ts';

/** Amounts of one kind of memory on one node. */
export interface MemoryTable {
  totalBytes: number;
  systemReservedBytes: number;
  allocatableBytes: number;
  /** That containers have. */
  reservedBytes: number;
  freeBytes: number;
}

/** One node. */
export interface NodeMemory {
  /** Blocks that lie on it. */
  assignments: number;
  /** By resource: memory, hugepages-2Mi and so on. */
  tables: Map<string, MemoryTable>;
  /** The nodes it is used together with, itself among them, as a mask. */
  group: number;
}

/** By the node's number. */
export type MachineMemory = Map<number, NodeMemory>;

/** Memory of one kind that a container has on some nodes. */
export interface MemoryBlock {
  /** Nodes as a mask. */
  nodes: number;
  resource: string;
  sizeBytes: number;
}

/** By pod uid and container. */
export type MemoryAssignments = ReadonlyMap<string, ReadonlyMap<string, readonly MemoryBlock[]>>;

/** Reserved bytes by node and resource. */
export type SystemReservedMemory = ReadonlyMap<number, ReadonlyMap<string, number>>;

/** The numbers of the nodes in the mask, in rising order. */
export function nodesOf(mask: number): number[] {
  const nodes: number[] = [];
  for (let id = 0; id < 32; id += 1) if ((mask & (1 << id)) !== 0) nodes.push(id);
  return nodes;
}

function table(totalBytes: number, systemReservedBytes: number, heldBytes = 0): MemoryTable {
  const allocatableBytes = totalBytes - systemReservedBytes - heldBytes;
  return { totalBytes, systemReservedBytes, allocatableBytes, reservedBytes: 0, freeBytes: allocatableBytes };
}

/** The machine while no container has anything. */
export function emptyMachine(nodes: readonly NumaNode[], reserved: SystemReservedMemory): MachineMemory {
  return new Map(
    nodes.map(({ id, memoryBytes, hugepages }) => {
      const tables = new Map<string, MemoryTable>();
      for (const [pageKiB, bytes] of hugepages) {
        const { resource } = hugepageNames(pageKiB);
        tables.set(resource, table(bytes, reserved.get(id)?.get(resource) ?? 0));
      }
      const pages = [...hugepages.values()].reduce((sum, bytes) => sum + bytes, 0);
      tables.set('memory', table(memoryBytes, reserved.get(id)?.get('memory') ?? 0, pages));
      return [id, { assignments: 0, tables, group: 1 << id }];
    }),
  );
}

/**
 * Puts one block on the machine: from the first node of the mask as much as it has, then from the next. Throws where
 * the node or the kind of memory does not exist.
 */
export function placeBlock(machine: MachineMemory, { nodes, resource, sizeBytes }: MemoryBlock, whose: string): void {
  let missing = sizeBytes;
  for (const id of nodesOf(nodes)) {
    const node = machine.get(id);
    if (node === undefined) {
      throw new Error(`[memorymanager] ${whose} the memory assignment uses the NUMA that does not exist`);
    }
    node.assignments += 1;
    node.group = nodes;
    const memory = node.tables.get(resource);
    if (memory === undefined) {
      throw new Error(`[memorymanager] ${whose} the memory assignment uses memory resource that does not exist`);
    }
    const taken = Math.max(Math.min(missing, memory.freeBytes), 0);
    memory.reservedBytes += taken;
    memory.freeBytes -= taken;
    missing -= taken;
  }
}

/** The machine with everything that containers have. Throws as `placeBlock` does. */
export function occupiedMachine(
  nodes: readonly NumaNode[],
  reserved: SystemReservedMemory,
  assignments: MemoryAssignments,
): MachineMemory {
  const machine = emptyMachine(nodes, reserved);
  for (const [uid, containers] of assignments) {
    for (const [name, blocks] of containers) {
      for (const block of blocks) placeBlock(machine, block, `(pod: ${uid}, container: ${name})`);
    }
  }
  return machine;
}

function sumOf(machine: MachineMemory, mask: number, resource: string, field: 'reservedBytes' | 'freeBytes'): number {
  return nodesOf(mask).reduce((sum, id) => sum + (machine.get(id)?.tables.get(resource)?.[field] ?? 0), 0);
}

/** Whether both say the same, amounts compared by groups: which node of a group gives what depends on the order. */
export function isSameMachine(a: MachineMemory, b: MachineMemory): boolean {
  if (a.size !== b.size) return false;
  return [...a].every(([id, own]) => {
    const other = b.get(id);
    if (other === undefined || own.assignments !== other.assignments || own.group !== other.group) return false;
    if (own.tables.size !== other.tables.size) return false;
    return [...own.tables].every(([resource, memory]) => {
      const there = other.tables.get(resource);
      return (
        there !== undefined &&
        memory.totalBytes === there.totalBytes &&
        memory.systemReservedBytes === there.systemReservedBytes &&
        memory.allocatableBytes === there.allocatableBytes &&
        sumOf(a, own.group, resource, 'freeBytes') === sumOf(b, own.group, resource, 'freeBytes') &&
        sumOf(a, own.group, resource, 'reservedBytes') === sumOf(b, own.group, resource, 'reservedBytes')
      );
    });
  });
}
