// What the kernel tells of processors and nodes, from a folder that looks like /sys.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { readCpuTopology } from '../../../../agent/resource-manager/cpu-topology.ts';
import { emptyMachine } from '../../../../agent/resource-manager/machine-memory.ts';

function rootOf(t: { after(run: () => void): void }, files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'sys-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    const own = join(root, 'sys/devices/system', path);
    mkdirSync(dirname(own), { recursive: true });
    writeFileSync(own, `${text}\n`);
  }
  return root;
}

const cpu = (id: number, socket: number, core: number, cache: string) => ({
  [`cpu/cpu${id}/topology/physical_package_id`]: `${socket}`,
  [`cpu/cpu${id}/topology/core_id`]: `${core}`,
  [`cpu/cpu${id}/cache/index3/shared_cpu_list`]: cache,
});

const node = (id: number, cpus: string, kiB: number, pages: number) => ({
  [`node/node${id}/cpulist`]: cpus,
  [`node/node${id}/meminfo`]: `Node ${id} MemTotal:       ${kiB} kB\nNode ${id} MemFree:        1 kB`,
  [`node/node${id}/hugepages/hugepages-2048kB/nr_hugepages`]: `${pages}`,
  [`node/node${id}/hugepages/hugepages-1048576kB/nr_hugepages`]: '0',
  [`node/node${id}/distance`]: id === 0 ? '10 21' : '21 10',
});

describe('readCpuTopology', () => {
  it('reads sockets, cores, caches, nodes, their memory, pages and distances', async (t) => {
    const root = rootOf(t, {
      'cpu/online': '0-2,5',
      ...cpu(0, 0, 0, '0-1'),
      ...cpu(1, 0, 0, '0-1'),
      ...cpu(2, 1, 0, '2,5'),
      ...cpu(5, 1, 1, '2,5'),
      ...node(0, '0-1', 4096, 1),
      ...node(1, '2,5', 8192, 0),
    });
    const topology = await readCpuTopology(0, root);
    assert.deepEqual(topology.cpus, [
      { id: 0, core: '0/0', socket: 0, node: 0, uncore: 0 },
      { id: 1, core: '0/0', socket: 0, node: 0, uncore: 0 },
      { id: 2, core: '1/0', socket: 1, node: 1, uncore: 2 },
      { id: 5, core: '1/1', socket: 1, node: 1, uncore: 2 },
    ]);
    const [first, second] = topology.nodes;
    assert.deepEqual([first?.memoryBytes, second?.memoryBytes], [4096 * 1024, 8192 * 1024]);
    assert.deepEqual(
      [first?.distances, second?.distances],
      [
        [10, 21],
        [21, 10],
      ],
    );
    assert.equal(first?.hugepages.get(2048), 2048 * 1024);
    const machine = emptyMachine(topology.nodes, new Map([[0, new Map([['memory', 1024 * 1024]])]]));
    assert.deepEqual(
      [...machine].map(([id, { tables }]) => [
        id,
        tables.get('memory')?.allocatableBytes,
        tables.get('hugepages-2Mi')?.freeBytes,
      ]),
      [
        [0, (4096 - 2048 - 1024) * 1024, 2048 * 1024],
        [1, 8192 * 1024, 0],
      ],
    );
  });

  it('takes a machine that tells no nodes for one with all the memory', async (t) => {
    const root = rootOf(t, { 'cpu/online': '0', 'cpu/cpu0/topology/physical_package_id': '-1' });
    const { cpus, nodes } = await readCpuTopology(7, root);
    assert.deepEqual(
      cpus.map(({ id, socket, node: own }) => [id, socket, own]),
      [[0, 0, 0]],
    );
    assert.deepEqual(
      nodes.map(({ id, memoryBytes }) => [id, memoryBytes]),
      [[0, 7]],
    );
  });
});
