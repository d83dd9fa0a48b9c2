// Options and states of the CPU manager, and how it fits into the topology manager, on machines that are only described.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { createCpuManager } from '../../../../agent/resource-manager/cpu-manager.ts';
import { checkCpuPolicyOptions, parseCpuPolicyOptions } from '../../../../agent/resource-manager/cpu-policy-options.ts';
import { formatCpuSet, parseCpuSet } from '../../../../agent/resource-manager/cpu-set.ts';
import { encodeCpuState } from '../../../../agent/resource-manager/cpu-state.ts';
import type { CpuTopology } from '../../../../agent/resource-manager/cpu-topology.ts';
import { cpuHints, podExclusiveCount } from '../../../../agent/resource-manager/plan-cpus.ts';
import { createResourceManager } from '../../../../agent/resource-manager/resource-manager.ts';
import { type TakeOptions, takeCpus } from '../../../../agent/resource-manager/take-cpus.ts';
import type { TopologyPolicy } from '../../../../agent/resource-manager/topology-hint.ts';
import { parseTopologyOptions } from '../../../../agent/resource-manager/topology-options.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { container, podOf } from '../fixtures.ts';

const signal = new AbortController().signal;

interface Shape {
  sockets: number;
  nodesPerSocket: number;
  coresPerNode: number;
  threads: number;
  coresPerCache: number;
}

/** The second threads of all cores come after all first ones, as Linux numbers them. */
function machineOf({ sockets, nodesPerSocket, coresPerNode, threads, coresPerCache }: Shape): CpuTopology {
  const nodes = sockets * nodesPerSocket;
  const cores = nodes * coresPerNode;
  return {
    cpus: Array.from({ length: cores * threads }, (_, id) => {
      const core = id % cores;
      const node = Math.floor(core / coresPerNode);
      const socket = Math.floor(node / nodesPerSocket);
      return { id, core: `${socket}/${core}`, socket, node, uncore: Math.floor(core / coresPerCache) };
    }),
    nodes: Array.from({ length: nodes }, (_, id) => ({ id, memoryBytes: 0, hugepages: new Map(), distances: [] })),
  };
}

/** 16 processors in two sockets of one node each: core n has the threads n and n + 8; caches of two cores. */
const plain = machineOf({ sockets: 2, nodesPerSocket: 1, coresPerNode: 4, threads: 2, coresPerCache: 2 });
/** 16 processors in two sockets of two nodes each, with one thread a core. */
const wide = machineOf({ sockets: 2, nodesPerSocket: 2, coresPerNode: 4, threads: 1, coresPerCache: 4 });

interface OpenOptions {
  options?: Record<string, string>;
  topology?: CpuTopology;
  policy?: 'none' | 'static';
  topologyPolicy?: TopologyPolicy;
  scope?: 'container' | 'pod';
  reservedCpus?: string;
  rootDir?: string;
}

async function open(t: { after(run: () => void): void }, given: OpenOptions = {}) {
  const { options = {}, topology = plain, policy = 'static', topologyPolicy = 'none' } = given;
  const rootDir = given.rootDir ?? mkdtempSync(join(tmpdir(), 'cpus-'));
  if (given.rootDir === undefined) t.after(() => rmSync(rootDir, { recursive: true }));
  const asked: boolean[] = [];
  const cpus = await createCpuManager({
    ...{ rootDir, policy, topology, reservedCpus: given.reservedCpus ?? '0', reservedMilli: 1000 },
    options: parseCpuPolicyOptions(policy, options, { CPUManagerPolicyAlphaOptions: 'true' }),
    runtime: { updateContainerResources: async () => undefined },
    runtimes: () => [],
    reconcileMs: 10_000,
    observe: (failed) => asked.push(failed),
    clock: createFakeClock(0),
    logger: pino({ level: 'silent' }),
  });
  const manager = createResourceManager({
    providers: [cpus],
    policy: topologyPolicy,
    scope: given.scope ?? 'container',
    topology: { all: 2 ** topology.nodes.length - 1 },
    running: () => [],
  });
  const kept: Pod[] = [];
  return {
    cpus,
    rootDir,
    asked,
    path: join(rootDir, 'cpu_manager_state'),
    /** What the pod's container gets, or why it gets nothing. */
    async ask(uid: string, count: number): Promise<string> {
      const pod = guaranteed(uid, `${count}`);
      const rejection = await manager.admit(pod, kept, signal);
      if (rejection !== undefined) return rejection.reason;
      kept.push(pod);
      return cpus.cpusOf(uid, 'c') ?? '';
    },
    async admit(pod: Pod) {
      const rejection = await manager.admit(pod, kept, signal);
      if (rejection === undefined) kept.push(pod);
      return rejection;
    },
  };
}

