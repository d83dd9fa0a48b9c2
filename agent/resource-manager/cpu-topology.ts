// Processors of the machine with their cores, sockets, shared caches and NUMA nodes, and the memory of the nodes; read
// from /sys once at start.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { meminfoBytes } from '../node/machine-facts.ts';
import { parseCpuSet } from './cpu-set.ts';

/** One logical processor. Cores have numbers that are unique on the machine. */
export interface Cpu {
  id: number;
  core: string;
  socket: number;
  node: number;
  /** The group that shares the last level of cache. */
  uncore: number;
}

export interface NumaNode {
  id: number;
  memoryBytes: number;
  /** Reserved huge pages in bytes, by size in KiB. */
  hugepages: ReadonlyMap<number, number>;
  /** To each node, as the firmware tells it. */
  distances: readonly number[];
}

export interface CpuTopology {
  cpus: readonly Cpu[];
  nodes: readonly NumaNode[];
}

async function text(path: string): Promise<string> {
  return readFile(path, 'utf8').then(
    (found) => found.trim(),
    () => '',
  );
}

async function readNodes(root: string): Promise<{ nodes: NumaNode[]; nodeOf: Map<number, number> }> {
  const directory = join(root, 'sys/devices/system/node');
  const nodeOf = new Map<number, number>();
  const nodes: NumaNode[] = [];
  for (const name of (await readdir(directory).catch(() => [])).sort()) {
    const id = Number(/^node(\d+)$/.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(id)) continue;
    const own = join(directory, name);
    for (const cpu of parseCpuSet(await text(join(own, 'cpulist')))) nodeOf.set(cpu, id);
    const meminfo = (await text(join(own, 'meminfo'))).replaceAll(/^Node \d+ /gm, '');
    const hugepages = new Map<number, number>();
    for (const size of await readdir(join(own, 'hugepages')).catch(() => [])) {
      const kiB = Number(/^hugepages-(\d+)kB$/.exec(size)?.[1] ?? 0);
      const count = Number((await text(join(own, 'hugepages', size, 'nr_hugepages'))) || 0);
      hugepages.set(kiB, count * kiB * 1024);
    }
    const distances = (await text(join(own, 'distance'))).split(/\s+/).map(Number);
    nodes.push({ id, memoryBytes: meminfoBytes(meminfo, 'MemTotal'), hugepages, distances });
  }
  return { nodes: nodes.sort((a, b) => a.id - b.id), nodeOf };
}

/** Reads the topology. `root` is / but in tests. A machine that tells no nodes has one. */
export async function readCpuTopology(memoryBytes: number, root = '/'): Promise<CpuTopology> {
  const directory = join(root, 'sys/devices/system/cpu');
  const { nodes, nodeOf } = await readNodes(root);
  const online = parseCpuSet(await text(join(directory, 'online')));
  const cpus: Cpu[] = [];
  for (const id of online) {
    const own = join(directory, `cpu${id}`);
    const socket = Math.max(Number((await text(join(own, 'topology/physical_package_id'))) || 0), 0);
    const core = (await text(join(own, 'topology/core_id'))) || `${id}`;
    const shared = await text(join(own, 'cache/index3/shared_cpu_list'));
    const uncore = Math.min(...(shared === '' ? [-1 - socket] : parseCpuSet(shared)));
    cpus.push({ id, core: `${socket}/${core}`, socket, node: nodeOf.get(id) ?? 0, uncore });
  }
  const all = nodes.length > 0 ? nodes : [{ id: 0, memoryBytes, hugepages: new Map(), distances: [10] }];
  return { cpus: cpus.sort((a, b) => a.id - b.id), nodes: all };
}
