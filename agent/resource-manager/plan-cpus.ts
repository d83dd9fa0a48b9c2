// Which NUMA nodes could serve a container with processors of its own, how many it is to have, and whether whole cores
// are left for it (pkg/kubelet/cm/cpumanager/policy_static.go). Pure.
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { milliValue } from '#kube/api/quantity.ts';
import type { CpuPolicyOptions } from './cpu-policy-options.ts';
import type { CpuTopology } from './cpu-topology.ts';
import { AllocationError } from './hint-provider.ts';
import { hasPodLevelResources } from './pod-level.ts';
import { countNodes, subsetsOf, type TopologyHint } from './topology-hint.ts';

/** How many processors the container is to have for itself; 0: none. */
export function exclusiveCount(pod: Pod, container: Container): number {
  if (qosClassOf(pod) !== 'Guaranteed' || hasPodLevelResources(pod)) return 0;
  const milli = milliValue(container.resources?.requests?.['cpu'] ?? container.resources?.limits?.['cpu']);
  return milli > 0 && milli % 1000 === 0 ? milli / 1000 : 0;
}

/** The most that the pod's containers have at once. */
export function podExclusiveCount(pod: Pod): number {
  let sidecars = 0;
  let most = 0;
  for (const container of pod.spec.initContainers ?? []) {
    const own = exclusiveCount(pod, container);
    if (isSidecar(container)) sidecars += own;
    else most = Math.max(most, sidecars + own);
  }
  return Math.max(
    most,
    pod.spec.containers.reduce((sum, container) => sum + exclusiveCount(pod, container), sidecars),
  );
}

/** The processors of a mask's nodes among the given ones. */
export function cpusInNodes({ cpus }: CpuTopology, among: ReadonlySet<number>, nodes: number): Set<number> {
  return new Set(cpus.filter(({ id, node }) => among.has(id) && (nodes & (1 << node)) !== 0).map(({ id }) => id));
}

/** How many threads each core has. */
export function threadsPerCore({ cpus }: CpuTopology): number {
  const sizes = new Map<string, number>();
  for (const { core } of cpus) sizes.set(core, (sizes.get(core) ?? 0) + 1);
  return Math.max(...sizes.values());
}

function socketsOf({ cpus }: CpuTopology, nodes: number): Set<number> {
  return new Set(cpus.filter(({ node }) => (nodes & (1 << node)) !== 0).map(({ socket }) => socket));
}

/** The nodes of all sockets that the mask touches. */
export function nodesOfSockets(topology: CpuTopology, nodes: number): number {
  const sockets = socketsOf(topology, nodes);
  return topology.cpus.reduce((mask, { socket, node }) => (sockets.has(socket) ? mask | (1 << node) : mask), 0);
}

/** What there is for a request. */
export interface CpuSupply {
  available: ReadonlySet<number>;
  /** They have to be taken: only sets of nodes that hold all of them will do. */
  reusable: ReadonlySet<number>;
}

/** The sets of nodes that have so many processors. */
export function cpuHints(
  topology: CpuTopology,
  { available, reusable }: CpuSupply,
  count: number,
  { alignBySocket }: Pick<CpuPolicyOptions, 'alignBySocket'>,
): TopologyHint[] {
  const all = topology.nodes.reduce((mask, { id }) => mask | (1 << id), 0);
  const every = new Set(topology.cpus.map(({ id }) => id));
  const free = new Set([...available].filter((id) => !reusable.has(id)));
  let narrowest = countNodes(all);
  const sets: number[] = [];
  for (const mask of subsetsOf(all)) {
    if (cpusInNodes(topology, every, mask).size >= count) narrowest = Math.min(narrowest, countNodes(mask));
    if (cpusInNodes(topology, reusable, mask).size < reusable.size) continue;
    if (reusable.size + cpusInNodes(topology, free, mask).size >= count) sets.push(mask);
  }
  const nodesPerSocket = Math.floor(countNodes(all) / Math.max(socketsOf(topology, all).size, 1));
  const fewestSockets = Math.ceil(narrowest / Math.max(nodesPerSocket, 1));
  const isPreferred = (mask: number) =>
    countNodes(mask) === narrowest ||
    (alignBySocket && nodesPerSocket > 0 && socketsOf(topology, mask).size === fewestSockets);
  return sets.map((nodes) => ({ nodes, preferred: isPreferred(nodes) }));
}

/** With full-pcpus-only: throws AllocationError where the request is not of whole cores, or too few of them are free. */
export function checkWholeCores(topology: CpuTopology, free: ReadonlySet<number>, count: number): void {
  const perCore = threadsPerCore(topology);
  if (count % perCore !== 0) {
    const text = `SMT Alignment Error: requested ${count} cpus not multiple cpus per core = ${perCore}`;
    throw new AllocationError('SMTAlignmentError', text);
  }
  const broken = new Set(topology.cpus.filter(({ id }) => !free.has(id)).map(({ core }) => core));
  const available = topology.cpus.filter(({ core }) => !broken.has(core)).length;
  if (available >= count) return;
  const text = `SMT Alignment Error: not enough free physical CPUs: available physical CPUs = ${available}, requested CPUs = ${count}, CPUs per core = ${perCore}`;
  throw new AllocationError('SMTAlignmentError', text);
}
