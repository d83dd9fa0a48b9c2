// On which NUMA nodes a container's memory and huge pages come to lie (pkg/kubelet/cm/memorymanager/policy_static.go),
// and what earlier init containers leave to it. Pure.
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import { type MachineMemory, type MemoryBlock, nodesOf } from './machine-memory.ts';
import { countNodes, isNarrower, type ResourceHints, subsetsOf, type TopologyHint } from './topology-hint.ts';

/** Bytes by resource. */
export type MemoryRequest = ReadonlyMap<string, number>;

/** Bytes that may be used again on exactly these nodes. */
export type ReusableMemory = (nodes: number, resource: string) => number;

const isMemory = (resource: string) => resource === 'memory' || resource.startsWith('hugepages-');

/** Memory and huge pages that the container asks for. */
export function memoryRequestOf({ resources }: Container): MemoryRequest {
  const wanted = { ...resources?.limits, ...resources?.requests };
  return new Map(
    Object.entries(wanted)
      .filter(([resource]) => isMemory(resource))
      .map(([resource, amount]): [string, number] => [resource, quantityValue(amount)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** The most that the pod's containers have at once. */
export function podMemoryRequest(pod: Pod): MemoryRequest {
  const sidecars = new Map<string, number>();
  const init = new Map<string, number>();
  for (const container of pod.spec.initContainers ?? []) {
    for (const [resource, bytes] of memoryRequestOf(container)) {
      const before = sidecars.get(resource) ?? 0;
      if (isSidecar(container)) sidecars.set(resource, before + bytes);
      else init.set(resource, Math.max(init.get(resource) ?? 0, before + bytes));
    }
  }
  const sum = new Map<string, number>();
  for (const container of pod.spec.containers) {
    for (const [resource, bytes] of memoryRequestOf(container)) sum.set(resource, (sum.get(resource) ?? 0) + bytes);
  }
  return new Map(
    [...sum].map(([resource, bytes]) => [
      resource,
      Math.max(bytes + (sidecars.get(resource) ?? 0), init.get(resource) ?? 0),
    ]),
  );
}

function sumIn(machine: MachineMemory, mask: number, resource: string, field: 'allocatableBytes' | 'freeBytes') {
  return nodesOf(mask).reduce((sum, id) => sum + (machine.get(id)?.tables.get(resource)?.[field] ?? 0), 0);
}

/** A node is used alone, or together with one and the same group. */
function mayGroup(machine: MachineMemory, mask: number): boolean {
  return nodesOf(mask).every((id) => {
    const node = machine.get(id);
    if (node === undefined) return false;
    if (countNodes(mask) === 1) return countNodes(node.group) === 1;
    return node.assignments === 0 || node.group === mask;
  });
}

/** The sets of nodes that could serve the request, the same for every resource; empty where none can. */
export function memoryHints(machine: MachineMemory, request: MemoryRequest, reusable: ReusableMemory): TopologyHint[] {
  const all = [...machine.keys()].reduce((mask, id) => mask | (1 << id), 0);
  const holds = (mask: number, field: 'allocatableBytes' | 'freeBytes', more: ReusableMemory) =>
    [...request].every(([resource, bytes]) => sumIn(machine, mask, resource, field) + more(mask, resource) >= bytes);
  let narrowest = machine.size;
  const sets: number[] = [];
  for (const mask of subsetsOf(all)) {
    if (!holds(mask, 'allocatableBytes', () => 0)) continue;
    narrowest = Math.min(narrowest, countNodes(mask));
    if (mayGroup(machine, mask) && holds(mask, 'freeBytes', reusable)) sets.push(mask);
  }
  return sets.map((nodes) => ({ nodes, preferred: countNodes(nodes) === narrowest }));
}

/** The hints for each resource; without any: none. */
export function hintsByResource(request: MemoryRequest, hints: readonly TopologyHint[]): ResourceHints {
  return hints.length === 0 ? new Map() : new Map([...request.keys()].map((resource) => [resource, hints]));
}

/** The hints of what a container has already; none where that is not what it asks for. */
export function hintsOfBlocks(blocks: readonly MemoryBlock[], request: MemoryRequest): ResourceHints {
  const fits =
    blocks.length === request.size && blocks.every(({ resource, sizeBytes }) => request.get(resource) === sizeBytes);
  if (!fits) return new Map();
  return new Map(blocks.map(({ resource, nodes }) => [resource, [{ nodes, preferred: true }]]));
}

function bestOf(hints: readonly TopologyHint[]): TopologyHint | undefined {
  let best: TopologyHint | undefined;
  for (const hint of hints) {
    const isBetter =
      best === undefined ||
      (hint.preferred && !best.preferred) ||
      (hint.preferred === best.preferred && isNarrower(hint.nodes ?? 0, best.nodes ?? 0));
    if (isBetter) best = hint;
  }
  return best;
}

/** Chooses the nodes; `hint` is what the topology manager says. Throws where none will do; the message is the pod's. */
export function chooseMemoryNodes(
  machine: MachineMemory,
  request: MemoryRequest,
  reusable: ReusableMemory,
  hint: TopologyHint,
): number {
  let { nodes, preferred } = hint;
  if (nodes === undefined) {
    const best = bestOf(memoryHints(machine, request, reusable));
    if (best?.nodes === undefined) {
      throw new Error(
        '[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available',
      );
    }
    if (preferred && !best.preferred) throw new Error('[memorymanager] failed to find the default preferred hint');
    ({ nodes, preferred } = { nodes: best.nodes, preferred: best.preferred });
  }
  const near = nodes;
  const isEnough = [...request].every(([resource, bytes]) => sumIn(machine, near, resource, 'freeBytes') >= bytes);
  if (!isEnough) {
    const wider = memoryHints(machine, request, reusable).filter((item) => ((item.nodes ?? 0) & near) === near);
    const best = bestOf(wider);
    if (best?.nodes === undefined) {
      throw new Error('[memorymanager] failed to find NUMA nodes to extend the current topology hint');
    }
    if (preferred && !best.preferred) throw new Error('[memorymanager] failed to find the extended preferred hint');
    nodes = best.nodes;
  }
  const isLone = countNodes(nodes) === 1;
  if (!isLone && !mayGroup(machine, nodes)) {
    throw new Error('[memorymanager] preferred hint violates NUMA node allocation');
  }
  return nodes;
}

/** Ended init containers before this one: those whose memory it may have. */
export function endedBefore(pod: Pod, container: Container): string[] {
  const inits = pod.spec.initContainers ?? [];
  const index = inits.findIndex(({ name }) => name === container.name);
  const before = index === -1 ? inits : inits.slice(0, index);
  return before.filter((init) => !isSidecar(init)).map(({ name }) => name);
}

/**
 * The pod's blocks with those of one more container, which takes over what ended init containers have on the same nodes:
 * the sum of all blocks stays what the pod has in all.
 */
export function assignMemory(
  own: ReadonlyMap<string, readonly MemoryBlock[]>,
  container: string,
  blocks: readonly MemoryBlock[],
  ended: readonly string[],
): Map<string, readonly MemoryBlock[]> {
  const result = new Map(own);
  for (const { nodes, resource, sizeBytes } of blocks) {
    let left = sizeBytes;
    for (const name of ended) {
      const reduced = (result.get(name) ?? []).map((block) => {
        if (block.resource !== resource || block.nodes !== nodes) return block;
        const taken = Math.min(block.sizeBytes, left);
        left -= taken;
        return { ...block, sizeBytes: block.sizeBytes - taken };
      });
      if (reduced.length > 0) result.set(name, reduced);
    }
  }
  result.set(container, blocks);
  return result;
}
