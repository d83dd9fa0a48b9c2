// Memory as the pod resources API lists it. Pure.
import type { ContainerMemory } from '#proto/generated/podresources/v1/ContainerMemory.ts';
import { type MemoryBlock, nodesOf } from '../resource-manager/machine-memory.ts';

/** Blocks with their nodes. */
export function describeMemory(blocks: readonly MemoryBlock[]): ContainerMemory[] {
  return blocks.map(({ resource, sizeBytes, nodes }) => ({
    memoryType: resource,
    size: sizeBytes,
    topology: { nodes: nodesOf(nodes).map((ID) => ({ ID })) },
  }));
}
