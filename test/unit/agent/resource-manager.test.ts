// Processors, NUMA nodes and devices, on machines that are only described.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { fnv32a } from '../../../agent/container/container-hash.ts';
import { decodeDeviceCheckpoint, encodeDeviceCheckpoint } from '../../../agent/device-plugin/device-checkpoint.ts';
import { openDeviceInventory } from '../../../agent/device-plugin/device-inventory.ts';
import { isDeviceResource } from '../../../agent/device-plugin/registration-server.ts';
import { candidates, selectDevices } from '../../../agent/device-plugin/select-devices.ts';
import { createCpuManager } from '../../../agent/resource-manager/cpu-manager.ts';
import { parseCpuPolicyOptions } from '../../../agent/resource-manager/cpu-policy-options.ts';
import { formatCpuSet, parseCpuSet } from '../../../agent/resource-manager/cpu-set.ts';
import { decodeCpuState, encodeCpuState } from '../../../agent/resource-manager/cpu-state.ts';
import type { CpuTopology } from '../../../agent/resource-manager/cpu-topology.ts';
import { createResourceManager } from '../../../agent/resource-manager/resource-manager.ts';
import { type TakeOptions, takeCpus } from '../../../agent/resource-manager/take-cpus.ts';
import { mergeHints, type TopologyHint, type TopologyPolicy } from '../../../agent/resource-manager/topology-hint.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { container, podOf } from './fixtures.ts';

/** Two sockets, each a NUMA node with four cores of two threads; the second thread of core n is n + 8. */
const machine: CpuTopology = {
  cpus: Array.from({ length: 16 }, (_, id) => {
    const core = id % 8;
    const socket = core < 4 ? 0 : 1;
    return { id, core: `${socket}/${core}`, socket, node: socket, uncore: Math.floor(core / 2) * 2 };
  }),
  nodes: [0, 1].map((id) => ({ id, memoryBytes: 1 << 30, hugepages: new Map(), distances: [10, 20] })),
};

describe('takeCpus', () => {
  const cases: [string, string, number, TakeOptions, string][] = [
    ['a whole socket', '0-15', 8, {}, '0-3,8-11'],
    ['whole cores', '0-15', 2, {}, '0,8'],
    ['the free core of the fuller socket', '3-15', 2, {}, '3,11'],
    ['single threads next to what is in use', '1-15', 1, {}, '8'],
    ['a socket and a core', '0-15', 10, {}, '0-4,8-12'],
    ['the same from both nodes', '0-15', 10, { acrossNodes: true }, '0-2,4-6,8,10,12,14'],
    ['one thread of each core', '0-15', 3, { acrossCores: true }, '0-2'],
    ['what shares a cache', '1-15', 4, { alignUncore: true }, '2-3,10-11'],
  ];
  for (const [what, free, count, options, expected] of cases) {
    it(`takes ${what}`, () => {
      const taken = formatCpuSet(takeCpus(machine.cpus, parseCpuSet(free), count, options));
      if (what === 'the same from both nodes') {
        const nodes = [...parseCpuSet(taken)].map((id) => machine.cpus[id]?.node);
        assert.deepEqual([nodes.filter((node) => node === 0).length, nodes.length], [5, 10]);
      } else assert.equal(taken, expected);
    });
  }

  it('refuses more than there are', () => {
    assert.throws(() => takeCpus(machine.cpus, parseCpuSet('0-1'), 3, {}), /requested=3, available=2/);
  });
});

describe('lists of processors', () => {
  it('are read and written as the kernel does', () => {
    assert.equal(formatCpuSet(parseCpuSet('8,0-2, 3')), '0-3,8');
    assert.equal(formatCpuSet(parseCpuSet('')), '');
    assert.throws(() => parseCpuSet('1-'), RangeError);
  });
});

describe('cpu_manager_state', () => {
  it("has kubelet's checksum", () => {
    assert.match(encodeCpuState({ policy: 'none', shared: parseCpuSet('4-6'), entries: new Map() }), /354655845/);
    const empty = encodeCpuState({ policy: 'none', shared: new Set(), entries: new Map() });
    assert.equal(empty, '{"policyName":"none","defaultCpuSet":"","checksum":1353318690}');
  });

  it('is read as it was written, and refused when it was changed', () => {
    const entries = new Map([['uid', new Map([['c', parseCpuSet('1,9')]])]]);
    const text = encodeCpuState({ policy: 'static', shared: parseCpuSet('0,2-8'), entries });
    assert.deepEqual(decodeCpuState(text).entries, entries);
    assert.throws(() => decodeCpuState(text.replace('1,9', '1-9')), /checksum/);
    const newer = '{"policyName":"none","defaultCpuSet":"4-6","checksum":SUM}'.replace(
      'SUM',
      `${fnv32a(Buffer.from('(*state.CPUManagerCheckpointV2){PolicyName:(string)none DefaultCPUSet:(string)4-6 Entries:(map[string]map[string]string)map[] Checksum:(checksum.Checksum)0}'))}`,
    );
    assert.equal(decodeCpuState(newer).policy, 'none');
  });
});

