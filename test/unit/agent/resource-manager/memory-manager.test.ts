// Memory of NUMA nodes for guaranteed pods, on machines that are only described.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { parseQuantity } from '#kube/api/quantity.ts';
import { describeMemory } from '../../../../agent/pod-resources/describe-memory.ts';
import type { NumaNode } from '../../../../agent/resource-manager/cpu-topology.ts';
import { createMemoryManager } from '../../../../agent/resource-manager/memory-manager.ts';
import { decodeMemoryState, encodeMemoryState } from '../../../../agent/resource-manager/memory-state.ts';
import { systemReservedMemory } from '../../../../agent/resource-manager/reserved-memory.ts';
import { createResourceManager } from '../../../../agent/resource-manager/resource-manager.ts';
import type { TopologyPolicy } from '../../../../agent/resource-manager/topology-hint.ts';
import { container, podOf } from '../fixtures.ts';

const gi = 2 ** 30;
const signal = new AbortController().signal;

/** Nodes of 10 GiB, of which 1 GiB is the system's; with huge pages 2 GiB of each are pages of 2 MiB. */
function machineOf(count: number, pages = false): NumaNode[] {
  return Array.from({ length: count }, (_, id) => ({
    id,
    memoryBytes: 10 * gi,
    hugepages: new Map(pages ? [[2048, 2 * gi]] : []),
    distances: [],
  }));
}

interface OpenOptions {
  nodes?: NumaNode[];
  policy?: 'None' | 'Static';
  topology?: TopologyPolicy;
  scope?: 'container' | 'pod';
  rootDir?: string;
  reservedGi?: number;
}

async function open(t: { after(run: () => void): void }, options: OpenOptions = {}) {
  const { nodes = machineOf(2), policy = 'Static', topology = 'none', scope = 'container' } = options;
  const rootDir = options.rootDir ?? mkdtempSync(join(tmpdir(), 'memory-'));
  if (options.rootDir === undefined) t.after(() => rmSync(rootDir, { recursive: true }));
  const asked: boolean[] = [];
  const memory = await createMemoryManager({
    rootDir,
    policy,
    nodes,
    reserved: new Map(nodes.map(({ id }) => [id, new Map([['memory', (options.reservedGi ?? 1) * gi]])])),
    logger: pino({ level: 'silent' }),
    observe: (failed) => asked.push(failed),
  });
  const manager = createResourceManager({
    providers: [memory],
    policy: topology,
    scope,
    topology: { all: 2 ** nodes.length - 1 },
    running: () => [],
  });
  const kept: Pod[] = [];
  return {
    memory,
    rootDir,
    asked,
    path: join(rootDir, 'memory_manager_state'),
    /** Admits the pod beside those admitted before; undefined or the reason and message. */
    async admit(pod: Pod) {
      const rejection = await manager.admit(pod, kept, signal);
      if (rejection === undefined) kept.push(pod);
      return rejection;
    },
    remove: (uid: string) =>
      kept.splice(
        kept.findIndex(({ metadata }) => metadata.uid === uid),
        1,
      ),
  };
}

function sized(name: string, size: string, extra: Record<string, string> = {}): Container {
  const amounts = { cpu: '1', memory: size, ...extra };
  return container(name, { resources: { limits: amounts, requests: amounts } });
}

const guaranteed = (uid: string, size: string, extra: Record<string, string> = {}) =>
  podOf({ containers: [sized('c', size, extra)] }, { uid, name: uid });

const unexpected = (text: string) => ({
  reason: 'UnexpectedAdmissionError',
  message: `Pod was rejected: Allocate failed due to [memorymanager] ${text}, which is unexpected`,
});