function sized(name: string, cpu: string, extra: Partial<Container> = {}): Container {
  const amounts = { cpu, memory: '1Mi' };
  return container(name, { resources: { limits: amounts, requests: amounts }, ...extra });
}

const guaranteed = (uid: string, cpu: string) => podOf({ containers: [sized('c', cpu)] }, { uid, name: uid });

describe('options of the static CPU policy', () => {
  const on = (...names: string[]) => Object.fromEntries(names.map((name) => [name, 'true']));
  const cases: [string, OpenOptions, number[], string[]][] = [
    ['no option: whole cores, then single threads', {}, [2, 1, 1], ['1,9', '8', '2']],
    ['full-pcpus-only: whole cores', { options: on('full-pcpus-only') }, [2, 4], ['1,9', '2-3,10-11']],
    ['full-pcpus-only: no part of a core', { options: on('full-pcpus-only') }, [3], ['SMTAlignmentError']],
    [
      'full-pcpus-only: the other thread of a reserved processor is no whole core',
      { options: on('full-pcpus-only') },
      [14, 2],
      ['1-7,9-15', 'SMTAlignmentError'],
    ],
    ['distribute-cpus-across-cores: one thread of each', { options: on('distribute-cpus-across-cores') }, [3], ['1-3']],
    [
      'strict-cpu-reservation: others stay off reserved processors',
      { options: on('strict-cpu-reservation'), reservedCpus: '0,8' },
      [2],
      ['1,9'],
    ],
    [
      'prefer-align-cpus-by-uncorecache: what shares a cache',
      { options: on('prefer-align-cpus-by-uncorecache') },
      [4],
      ['2-3,10-11'],
    ],
    [
      'prefer-align-cpus-by-uncorecache: parts of caches where no whole one is left',
      { options: on('prefer-align-cpus-by-uncorecache') },
      [12, 3],
      ['2-7,10-15', '1,8-9'],
    ],
    ['without a topology policy: packed', { topology: wide }, [6], ['4-7,1-2']],
    [
      'distribute-cpus-across-numa: as many of each node',
      { topology: wide, options: on('distribute-cpus-across-numa') },
      [6],
      ['4-6,8-10'],
    ],
    [
      'align-by-socket: nodes of one socket before those of another',
      { topology: wide, options: on('align-by-socket'), topologyPolicy: 'restricted', reservedCpus: '0,4' },
      [6, 8],
      ['1-3,5-7', '8-15'],
    ],
  ];
  for (const [what, options, counts, expected] of cases) {
    it(what, async (t) => {
      const node = await open(t, options);
      const got: string[] = [];
      for (const [index, count] of counts.entries()) got.push(await node.ask(`pod-${index}`, count));
      const sorted = (text: string) =>
        text.includes('Error') ? text : [...parseCpuSet(text)].sort((a, b) => a - b).join(' ');
      assert.deepEqual(got.map(sorted), expected.map(sorted));
    });
  }

  it('leave reserved processors to shared containers, unless the reservation is strict', async (t) => {
    assert.equal((await open(t)).cpus.cpusOf('any', 'c'), '0-15');
    const strict = await open(t, { options: on('strict-cpu-reservation') });
    assert.equal(strict.cpus.cpusOf('any', 'c'), '1-15');
  });

  const refused: [string, Record<string, string>, Record<string, string>, string][] = [
    ['unknown ones', on('fast'), {}, 'new static policy error: unknown CPU Manager Policy option: "fast"'],
    [
      'values that are no truth',
      { 'full-pcpus-only': 'yes' },
      {},
      'new static policy error: bad value for option "full-pcpus-only": strconv.ParseBool: parsing "yes": invalid syntax',
    ],
    [
      'alpha ones without their feature',
      on('align-by-socket'),
      {},
      'new static policy error: CPU Manager Policy Alpha-level Options not enabled, but option "align-by-socket" provided',
    ],
    [
      'beta ones without their feature',
      on('distribute-cpus-across-numa'),
      { CPUManagerPolicyBetaOptions: 'false' },
      'new static policy error: CPU Manager Policy Beta-level Options not enabled, but option "distribute-cpus-across-numa" provided',
    ],
    ...[
      ['full-pcpus-only', 'distribute-cpus-across-cores'],
      ['distribute-cpus-across-numa', 'distribute-cpus-across-cores'],
      ['prefer-align-cpus-by-uncorecache', 'distribute-cpus-across-cores'],
      ['prefer-align-cpus-by-uncorecache', 'distribute-cpus-across-numa'],
    ].map(([a = '', b = '']): [string, Record<string, string>, Record<string, string>, string] => [
      `${a} with ${b}`,
      on(a, b),
      { CPUManagerPolicyAlphaOptions: 'true' },
      `new static policy error: static policy options ${a} and ${b} can not be used at the same time`,
    ]),
  ];
  for (const [what, options, gates, message] of refused) {
    it(`refuse ${what}`, () => {
      assert.throws(() => parseCpuPolicyOptions('static', options, gates), { message });
    });
  }

  it('are refused without the static policy, and where machine or topology do not go with them', () => {
    assert.throws(() => parseCpuPolicyOptions('none', on('full-pcpus-only'), {}), {
      message: 'new none policy error: None policy: received unsupported options=map[full-pcpus-only:true]',
    });
    const gates = { CPUManagerPolicyAlphaOptions: 'true' };
    const sockets = parseCpuPolicyOptions('static', on('align-by-socket'), gates);
    assert.throws(() => checkCpuPolicyOptions(sockets, wide, 'single-numa-node'), /incompatible with CPUManager/);
    const odd = { ...wide, cpus: wide.cpus.map((cpu) => ({ ...cpu, node: 0 })) };
    assert.throws(() => checkCpuPolicyOptions(sockets, odd, 'restricted'), /Align by socket is not compatible/);
    checkCpuPolicyOptions(sockets, wide, 'restricted');
  });
});

