import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { createAllocationManager } from '../../../agent/allocation/allocation-manager.ts';
import { openAllocationStore } from '../../../agent/allocation/allocation-store.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../../agent/allocation/checkpoint.ts';
import { orderWaiting, planAllocation } from '../../../agent/allocation/plan-allocation.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { container, podOf } from './fixtures.ts';

const logger = pino({ level: 'silent' });

function sized(cpu: string, memory = '64Mi', extra: Partial<Pod['metadata']> = {}, priority = 0): Pod {
  const amounts = { cpu, memory };
  const pod = podOf({ containers: [container('c', { resources: { requests: amounts, limits: amounts } })], priority });
  return { ...pod, metadata: { ...pod.metadata, ...extra } };
}

const allocatable = new Map([
  ['cpu', 1000],
  ['memory', 2 ** 30],
]);

describe('the checkpoint of allocations', () => {
  it('is what the reference writes, checksum included', () => {
    const entries = { requests: { cpu: '1Ki', memory: '1Ki' } };
    const text = encodeCheckpoint(new Map([['pod1', { ContainerResources: { container1: entries } }]]));
    assert.equal(
      text,
      String.raw`{"data":"{\"entries\":{\"pod1\":{\"ContainerResources\":{\"container1\":{\"requests\":{\"cpu\":\"1Ki\",\"memory\":\"1Ki\"}}}}}}","checksum":1178570812}`,
    );
    assert.deepEqual(decodeCheckpoint(text).get('pod1'), { ContainerResources: { container1: entries } });
  });

  it('is refused when it is damaged', () => {
    const text = encodeCheckpoint(new Map()).replace('{}', '{ }');
    assert.throws(() => decodeCheckpoint(text), { code: 'CHECKPOINT' });
    assert.throws(() => decodeCheckpoint('nonsense'), { code: 'CHECKPOINT' });
  });

  it('is read again by the next agent', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'allocation-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'allocated_pods_state');
    const store = await openAllocationStore(path, logger);
    await Promise.all(['a', 'b'].map((uid) => store.set(uid, { ContainerResources: { [uid]: {} } })));
    await store.remove('a');
    const next = await openAllocationStore(path, logger);
    assert.deepEqual(next.uids(), ['b']);
    assert.equal(readFileSync(path, 'utf8').includes('entries'), true);
  });
});

describe('planAllocation', () => {
  const table: [string, Pod, Pod[], string | undefined][] = [
    ['gives what is free', sized('900m'), [sized('100m')], undefined],
    [
      'defers what is taken by others',
      sized('900m'),
      [sized('200m')],
      "Deferred: Node didn't have enough resource: cpu, requested: 900, used: 200, capacity: 1000",
    ],
    [
      'refuses what the node never has',
      sized('1500m'),
      [],
      "Infeasible: Node didn't have enough capacity: cpu, requested: 1500, capacity: 1000",
    ],
    [
      'names memory before processors',
      sized('1500m', '2Gi'),
      [],
      "Infeasible: Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824",
    ],
  ];
  for (const [name, wanted, others, expected] of table) {
    it(name, () => {
      const problem = planAllocation({ wanted, allocatable, others });
      assert.equal(problem === undefined ? undefined : `${problem.reason}: ${problem.message}`, expected);
    });
  }

  const guaranteed = [
    ['cpu', '2', '64Mi', 'CPU Manager policy "static"'],
    ['memory', '1', '128Mi', 'Memory Manager policy "Static"'],
    ['neither', '1000m', '64Mi', undefined],
  ] as const;
  for (const [what, cpu, memory, text] of guaranteed) {
    it(`refuses guaranteed pods what was given piece by piece: ${what}`, () => {
      const room = new Map([...allocatable, ['cpu', 8000]] as [string, number][]);
      const problem = planAllocation({
        ...{ wanted: sized(cpu, memory), given: sized('1'), allocatable: room, others: [] },
        pinned: { cpu: true, memory: true },
      });
      const expected = text && `Infeasible: Resize is infeasible for Guaranteed Pods alongside ${text}`;
      assert.equal(problem === undefined ? undefined : `${problem.reason}: ${problem.message}`, expected);
    });
  }

  it('asks again in order: shrinking first, then by priority, then those that wait longest', () => {
    const item = (name: string, cpu: string, priority: number, sinceMs: number) => ({
      wanted: sized(cpu, '64Mi', { name }, priority),
      allocated: sized('100m'),
      sinceMs,
    });
    const order = orderWaiting([
      item('late', '200m', 0, 2),
      item('early', '200m', 0, 1),
      item('important', '200m', 10, 3),
      item('shrinks', '50m', 0, 4),
    ]);
    assert.deepEqual(
      order.map(({ wanted }) => wanted.metadata.name),
      ['shrinks', 'important', 'early', 'late'],
    );
  });
});

