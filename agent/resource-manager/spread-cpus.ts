// distribute-cpus-across-numa: as many processors of each of as few NUMA nodes as can serve the request, what is left
// over taken so that the nodes stay as evenly free as can be (pkg/kubelet/cm/cpumanager/cpu_assignment.go:
// takeByTopologyNUMADistributed). Pure.

/** Takes so many of the given processors of one node, the best together. */
export type TakeOfNode = (node: number, taken: ReadonlySet<number>, count: number) => readonly number[];

export interface SpreadRequest {
  /** Free processors by node. */
  free: ReadonlyMap<number, readonly number[]>;
  /** Nodes and processors of the whole machine. */
  machine: { nodes: number; cpus: number };
  count: number;
  /** Processors are given in groups of so many: whole cores, or single ones. */
  groupSize: number;
}

/** Which nodes give how many in rounds of the group's size, after each has given the same. */
interface SpreadPlan {
  nodes: readonly number[];
  remainder: readonly number[];
}

function* combinations<T>(items: readonly T[], size: number, from = 0): Generator<T[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (let index = from; index <= items.length - size; index += 1) {
    const item = items[index];
    if (item === undefined) continue;
    for (const rest of combinations(items, size - 1, index + 1)) yield [item, ...rest];
  }
}

/** How unevenly the nodes are free: the standard deviation, to a thousandth. */
function imbalance(left: ReadonlyMap<number, number>): number {
  const values = [...left.values()];
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return Math.round(Math.sqrt(variance) * 1000) / 1000;
}

/** Takes the rest in rounds. Undefined where these nodes do not have it. */
function withoutRest(
  left: ReadonlyMap<number, number>,
  subset: readonly number[],
  rest: number,
  groupSize: number,
): Map<number, number> | undefined {
  const after = new Map(left);
  let missing = rest;
  while (missing > 0) {
    const before = missing;
    for (const node of subset) {
      const has = after.get(node) ?? 0;
      if (missing === 0 || has < groupSize) continue;
      after.set(node, has - groupSize);
      missing -= groupSize;
    }
    if (missing === before) return undefined;
  }
  return after;
}

/** The best subset of nodes for the rest, and how evenly free the machine is then. */
function planRest(
  left: ReadonlyMap<number, number>,
  nodes: readonly number[],
  rest: number,
  groupSize: number,
): { balance: number; remainder: number[] } | undefined {
  if (rest === 0) return { balance: imbalance(left), remainder: [] };
  const able = nodes.filter((node) => (left.get(node) ?? 0) >= groupSize);
  let best: { balance: number; remainder: number[] } | undefined;
  for (let size = able.length; size >= 1; size -= 1) {
    for (const remainder of combinations(able, size)) {
      const after = withoutRest(left, remainder, rest, groupSize);
      if (after === undefined) continue;
      const balance = imbalance(after);
      if (best === undefined || balance < best.balance) best = { balance, remainder };
    }
  }
  return best;
}

function planNodes(request: SpreadRequest, names: readonly number[], size: number): SpreadPlan | undefined {
  const { free, count, groupSize } = request;
  const freeOf = (node: number) => free.get(node)?.length ?? 0;
  const each = Math.floor(count / size / groupSize) * groupSize;
  let best: (SpreadPlan & { balance: number }) | undefined;
  for (const nodes of combinations(names, size)) {
    if (best?.balance === 0) break;
    const groups = nodes.reduce((sum, node) => sum + Math.floor(freeOf(node) / groupSize), 0);
    if (groups * groupSize < count || nodes.some((node) => freeOf(node) < each)) continue;
    const left = new Map(names.map((node) => [node, freeOf(node) - (nodes.includes(node) ? each : 0)]));
    const rest = planRest(left, nodes, count - each * size, groupSize);
    if (rest !== undefined && (best === undefined || rest.balance < best.balance)) best = { nodes, ...rest };
  }
  return best;
}

/** The processors, or undefined where they cannot be spread: then they are packed. */
export function spreadCpus(request: SpreadRequest, take: TakeOfNode): number[] | undefined {
  const { free, count, groupSize, machine } = request;
  if (count % groupSize !== 0) return undefined;
  const names = [...free.keys()].sort((a, b) => (free.get(a)?.length ?? 0) - (free.get(b)?.length ?? 0) || a - b);
  const groups = Math.ceil(count / groupSize);
  const groupsPerNode = Math.ceil(Math.ceil(machine.cpus / groupSize) / machine.nodes);
  const [fewest, most] = [Math.ceil(groups / groupsPerNode), Math.min(groups, names.length)];
  for (let size = fewest; size <= most; size += 1) {
    const plan = planNodes(request, names, size);
    if (plan === undefined) continue;
    const taken = new Set<number>();
    const takeFrom = (node: number, amount: number) => {
      for (const cpu of take(node, taken, amount)) taken.add(cpu);
    };
    for (const node of plan.nodes) takeFrom(node, Math.floor(count / size / groupSize) * groupSize);
    while (taken.size < count) {
      for (const node of plan.remainder) {
        const left = (free.get(node) ?? []).filter((cpu) => !taken.has(cpu)).length;
        if (taken.size < count && left >= groupSize) takeFrom(node, groupSize);
      }
    }
    return [...taken];
  }
  return undefined;
}