/** Machines of the reference's own cases, and what it takes of them. */
describe('takeCpus as the reference takes', () => {
  const machine = (
    count: number,
    describeCpu: (id: number) => { core: number; socket: number; node: number },
  ): CpuTopology['cpus'] =>
    Array.from({ length: count }, (_, id) => {
      const { core, socket, node } = describeCpu(id);
      return { id, core: `${socket}/${core}`, socket, node, uncore: socket };
    });
  const single = machine(8, (id) => ({ core: id % 4, socket: 0, node: 0 }));
  const dual = machine(12, (id) => ({ core: id % 6, socket: id % 2, node: id % 2 }));
  const quad = machine(80, (id) => ({
    core: id % 40,
    socket: Math.floor((id % 40) / 20),
    node: Math.floor((id % 40) / 10),
  }));
  const spread = { acrossNodes: true };
  const groups = { acrossNodes: true, wholeCores: true };
  const evenly = '0-8,10-18,20-39,40-48,50-58,60-79';
  const cases: [CpuTopology['cpus'], string, number, TakeOptions, string][] = [
    [single, '0-7', 0, {}, ''],
    [single, '0-7', 1, {}, '0'],
    [single, '1,3,5-7', 1, {}, '6'],
    [single, '0-7', 2, {}, '0,4'],
    [single, '0-7', 8, {}, '0-7'],
    [single, '0-3,6', 2, {}, '2,6'],
    [dual, '1-5,7-11', 1, {}, '2'],
    [dual, '0-11', 6, {}, '0,2,4,6,8,10'],
    [dual, '0-11', 8, {}, '0-2,4,6-8,10'],
    [quad, '0-79', 40, {}, '0-19,40-59'],
    [quad, '0-79', 20, {}, '0-9,40-49'],
    [quad, '10-39,50-79', 20, {}, '10-19,50-59'],
    [quad, '0-79', 60, {}, '0-29,40-69'],
    [quad, '1-39,41-79', 60, {}, '10-39,50-79'],
    [quad, '0-79', 64, {}, '0-31,40-71'],
    [dual, '0-11', 8, spread, '0-3,6-9'],
    [quad, '0-79', 64, spread, '0-7,10-17,20-27,30-37,40-47,50-57,60-67,70-77'],
    [quad, '0-79', 48, spread, '0-7,10-17,20-27,40-47,50-57,60-67'],
    [quad, '1-29,32-39,41-69,72-79', 48, spread, '1-8,10-17,20-27,41-48,50-57,60-67'],
    [quad, '2-29,31-39,42-69,71-79', 48, spread, '10-17,20-27,31-38,50-57,60-67,71-78'],
    [quad, '3-39,43-79', 48, spread, '10-17,20-27,30-37,50-57,60-67,70-77'],
    [
      quad,
      '0-2,10-12,20-22,30-32,40-41,50-51,60-61,70-71',
      16,
      spread,
      '0-1,10-11,20-21,30-31,40-41,50-51,60-61,70-71',
    ],
    [quad, '0-79', 26, spread, '0-6,10-16,40-45,50-55'],
    [quad, '0-79', 26, groups, '0-6,10-15,40-46,50-55'],
    [quad, '0-79', 62, spread, '0-7,10-17,20-27,30-37,40-47,50-57,60-66,70-76'],
    [quad, '0-79', 62, groups, '0-7,10-17,20-27,30-36,40-47,50-57,60-67,70-76'],
    [quad, evenly, 62, spread, '0-7,10-17,20-27,30-37,40-46,50-56,60-67,70-77'],
    [quad, evenly, 62, groups, '0-7,10-16,20-27,30-37,40-47,50-56,60-67,70-77'],
  ];
  for (const [cpus, free, count, options, expected] of cases) {
    it(`${count} of ${cpus.length} with ${free} free${Object.keys(options).length > 0 ? `, ${Object.keys(options)}` : ''}`, () => {
      const taken = takeCpus(cpus, parseCpuSet(free), count, options);
      assert.equal(formatCpuSet(taken), formatCpuSet(parseCpuSet(expected)));
    });
  }
});