describe('the memory manager', () => {
  it('gives guaranteed pods memory of one node, and others none of their own', async (t) => {
    const { memory, admit, asked } = await open(t);
    assert.equal(await admit(guaranteed('one', '4Gi')), undefined);
    assert.equal(await admit(guaranteed('two', '5Gi')), undefined);
    assert.equal(await admit(guaranteed('three', '6Gi')), undefined);
    assert.deepEqual(
      ['one', 'two', 'three'].map((uid) => memory.nodesOf(uid, 'c')),
      ['0', '0', '1'],
    );
    const burstable = podOf({ containers: [container('c', { resources: { requests: { memory: '8Gi' } } })] });
    assert.equal(await admit(burstable), undefined);
    assert.equal(memory.nodesOf('uid-1', 'c'), undefined);
    const amounts = { cpu: '1', memory: '8Gi' };
    const whole = podOf(
      { resources: { limits: amounts, requests: amounts }, containers: [container('c')] },
      { uid: 'w' },
    );
    assert.equal(await admit(whole), undefined);
    assert.equal(memory.nodesOf('w', 'c'), undefined, 'resources of the whole pod are placed nowhere');
    assert.deepEqual(asked, [false, false, false]);
  });

  it('groups nodes for what one alone cannot hold, and keeps a group apart from single nodes', async (t) => {
    const { memory, admit, remove } = await open(t, { nodes: machineOf(4) });
    assert.equal(await admit(guaranteed('wide', '12Gi')), undefined);
    assert.equal(memory.nodesOf('wide', 'c'), '0,1');
    assert.equal(await admit(guaranteed('small', '2Gi')), undefined);
    assert.equal(memory.nodesOf('small', 'c'), '2', 'a node of a group is not used alone');
    assert.equal(await admit(guaranteed('beside', '4Gi')), undefined);
    assert.equal(await admit(guaranteed('full', '9Gi')), undefined);
    assert.equal(memory.nodesOf('full', 'c'), '3');
    assert.deepEqual(
      await admit(guaranteed('other', '10Gi')),
      unexpected('failed to get the default NUMA affinity, no NUMA nodes with enough memory is available'),
    );
    remove('wide');
    assert.equal(await admit(guaranteed('after', '9Gi')), undefined);
    assert.equal(memory.nodesOf('after', 'c'), '0', 'without its pod the group is none');
  });

  const topologies: [string, TopologyPolicy, string, string][] = [
    ['best effort takes what is left', 'best-effort', '0,1', ''],
    ['restricted takes more nodes only where one could never do', 'restricted', '0,1', ''],
    ['one node alone is not enough', 'single-numa-node', '', 'TopologyAffinityError'],
  ];
  for (const [what, topology, nodes, reason] of topologies) {
    it(`${topology}: ${what}`, async (t) => {
      const { memory, admit } = await open(t, { topology });
      const rejection = await admit(guaranteed('wide', '12Gi'));
      assert.deepEqual([memory.nodesOf('wide', 'c') ?? '', rejection?.reason ?? ''], [nodes, reason]);
    });
  }

  it('refuses with a restricted topology what would need two nodes only since they are in use', async (t) => {
    const { admit } = await open(t, { topology: 'restricted' });
    assert.equal(await admit(guaranteed('a', '6Gi')), undefined);
    assert.equal(await admit(guaranteed('b', '6Gi')), undefined);
    assert.deepEqual(await admit(guaranteed('c', '6Gi')), unexpected('preferred hint violates NUMA node allocation'));
  });

  it('places huge pages with the memory, and counts the pages out of it', async (t) => {
    const { memory, admit, path } = await open(t, { nodes: machineOf(2, true) });
    assert.equal(await admit(guaranteed('pages', '1Gi', { 'hugepages-2Mi': '2Gi' })), undefined);
    assert.deepEqual(memory.blocksOf('pages', 'c'), [
      { nodes: 1, resource: 'hugepages-2Mi', sizeBytes: 2 * gi },
      { nodes: 1, resource: 'memory', sizeBytes: gi },
    ]);
    assert.equal(await admit(guaranteed('more', '1Gi', { 'hugepages-2Mi': '2Mi' })), undefined);
    assert.equal(memory.nodesOf('more', 'c'), '1', 'no pages are left on the first');
    const { machineState } = JSON.parse(readFileSync(path, 'utf8'));
    assert.deepEqual(machineState['0'], {
      numberOfAssignments: 2,
      memoryMap: {
        'hugepages-2Mi': { total: 2 * gi, systemReserved: 0, allocatable: 2 * gi, reserved: 2 * gi, free: 0 },
        memory: { total: 10 * gi, systemReserved: gi, allocatable: 7 * gi, reserved: gi, free: 6 * gi },
      },
      cells: [0],
    });
  });

  it('lets containers use again what ended init containers had, but not what sidecars have', async (t) => {
    const { memory, admit } = await open(t, { nodes: machineOf(1) });
    const sidecar = { ...sized('side', '1Gi'), restartPolicy: 'Always' };
    const initContainers = [sized('first', '3Gi'), sidecar, sized('second', '4Gi')];
    const pod = podOf({ initContainers, containers: [sized('a', '3Gi'), sized('b', '3Gi')] }, { uid: 'p', name: 'p' });
    assert.equal(await admit(pod), undefined);
    const size = (name: string) => memory.blocksOf('p', name).reduce((sum, block) => sum + block.sizeBytes, 0) / gi;
    assert.deepEqual(['first', 'side', 'second', 'a', 'b'].map(size), [0, 1, 0, 3, 3]);
    assert.equal(await admit(guaranteed('rest', '2Gi')), undefined, 'nothing is held twice');
    assert.deepEqual(
      await admit(guaranteed('none', '1Gi')),
      unexpected('failed to get the default NUMA affinity, no NUMA nodes with enough memory is available'),
    );
  });

  it('places a pod as a whole where its scope says so', async (t) => {
    const { memory, admit } = await open(t, { topology: 'single-numa-node', scope: 'pod' });
    const two = podOf({ containers: [sized('a', '5Gi'), sized('b', '4Gi')] }, { uid: 'p', name: 'p' });
    const wide = podOf({ containers: [sized('a', '5Gi'), sized('b', '5Gi')] }, { uid: 'q', name: 'q' });
    assert.equal((await admit(wide))?.reason, 'TopologyAffinityError');
    assert.equal(await admit(two), undefined);
    assert.deepEqual([memory.nodesOf('p', 'a'), memory.nodesOf('p', 'b')], ['0', '0']);
  });

  it('goes on with what containers have after a restart', async (t) => {
    const first = await open(t);
    const pod = guaranteed('one', '12Gi');
    assert.equal(await first.admit(pod), undefined);
    const again = await open(t, { rootDir: first.rootDir, topology: 'restricted' });
    assert.equal(again.memory.nodesOf('one', 'c'), '0,1');
    assert.equal(await again.admit(pod), undefined);
    assert.equal(again.memory.nodesOf('one', 'c'), '0,1');
    again.remove('one');
    assert.equal(await again.admit(guaranteed('two', '1Gi')), undefined);
    assert.deepEqual(Object.keys(JSON.parse(readFileSync(again.path, 'utf8')).entries), ['two']);
  });

  it('refuses to start over the state of another policy, of another machine, or a damaged one', async (t) => {
    const first = await open(t);
    assert.equal(await first.admit(guaranteed('one', '2Gi')), undefined);
    const { rootDir, path } = first;
    await assert.rejects(open(t, { rootDir, policy: 'None' }), {
      message: `could not restore state from checkpoint: [memorymanager] configured policy "None" differs from state checkpoint policy "Static", please drain this node and delete the memory manager checkpoint file "${path}" before restarting Kubelet`,
    });
    await assert.rejects(
      open(t, { rootDir, reservedGi: 2 }),
      /the expected machine state is different from the real one/,
    );
    await assert.rejects(open(t, { rootDir, nodes: machineOf(1) }), /expected machine state is different/);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"one"', '"two"'));
    await assert.rejects(open(t, { rootDir }), /could not restore state from checkpoint: checkpoint is corrupted/);
  });

  it('tells what could be given away', async (t) => {
    const { memory } = await open(t, { nodes: machineOf(2, true) });
    assert.deepEqual(memory.allocatable().slice(2), [
      { nodes: 2, resource: 'hugepages-2Mi', sizeBytes: 2 * gi },
      { nodes: 2, resource: 'memory', sizeBytes: 7 * gi },
    ]);
    assert.deepEqual(describeMemory(memory.allocatable().slice(3)), [
      { memoryType: 'memory', size: 7 * gi, topology: { nodes: [{ ID: 1 }] } },
    ]);
    const none = await open(t, { policy: 'None' });
    assert.deepEqual(none.memory.allocatable(), []);
    assert.equal(await none.admit(guaranteed('any', '100Gi')), undefined);
    assert.equal(none.memory.nodesOf('any', 'c'), undefined);
    assert.match(readFileSync(none.path, 'utf8'), /^\{"policyName":"None","machineState":\{\},"checksum":\d+\}$/);
  });

  it('counts requests that failed', async (t) => {
    const { admit, asked } = await open(t, { nodes: machineOf(1) });
    await admit(guaranteed('a', '1Gi'));
    await admit(guaranteed('b', '100Gi'));
    assert.deepEqual(asked, [false, true]);
  });
});

