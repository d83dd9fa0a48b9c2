// Memory and huge pages of single NUMA nodes for containers of guaranteed pods (pkg/kubelet/cm/memorymanager: policies
// None and Static). What containers have is written to the state file before they start.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { UsageError } from '#kube/process/flags.ts';
import { CheckpointError } from '../allocation/checkpoint.ts';
import type { NumaNode } from './cpu-topology.ts';
import type { HintProvider } from './hint-provider.ts';
import {
  isSameMachine,
  type MachineMemory,
  type MemoryBlock,
  nodesOf,
  occupiedMachine,
  type SystemReservedMemory,
} from './machine-memory.ts';
import { decodeMemoryState, encodeMemoryState, type MemoryState } from './memory-state.ts';
import {
  assignMemory,
  chooseMemoryNodes,
  endedBefore,
  hintsByResource,
  hintsOfBlocks,
  type MemoryRequest,
  memoryHints,
  memoryRequestOf,
  podMemoryRequest,
  type ReusableMemory,
} from './plan-memory.ts';
import { hasPodLevelResources } from './pod-level.ts';
import { replaceState } from './replace-state.ts';

export interface MemoryManagerOptions {
  rootDir: string;
  policy: 'None' | 'Static';
  nodes: readonly NumaNode[];
  /** What the system keeps of each node; looked at with policy Static. */
  reserved: SystemReservedMemory;
  logger: Logger;
  /** Told each request for memory of its own, and whether it failed. */
  observe?(failed: boolean): void;
}

export interface MemoryManager extends HintProvider {
  /** The container's nodes as the kernel reads them, for example 0,1; undefined: any. */
  nodesOf(podUid: string, container: string): string | undefined;
  /** What the container has. */
  blocksOf(podUid: string, container: string): readonly MemoryBlock[];
  /** What could be given away, one block for each node and kind. */
  allocatable(): MemoryBlock[];
}

async function readState(path: string, policy: string): Promise<MemoryState | undefined> {
  try {
    const state = decodeMemoryState(await readFile(path, 'utf8'));
    if (state.policy === policy) return state;
    throw new CheckpointError(
      `[memorymanager] configured policy "${policy}" differs from state checkpoint policy "${state.policy}"`,
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new UsageError(
      `could not restore state from checkpoint: ${(error as Error).message}, please drain this node and delete the memory manager checkpoint file "${path}" before restarting Kubelet`,
      { cause: error },
    );
  }
}

/** Opens the manager. Throws UsageError where the state of an earlier run cannot be gone on with. */
export async function createMemoryManager(options: MemoryManagerOptions): Promise<MemoryManager> {
  const { nodes, policy, logger } = options;
  const isStatic = policy === 'Static';
  const path = join(options.rootDir, 'memory_manager_state');
  const before = await readState(path, policy);
  const assignments = new Map(isStatic ? before?.assignments : []);
  let writing: Promise<void> = Promise.resolve();

  const machineNow = (): MachineMemory =>
    isStatic ? occupiedMachine(nodes, options.reserved, assignments) : new Map();
  const blocksOf = (podUid: string, container: string) => assignments.get(podUid)?.get(container) ?? [];

  async function write(): Promise<void> {
    await replaceState(path, encodeMemoryState({ policy, machine: machineNow(), assignments }));
  }

  function save(): Promise<void> {
    writing = writing.catch(() => undefined).then(write);
    return writing;
  }

  function checkState(): void {
    if (before === undefined || !isStatic) return;
    if (before.machine.size === 0) {
      if (assignments.size === 0) return;
      throw new Error('[memorymanager] machine state can not be empty when it has memory assignments');
    }
    if (!isSameMachine(before.machine, machineNow())) {
      throw new Error('[memorymanager] the expected machine state is different from the real one');
    }
  }

  try {
    checkState();
  } catch (error) {
    const { message } = error as Error;
    throw new UsageError(`${message}, please drain this node and delete ${path}`, { cause: error });
  }
  await save();

  const isManaged = (pod: Pod) => isStatic && qosClassOf(pod) === 'Guaranteed' && !hasPodLevelResources(pod);

  function reusableOf(podUid: string, ended: readonly string[]): ReusableMemory {
    const blocks = ended.flatMap((name) => blocksOf(podUid, name));
    return (mask, resource) =>
      blocks
        .filter((block) => block.nodes === mask && block.resource === resource)
        .reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  const hintsFor = (request: MemoryRequest, reusable: ReusableMemory) =>
    hintsByResource(request, memoryHints(machineNow(), request, reusable));

  return {
    hints(pod, container) {
      if (!isManaged(pod)) return new Map();
      const uid = pod.metadata.uid ?? '';
      const request = memoryRequestOf(container);
      const own = assignments.get(uid)?.get(container.name);
      if (own !== undefined) return hintsOfBlocks(own, request);
      return hintsFor(request, reusableOf(uid, endedBefore(pod, container)));
    },
    podHints(pod) {
      if (!isManaged(pod)) return new Map();
      const request = podMemoryRequest(pod);
      const own = assignments.get(pod.metadata.uid ?? '');
      for (const { name } of [...(pod.spec.initContainers ?? []), ...pod.spec.containers]) {
        const blocks = own?.get(name);
        if (blocks !== undefined) return hintsOfBlocks(blocks, request);
      }
      return hintsFor(request, () => 0);
    },
    async allocate(pod, container, hint) {
      if (!isManaged(pod)) return;
      const uid = pod.metadata.uid ?? '';
      const own = assignments.get(uid) ?? new Map<string, readonly MemoryBlock[]>();
      try {
        if (!own.has(container.name)) {
          const request = memoryRequestOf(container);
          const ended = endedBefore(pod, container);
          const mask = chooseMemoryNodes(machineNow(), request, reusableOf(uid, ended), hint);
          const blocks = [...request].map(([resource, sizeBytes]) => ({ nodes: mask, resource, sizeBytes }));
          assignments.set(uid, assignMemory(own, container.name, blocks, ended));
          await save();
        }
        options.observe?.(false);
      } catch (error) {
        options.observe?.(true);
        throw error;
      }
    },
    retain(podUids) {
      const gone = [...assignments.keys()].filter((uid) => !podUids.has(uid));
      if (gone.length === 0) return;
      for (const uid of gone) assignments.delete(uid);
      save().catch((error: unknown) => logger.error({ err: error, path }, 'cannot write the state of memory'));
    },
    nodesOf(podUid, container) {
      const mask = blocksOf(podUid, container).reduce((sum, block) => sum | block.nodes, 0);
      return mask === 0 ? undefined : nodesOf(mask).join(',');
    },
    blocksOf,
    allocatable: () =>
      [...machineNow()].flatMap(([id, { tables }]) =>
        [...tables]
          .filter(([, { allocatableBytes }]) => allocatableBytes !== 0)
          .map(([resource, { allocatableBytes }]) => ({ nodes: 1 << id, resource, sizeBytes: allocatableBytes })),
      ),
  };
}