describe('hints of the CPU manager', () => {
  const masks = (hints: { nodes: number | undefined; preferred: boolean }[]) =>
    hints.map(({ nodes = 0, preferred }) => `${nodes.toString(2)}${preferred ? '!' : ''}`);
  const all = new Set(wide.cpus.map(({ id }) => id));

  it('prefer as few nodes as the machine allows', () => {
    const supply = { available: all, reusable: new Set<number>() };
    const hints = masks(cpuHints(wide, supply, 6, { alignBySocket: false }));
    assert.deepEqual(hints.slice(0, 4), ['11!', '101!', '110!', '111']);
    assert.equal(hints.length, 11);
  });

  it('prefer with align-by-socket whatever lies in as few sockets', () => {
    const hints = masks(cpuHints(wide, { available: all, reusable: new Set() }, 3, { alignBySocket: true }));
    assert.deepEqual(
      hints.filter((hint) => hint.endsWith('!')),
      ['1!', '10!', '11!', '100!', '1000!', '1100!'],
    );
  });

  it('are only those that hold what is to be used again', () => {
    const supply = { available: all, reusable: new Set([0]) };
    const hints = masks(cpuHints(wide, supply, 2, { alignBySocket: false }));
    assert.ok(hints.every((hint) => hint.replace('!', '').endsWith('1')));
  });

  it('count sidecars beside everything that comes after them', () => {
    const side = sized('side', '2', { restartPolicy: 'Always' });
    const pod = podOf({ initContainers: [side, sized('init', '5')], containers: [sized('a', '1'), sized('b', '2')] });
    assert.equal(podExclusiveCount(pod), 7);
  });
});

describe('containers of one pod', () => {
  it('use again what ended init containers had, and not what sidecars have', async (t) => {
    const { cpus, admit } = await open(t);
    const initContainers = [sized('first', '4'), sized('side', '2', { restartPolicy: 'Always' })];
    const pod = podOf({ initContainers, containers: [sized('a', '2'), sized('b', '4')] }, { uid: 'p', name: 'p' });
    assert.equal(await admit(pod), undefined);
    const own = (name: string) => cpus.exclusiveOf('p', name);
    assert.ok([...own('side'), ...own('a'), ...own('b')].some((cpu) => own('first').includes(cpu)));
    assert.equal(new Set([...own('side'), ...own('a'), ...own('b')]).size, 8);
  });

  it('get nothing of their own where resources are set for the whole pod', async (t) => {
    const { cpus, admit } = await open(t);
    const amounts = { cpu: '2', memory: '1Mi' };
    const pod = podOf(
      { resources: { limits: amounts, requests: amounts }, containers: [sized('c', '2')] },
      { uid: 'w', name: 'w' },
    );
    assert.equal(await admit(pod), undefined);
    assert.deepEqual(cpus.exclusiveOf('w', 'c'), []);
  });

  it('keep what they have over a restart, also where it is all that is left', async (t) => {
    const options = { 'full-pcpus-only': 'true' };
    const first = await open(t, { options });
    assert.equal(await first.ask('all', 14), '1-7,9-15');
    const again = await open(t, { options, rootDir: first.rootDir, topologyPolicy: 'best-effort' });
    assert.equal(await again.ask('all', 14), '1-7,9-15');
    assert.deepEqual(again.asked, [false]);
    assert.equal(await again.ask('more', 2), 'SMTAlignmentError');
    assert.deepEqual(again.asked, [false, true]);
  });
});