describe('the allocation manager', () => {
  async function managerWith(t: { after(run: () => void): void }) {
    const directory = mkdtempSync(join(tmpdir(), 'allocation-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const events: string[] = [];
    const node = { status: { allocatable: { cpu: '1', memory: '1Gi' } } } as unknown as Node;
    const open = async (nodeOf: () => Node | undefined = () => node) =>
      createAllocationManager({
        allocated: await openAllocationStore(join(directory, 'allocated_pods_state'), logger),
        actuated: await openAllocationStore(join(directory, 'actuated_pods_state'), logger),
        node: nodeOf,
        record: (_, type, reason) => void events.push(`${type} ${reason}`),
        clock: createFakeClock(0),
        logger,
      });
    return { open, events };
  }

  const cpuOf = (pod: Pod) => pod.spec.containers[0]?.resources?.requests?.['cpu'];

  it('keeps what a pod was given while it asks for more than there is', async (t) => {
    const { open, events } = await managerWith(t);
    const manager = await open();
    manager.admit(sized('100m'));
    const wanted = sized('2', '64Mi', { generation: 2 });
    assert.equal(manager.consider(wanted, []), true);
    assert.equal(manager.consider(wanted, []), false, 'nothing new');
    assert.equal(cpuOf(manager.allocated(wanted)), '100m');
    const [pending] = manager.conditions('uid-1');
    assert.deepEqual(
      [pending?.type, pending?.reason, pending?.observedGeneration],
      ['PodResizePending', 'Infeasible', 2],
    );
    assert.deepEqual(events, ['Warning ResizeInfeasible']);
    assert.equal(manager.consider(sized('100m'), []), true, 'it asks for no more');
    assert.deepEqual(manager.conditions('uid-1'), []);
  });

  it('is in progress until the containers have what was given, over a restart too', async (t) => {
    const { open, events } = await managerWith(t);
    const first = await open();
    first.admit(sized('100m'));
    const wanted = sized('200m', '64Mi', { generation: 2 });
    first.consider(wanted, []);
    assert.equal(first.conditions('uid-1')[0]?.type, 'PodResizeInProgress');
    await first.saved();

    const second = await open();
    assert.equal(cpuOf(second.allocated(sized('300m'))), '200m');
    assert.equal(cpuOf(second.actuated(sized('300m'))), '100m');
    second.failed(wanted, 'no');
    assert.equal(second.conditions('uid-1')[0]?.reason, 'Error');
    second.started(wanted, container('c', { resources: wanted.spec.containers[0]?.resources }));
    assert.equal(second.settled(wanted), true);
    assert.equal(second.settled(wanted), false);
    assert.deepEqual(second.conditions('uid-1'), []);
    assert.deepEqual(events, ['Normal ResizeStarted', 'Warning ResizeError', 'Normal ResizeCompleted']);
  });

  it('repeats what an earlier agent said while it does not know its node', async (t) => {
    const { open } = await managerWith(t);
    const first = await open();
    first.admit(sized('100m'));
    await first.saved();
    const second = await open(() => undefined);
    const condition = {
      type: 'PodResizePending',
      status: 'True',
      reason: 'Deferred',
      message: 'wait',
      observedGeneration: 2,
    };
    const wanted = { ...sized('200m', '64Mi', { generation: 2 }), status: { conditions: [condition] } };
    assert.equal(second.consider(wanted, []), false);
    assert.equal(second.isUndecided('uid-1'), true);
    assert.deepEqual(second.conditions('uid-1'), [condition]);
    assert.equal(cpuOf(second.allocated(wanted)), '100m');
  });

  it('forgets pods that are no more', async (t) => {
    const { open } = await managerWith(t);
    const manager = await open();
    manager.admit(sized('100m'));
    manager.retain(new Set());
    assert.equal(cpuOf(manager.allocated(sized('300m'))), '300m');
  });
});