describe('memory_manager_state', () => {
  it("has kubelet's checksum, also that of newer structures", () => {
    const table = '"memory":{"total":2048,"systemReserved":512,"allocatable":1536,"reserved":512,"free":1024}';
    const text = (sum: number) =>
      `{"policyName":"static","machineState":{"0":{"numberOfAssignments":0,"memoryMap":{${table}},"cells":[]}},"entries":{"pod":{"container1":[{"numaAffinity":[0],"type":"memory","size":512}]}},"checksum":${sum}}`;
    const state = decodeMemoryState(text(4_215_593_881));
    assert.equal(encodeMemoryState(state), text(4_215_593_881));
    assert.deepEqual(decodeMemoryState(text(2_267_633_148)), state);
    assert.throws(() => decodeMemoryState(text(1)), /corrupted/);
  });
});

describe('reservedMemory', () => {
  const held = (memory: string) => new Map([['memory', parseQuantity(memory)]]);
  const nodes = [{ id: 0 }, { id: 1 }];
  const reservation = (numaNode: number, memory: string) => ({ numaNode, limits: { memory } });

  it('is what the node withholds in all', () => {
    const reserved = systemReservedMemory(nodes, held('1124Mi'), [reservation(0, '1Gi'), reservation(1, '100Mi')]);
    assert.deepEqual([reserved.get(0)?.get('memory'), reserved.get(1)?.get('memory')], [gi, 100 * 2 ** 20]);
  });

  const wrong: [string, string, ReturnType<typeof reservation>[], RegExp][] = [
    [
      'another sum',
      '1Gi',
      [reservation(0, '100Mi')],
      /^the total amount "100Mi" of type "memory" is not equal to the value "1Gi" determined by Node Allocatable feature$/,
    ],
    ['nothing', '100Mi', [], /^the total amount "0" of type "memory" is not equal to the value "100Mi"/],
    [
      'a node that is not there',
      '1Gi',
      [reservation(2, '1Gi')],
      /references a NUMA node 2 that does not exist on this machine$/,
    ],
    ['no memory of the system', '0', [], /you should specify the system reserved memory/],
  ];
  for (const [what, memory, reservations, message] of wrong) {
    it(`refuses ${what}`, () => {
      assert.throws(() => systemReservedMemory(nodes, held(memory), reservations), { message });
    });
  }
});