describe('the state of an earlier run', () => {
  const state = (policy: string, shared: string, entries: Record<string, string> = {}) =>
    encodeCpuState({
      policy,
      shared: parseCpuSet(shared),
      entries: new Map(Object.entries(entries).map(([uid, cpus]) => [uid, new Map([['c', parseCpuSet(cpus)]])])),
    });
  const cases: [string, OpenOptions, string, string][] = [
    [
      'of another policy',
      {},
      state('none', ''),
      'configured policy "static" differs from state checkpoint policy "none"',
    ],
    [
      'with shared processors that others have',
      {},
      state('static', '0-15', { p: '3' }),
      'pod: p, container: c cpuset: "3" overlaps with default cpuset "0-15"',
    ],
    [
      'of other reservations',
      {},
      state('static', '1-15'),
      'not all reserved cpus: "0" are present in defaultCpuSet: "1-15"',
    ],
    [
      'of looser reservations',
      { options: { 'strict-cpu-reservation': 'true' } },
      state('static', '0-15'),
      'some of strictly reserved cpus: "0" are present in defaultCpuSet: "0-15"',
    ],
    [
      'of another machine',
      {},
      state('static', '0-7', { p: '8-9' }),
      `current set of available CPUs "0-15" doesn't match with CPUs in state "0-9"`,
    ],
    ['without shared processors', {}, state('static', '', { p: '0-15' }), 'default cpuset cannot be empty'],
    ['that was changed', {}, state('static', '0-15').replace('0-15', '0-14'), 'its checksum does not fit'],
  ];
  for (const [what, options, text, problem] of cases) {
    it(`keeps the agent from starting: one ${what}`, async (t) => {
      const { rootDir, path } = await open(t);
      writeFileSync(path, text);
      await assert.rejects(open(t, { ...options, rootDir }), {
        message: `could not restore state from checkpoint: ${problem}, please drain this node and delete the CPU manager checkpoint file "${path}" before restarting Kubelet`,
      });
      assert.equal(readFileSync(path, 'utf8'), text);
    });
  }
});

describe('the topology manager', () => {
  for (const [policy, expected] of [
    ['none', [true, true]],
    ['single-numa-node', [true, false]],
  ] as const) {
    it(`${policy}: tells every admission, and failures only of what it aligns`, async (t) => {
      const { cpus } = await open(t);
      const seen: boolean[] = [];
      const manager = createResourceManager({
        ...{ providers: [cpus], policy, scope: 'container', topology: { all: 3 }, running: () => [] },
        observe: (admitted) => seen.push(admitted),
      });
      await manager.admit(guaranteed('a', '1'), [], signal);
      await manager.admit(guaranteed('b', '16'), [], signal);
      assert.deepEqual(seen, expected);
    });
  }
});

describe('options of the topology manager', () => {
  it('are read', () => {
    assert.equal(parseTopologyOptions('restricted', { 'prefer-closest-numa-nodes': 'true' }, 2).preferClosest, true);
    assert.equal(parseTopologyOptions('restricted', { 'max-allowable-numa-nodes': '16' }, 12).preferClosest, false);
    assert.equal(parseTopologyOptions('none', {}, 12).preferClosest, false);
  });

  const refused: [string, Record<string, string>, RegExp][] = [
    ['unknown ones', { near: 'true' }, /^unknown Topology Manager Policy option: "near"$/],
    ['bad truths', { 'prefer-closest-numa-nodes': 'yes' }, /^bad value for option "prefer-closest-numa-nodes"/],
    ['bad numbers', { 'max-allowable-numa-nodes': 'x' }, /^unable to convert policy option to int/],
    ['too low a limit', { 'max-allowable-numa-nodes': '4' }, /should not be less than 8$/],
    ['machines of more nodes', {}, /^unsupported on machines with more than 8 NUMA Nodes$/],
  ];
  for (const [what, options, message] of refused) {
    it(`refuse ${what}`, () => {
      assert.throws(() => parseTopologyOptions('restricted', options, 9), { message });
    });
  }
});
