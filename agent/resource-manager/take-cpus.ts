// Which processors a container gets for itself: whole sockets and NUMA nodes first, then whole shared caches, then
// whole cores, then single ones, those next to what is in use before others (pkg/kubelet/cm/cpumanager/
// cpu_assignment.go). Pure.
import type { Cpu } from './cpu-topology.ts';
import { spreadCpus } from './spread-cpus.ts';

export interface TakeOptions {
  /** prefer-align-cpus-by-uncorecache. */
  alignUncore?: boolean;
  /** distribute-cpus-across-cores. */
  acrossCores?: boolean;
  /** distribute-cpus-across-numa. */
  acrossNodes?: boolean;
  /** full-pcpus-only: what is spread over nodes is spread in whole cores. */
  wholeCores?: boolean;
}

function groupBy<K>(cpus: readonly Cpu[], key: (cpu: Cpu) => K): Map<K, Cpu[]> {
  const groups = new Map<K, Cpu[]>();
  for (const cpu of cpus) groups.set(key(cpu), [...(groups.get(key(cpu)) ?? []), cpu]);
  return groups;
}

/** Groups none of whose processors is in use, those of the fullest neighbourhood first. */
function freeGroups(all: readonly Cpu[], free: readonly Cpu[], key: (cpu: Cpu) => string | number): Cpu[][] {
  const sizes = groupBy(all, key);
  const inSocket = groupBy(free, ({ socket }) => socket);
  const left = ([first]: readonly Cpu[]) => inSocket.get(first?.socket ?? 0)?.length ?? 0;
  return [...groupBy(free, key)]
    .filter(([name, group]) => group.length === sizes.get(name)?.length)
    .map(([, group]) => group)
    .sort((a, b) => left(a) - left(b) || (a[0]?.id ?? 0) - (b[0]?.id ?? 0));
}

function takePacked(all: readonly Cpu[], available: readonly Cpu[], count: number, options: TakeOptions): Cpu[] {
  const taken: Cpu[] = [];
  let free = [...available];
  const take = (group: readonly Cpu[]) => {
    taken.push(...group);
    free = free.filter((cpu) => !group.includes(cpu));
  };
  const levels: ((cpu: Cpu) => string | number)[] = [
    ({ socket }) => socket,
    ({ node }) => node,
    ...(options.alignUncore === true ? [({ uncore }: Cpu) => uncore] : []),
    ...(options.acrossCores === true ? [] : [({ core }: Cpu) => core]),
  ];
  for (const level of levels) {
    for (const group of freeGroups(all, free, level)) if (group.length <= count - taken.length) take(group);
  }
  // One cache that has all that is still missing is better than parts of two.
  if (options.alignUncore === true && taken.length < count) {
    const missing = count - taken.length;
    const fitting = [...groupBy(free, ({ uncore }) => uncore).values()].filter((group) => group.length >= missing);
    const [best] = fitting.sort((a, b) => a.length - b.length);
    if (best !== undefined) take(takeSingles(best, taken, missing, options));
  }
  take(takeSingles(free, taken, count - taken.length, options));
  return taken;
}

function takeSingles(free: readonly Cpu[], taken: readonly Cpu[], count: number, { acrossCores }: TakeOptions): Cpu[] {
  if (count <= 0) return [];
  const inSocket = groupBy(free, ({ socket }) => socket);
  const inCore = groupBy(free, ({ core }) => core);
  const near = new Set(taken.map(({ socket }) => socket));
  const rank = (cpu: Cpu) => [
    near.has(cpu.socket) ? 0 : 1,
    inSocket.get(cpu.socket)?.length ?? 0,
    // The first of each core before the second of any, where they are to be spread.
    acrossCores === true ? (inCore.get(cpu.core)?.indexOf(cpu) ?? 0) : (inCore.get(cpu.core)?.length ?? 0),
    cpu.id,
  ];
  const ranked = free.map((cpu) => ({ cpu, rank: rank(cpu) }));
  ranked.sort((a, b) => {
    for (const [index, value] of a.rank.entries()) {
      const other = b.rank[index] ?? 0;
      if (value !== other) return value - other;
    }
    return 0;
  });
  return ranked.slice(0, count).map(({ cpu }) => cpu);
}

function takeSpread(all: readonly Cpu[], free: readonly Cpu[], count: number, options: TakeOptions): Cpu[] | undefined {
  const byNode = groupBy(free, ({ node }) => node);
  const perCore = () => Math.max(...[...groupBy(all, ({ core }) => core).values()].map((core) => core.length));
  const request = {
    free: new Map([...byNode].map(([node, cpus]) => [node, cpus.map(({ id }) => id)])),
    machine: { nodes: new Set(all.map(({ node }) => node)).size, cpus: all.length },
    count,
    groupSize: options.wholeCores === true ? perCore() : 1,
  };
  const ids = spreadCpus(request, (node, taken, amount) => {
    const left = (byNode.get(node) ?? []).filter(({ id }) => !taken.has(id));
    return takePacked(all, left, amount, options).map(({ id }) => id);
  });
  return ids === undefined ? undefined : free.filter(({ id }) => ids.includes(id));
}

/** Takes so many of the free ones. Throws where there are too few; the message is the pod's. */
export function takeCpus(
  all: readonly Cpu[],
  free: ReadonlySet<number>,
  count: number,
  options: TakeOptions,
): number[] {
  const available = all.filter(({ id }) => free.has(id));
  if (available.length < count) {
    throw new Error(`not enough cpus available to satisfy request: requested=${count}, available=${available.length}`);
  }
  const spread = options.acrossNodes === true ? takeSpread(all, available, count, options) : undefined;
  const taken = spread ?? takePacked(all, available, count, options);
  return taken.map(({ id }) => id).sort((a, b) => a - b);
}