describe('mergeHints', () => {
  const hint = (nodes: number, preferred: boolean): TopologyHint => ({ nodes, preferred });
  const cpu = [hint(0b01, true), hint(0b10, true), hint(0b11, false)];
  const cases: [string, TopologyPolicy, (readonly TopologyHint[] | undefined)[], number | undefined, boolean][] = [
    ['nothing to say', 'restricted', [], 0b11, true],
    ['the narrowest that all prefer', 'restricted', [cpu, [hint(0b10, true), hint(0b11, false)]], 0b10, true],
    ['no common wish, with best effort', 'best-effort', [cpu, [hint(0b11, true)]], 0b11, true],
    ['no common wish, restricted', 'restricted', [cpu, [hint(0b11, true)]], 0b11, false],
    ['one node only', 'single-numa-node', [cpu], 0b01, true],
    ['more than a node', 'single-numa-node', [[hint(0b11, true)]], undefined, false],
    ['what cannot be had at all', 'restricted', [[]], 0b11, false],
    ['no policy', 'none', [[]], undefined, true],
  ];
  for (const [what, policy, lists, nodes, admit] of cases) {
    it(`${policy}: ${what}`, () => {
      const providers = lists.map((list, index) => new Map([[`r${index}`, list]]));
      const merged = mergeHints(policy, providers, { all: 0b11 });
      assert.deepEqual([merged.hint.nodes, merged.admit], [nodes, admit]);
    });
  }
});

describe('the CPU manager', () => {
  const guaranteed = (uid: string, cpu: string) => {
    const resources = { limits: { cpu, memory: '1Mi' }, requests: { cpu, memory: '1Mi' } };
    return podOf({ containers: [container('c', { resources })] }, { uid, name: uid });
  };
  const open = (t: { after(run: () => void): void }, options: Record<string, string> = {}, rootDir?: string) => {
    const directory = rootDir ?? mkdtempSync(join(tmpdir(), 'cpus-'));
    if (rootDir === undefined) t.after(() => rmSync(directory, { recursive: true }));
    return createCpuManager({
      rootDir: directory,
      policy: 'static',
      options: parseCpuPolicyOptions('static', options, {}),
      reservedCpus: '',
      reservedMilli: 500,
      topology: machine,
      runtime: { updateContainerResources: async () => undefined },
      runtimes: () => [],
      reconcileMs: 10_000,
      clock: createFakeClock(0),
      logger: pino({ level: 'silent' }),
    }).then((cpus) => ({ cpus, directory }));
  };
  const managed = (provider: Awaited<ReturnType<typeof open>>['cpus'], policy: TopologyPolicy = 'none') =>
    createResourceManager({
      providers: [provider],
      policy,
      scope: 'container',
      topology: { all: 0b11 },
      running: () => [],
    });
  const signal = new AbortController().signal;

  it('gives whole processors to guaranteed pods, and the rest to all others, over restarts', async (t) => {
    const { cpus, directory } = await open(t);
    const manager = managed(cpus);
    const first = guaranteed('one', '2');
    assert.equal(await manager.admit(first, [], signal), undefined);
    assert.equal(cpus.cpusOf('one', 'c'), '1,9');
    assert.equal(cpus.cpusOf('other', 'c'), '0,2-8,10-15');
    assert.match(readFileSync(join(directory, 'cpu_manager_state'), 'utf8'), /"entries":\{"one":\{"c":"1,9"\}\}/);
    const again = await open(t, {}, directory);
    assert.equal(again.cpus.cpusOf('one', 'c'), '1,9');
    assert.equal(await managed(again.cpus).admit(guaranteed('two', '1500m'), [], signal), undefined);
    assert.equal(again.cpus.cpusOf('one', 'c'), '0-15', 'what a pod had that is gone is free again');
  });

  it('refuses with the words of the reference', async (t) => {
    const { cpus } = await open(t, { 'full-pcpus-only': 'true' });
    assert.deepEqual(await managed(cpus).admit(guaranteed('odd', '3'), [], signal), {
      reason: 'SMTAlignmentError',
      message: 'Pod was rejected: SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2',
    });
    const plain = await open(t);
    assert.deepEqual(await managed(plain.cpus).admit(guaranteed('large', '16'), [], signal), {
      reason: 'UnexpectedAdmissionError',
      message:
        'Pod was rejected: Allocate failed due to not enough cpus available to satisfy request: requested=16, available=15, which is unexpected',
    });
    assert.deepEqual(await managed(plain.cpus, 'single-numa-node').admit(guaranteed('wide', '10'), [], signal), {
      reason: 'TopologyAffinityError',
      message: 'Pod was rejected: Resources cannot be allocated with Topology locality',
    });
  });

  it('keeps a pod on one node where it can', async (t) => {
    const { cpus } = await open(t);
    assert.equal(await managed(cpus, 'single-numa-node').admit(guaranteed('half', '8'), [], signal), undefined);
    assert.equal(cpus.cpusOf('half', 'c'), '4-7,12-15');
  });
});

