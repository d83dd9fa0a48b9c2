// Hints about NUMA nodes: which sets of nodes could serve a container, and the set that serves all its resources best
// (pkg/kubelet/cm/topologymanager). Sets of nodes are bit masks. Pure.

/** One way to serve a request. */
export interface TopologyHint {
  /** Bit i stands for node i; undefined: any. */
  nodes: number | undefined;
  preferred: boolean;
}

/** Hints by resource; undefined: no preference; an empty list: it cannot be served. */
export type ResourceHints = ReadonlyMap<string, readonly TopologyHint[] | undefined>;

export type TopologyPolicy = 'none' | 'best-effort' | 'restricted' | 'single-numa-node';

export interface TopologyOptions {
  /** Nodes of the machine as a mask. */
  all: number;
  /** prefer-closest-numa-nodes: of sets of the same size the one whose nodes are nearest to each other. */
  distance?: ((nodes: number) => number) | undefined;
}

export function countNodes(mask: number): number {
  let count = 0;
  for (let rest = mask >>> 0; rest > 0; rest &= rest - 1) count += 1;
  return count;
}

/** All sets of nodes out of `all` that are not empty, in rising order of their masks. */
export function subsetsOf(all: number): number[] {
  const subsets: number[] = [];
  for (let mask = all; mask > 0; mask = (mask - 1) & all) subsets.push(mask);
  return subsets.reverse();
}

/** Fewer nodes first; of as many, those with lower numbers. */
export function isNarrower(a: number, b: number): boolean {
  const [x, y] = [countNodes(a), countNodes(b)];
  return x === y ? a < b : x < y;
}

function nearer(a: number, b: number, { distance }: TopologyOptions): boolean {
  const [x, y] = [countNodes(a), countNodes(b)];
  if (x !== y) return x < y;
  if (distance === undefined) return a < b;
  const [p, q] = [distance(a), distance(b)];
  return p === q ? a < b : p < q;
}

/** Each provider's resources as a list of alternatives. */
function alternatives(providers: readonly ResourceHints[]): (readonly TopologyHint[])[] {
  const lists: (readonly TopologyHint[])[] = [];
  for (const hints of providers) {
    if (hints.size === 0) lists.push([{ nodes: undefined, preferred: true }]);
    for (const list of hints.values()) {
      if (list === undefined) lists.push([{ nodes: undefined, preferred: true }]);
      else lists.push(list.length === 0 ? [{ nodes: undefined, preferred: false }] : list);
    }
  }
  return lists;
}

function combinations(lists: readonly (readonly TopologyHint[])[], visit: (hints: TopologyHint[]) => void): void {
  const chosen: TopologyHint[] = [];
  const next = (index: number): void => {
    const list = lists[index];
    if (list === undefined) {
      visit(chosen);
      return;
    }
    for (const hint of list) {
      chosen.push(hint);
      next(index + 1);
      chosen.pop();
    }
  };
  next(0);
}

function mergeOne(hints: readonly TopologyHint[], all: number): { nodes: number; preferred: boolean } {
  const sets = hints.flatMap(({ nodes }) => nodes ?? []);
  // All have to want the same set: one that is merely common to theirs nobody prefers.
  const preferred = hints.every((hint) => hint.preferred) && sets.every((nodes) => nodes === sets[0]);
  return { nodes: sets.reduce((mask, nodes) => mask & nodes, all), preferred };
}

/** The most nodes that any resource needs at the least: no set of fewer nodes can be the best for all. */
function leastForAll(lists: readonly (readonly TopologyHint[])[], all: number): number {
  let most = 1;
  for (const list of lists) {
    const preferred = list.filter(({ preferred: is, nodes }) => is && nodes !== undefined);
    if (preferred.length === 0) continue;
    most = Math.max(most, Math.min(...preferred.map(({ nodes = all }) => countNodes(nodes))));
  }
  return most;
}

function isBetter(
  candidate: { nodes: number; preferred: boolean },
  best: { nodes: number; preferred: boolean } | undefined,
  least: number,
  options: TopologyOptions,
): boolean {
  if (candidate.nodes === 0) return false;
  if (best === undefined) return true;
  if (candidate.preferred !== best.preferred) return candidate.preferred;
  if (candidate.preferred) return nearer(candidate.nodes, best.nodes, options);
  // Of those nobody prefers: as near to what the greediest needs as can be.
  const [own, other] = [countNodes(candidate.nodes), countNodes(best.nodes)];
  if (other > least) return own < other || (own === other && nearer(candidate.nodes, best.nodes, options));
  if (other === least) return own === least && nearer(candidate.nodes, best.nodes, options);
  if (own > least) return false;
  return own > other || (own === other && nearer(candidate.nodes, best.nodes, options));
}

/** The hint for the container, and whether it may run with it. */
export function mergeHints(
  policy: TopologyPolicy,
  providers: readonly ResourceHints[],
  options: TopologyOptions,
): { hint: TopologyHint; admit: boolean } {
  // Nobody asks for anything to be preferred then.
  if (policy === 'none') return { hint: { nodes: undefined, preferred: false }, admit: true };
  const { all } = options;
  let lists = alternatives(providers);
  if (policy === 'single-numa-node') {
    lists = lists.map((list) =>
      list.filter(({ nodes, preferred }) => preferred && (nodes === undefined || countNodes(nodes) === 1)),
    );
  }
  const least = leastForAll(lists, all);
  let best: { nodes: number; preferred: boolean } | undefined;
  combinations(lists, (hints) => {
    const merged = mergeOne(hints, all);
    if (isBetter(merged, best, least, options)) best = merged;
  });
  const found = best ?? { nodes: all, preferred: false };
  if (policy === 'single-numa-node') {
    return {
      hint: { nodes: found.nodes === all ? undefined : found.nodes, preferred: found.preferred },
      admit: found.preferred,
    };
  }
  return { hint: found, admit: policy === 'best-effort' || found.preferred };
}

/** The narrowest sets are preferred: marks those among all the sets that could serve. */
export function hintsOf(sets: readonly number[], narrowest: number): TopologyHint[] {
  return [...sets]
    .sort((a, b) => (isNarrower(a, b) ? -1 : 1))
    .map((nodes) => ({ nodes, preferred: countNodes(nodes) === narrowest }));
}