describe('devices', () => {
  const devices = new Map(['a', 'b', 'c', 'd'].map((id, index) => [id, { id, healthy: true, nodes: [index % 2] }]));
  const none = new Set<string>();

  it('come from the node of the container first', () => {
    const choice = { devices, taken: new Set(['a']), own: none, reusable: none, count: 2 };
    assert.deepEqual(selectDevices(candidates('r', choice, 0b01), 2, []), ['c', 'b']);
    assert.deepEqual(selectDevices(candidates('r', { ...choice, count: 1 }, undefined), 1, ['d']), ['d']);
  });

  it('are refused in the words of the reference where too few are free', () => {
    const choice = { devices, taken: new Set(['a', 'b', 'c']), own: none, reusable: none, count: 2 };
    assert.throws(
      () => candidates('x.io/gpu', choice, undefined),
      /requested number of devices unavailable for x.io\/gpu. Requested: 2, Available: 1/,
    );
  });

  it('have names of extended resources', () => {
    for (const name of ['nvidia.com/gpu', 'a.b/c_D.e']) assert.equal(isDeviceResource(name), true, name);
    for (const name of ['cpu', 'kubernetes.io/x', 'a.kubernetes.io/x', 'requests.a.b/c', 'a/b/c']) {
      assert.equal(isDeviceResource(name), false, name);
    }
  });

  it('are in a checkpoint that is read as it was written', () => {
    const answer = {
      envs: { A: 'x'.repeat(300) },
      mounts: [],
      devices: [],
      annotations: {},
      cdiDevices: [{ name: 'v/c=d' }],
    };
    const entry = { podUid: 'u', container: 'c', resource: 'x.io/gpu', ids: new Map([[-1, ['a']]]), answer };
    const text = encodeDeviceCheckpoint({ entries: [entry], registered: new Map([['x.io/gpu', ['a', 'b']]]) });
    assert.deepEqual(Object.keys(JSON.parse(text).Data), ['PodDeviceEntries', 'RegisteredDevices']);
    const read = decodeDeviceCheckpoint(text);
    assert.deepEqual(read.registered.get('x.io/gpu'), ['a', 'b']);
    assert.deepEqual(JSON.parse(JSON.stringify(read.entries[0]?.answer)), answer);
    assert.deepEqual(read.entries[0]?.ids, entry.ids);
    assert.throws(() => decodeDeviceCheckpoint(text.replace('"u"', '"v"')), /its checksum does not fit/);
    const empty = JSON.parse(encodeDeviceCheckpoint({ entries: [], registered: new Map() }));
    const { Checksum } = empty;
    const nothing = JSON.stringify({ Data: { PodDeviceEntries: null, RegisteredDevices: {} }, Checksum });
    assert.deepEqual(decodeDeviceCheckpoint(nothing).entries, []);
  });

  it('are forgotten with one warning where the checkpoint is damaged, which is put aside', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'devices-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'kubelet_internal_checkpoint');
    const logger = pino({ level: 'silent' });
    const first = await openDeviceInventory(path, logger);
    const answer = { envs: {}, mounts: [], devices: [], annotations: {}, cdiDevices: [] };
    await first.put({ podUid: 'u', container: 'c', resource: 'x.io/gpu', ids: new Map([[0, ['a']]]), answer });
    assert.deepEqual((await openDeviceInventory(path, logger)).entries()[0]?.ids, new Map([[0, ['a']]]));
    writeFileSync(path, readFileSync(path, 'utf8').replace('"a"', '"b"'));
    const warnings: string[] = [];
    const loud = pino({ level: 'warn' }, { write: (line) => void warnings.push(line) });
    assert.deepEqual((await openDeviceInventory(path, loud)).entries(), []);
    assert.equal(warnings.length, 1);
    assert.match(readFileSync(`${path}.damaged`, 'utf8'), /"b"/);
  });
});
