// Thresholds, pressure, ranking and words of evictions.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { admitUnderPressure } from '../../../../agent/eviction/admit-under-pressure.ts';
import { evictionMessage } from '../../../../agent/eviction/eviction-message.ts';
import {
  calm,
  initialPressureState,
  type PressureState,
  planPressure,
} from '../../../../agent/eviction/plan-pressure.ts';
import { type DiskLayout, type PodUsage, rankPods } from '../../../../agent/eviction/rank-pods.ts';
import { reclaimable } from '../../../../agent/eviction/reclaim-node.ts';
import {
  parseThresholds,
  type Signal,
  selectMet,
  type ThresholdFields,
} from '../../../../agent/eviction/thresholds.ts';
import { container, podOf } from '../fixtures.ts';

const none: ThresholdFields = { hard: {}, soft: {}, softGrace: {}, minReclaim: {}, enforcePods: false };
const mebi = 1024 * 1024;
const memory = (available: number) => new Map([['memory.available', { available, capacity: 1000 * mebi }]]);

describe('parseThresholds', () => {
  it('holds pods as a whole to the same memory where they are held to the allocatable', () => {
    const found = parseThresholds({ ...none, hard: { 'memory.available': '100Mi' }, enforcePods: true });
    assert.deepEqual(
      found.map(({ signal, graceMs }) => [signal, graceMs]),
      [
        ['memory.available', undefined],
        ['allocatableMemory.available', undefined],
      ],
    );
  });

  it('is without thresholds of 0 % and 100 %', () => {
    assert.deepEqual(parseThresholds({ ...none, hard: { 'nodefs.available': '0%', 'imagefs.available': '100%' } }), []);
  });

  const mistakes: [string, Partial<ThresholdFields>, RegExp][] = [
    ['an unknown signal', { hard: { 'memory.free': '1Gi' } }, /evictionHard: unknown eviction signal memory.free/],
    ['a soft threshold without grace', { soft: { 'memory.available': '1Gi' } }, /evictionSoftGracePeriod has to name/],
    ['a negative amount', { hard: { 'memory.available': '-1Gi' } }, /positive amount/],
    ['what is no amount', { hard: { 'pid.available': 'many' } }, /an amount or a percentage, not "many"/],
  ];
  for (const [what, fields, message] of mistakes) {
    it(`refuses ${what}`, () => assert.throws(() => parseThresholds({ ...none, ...fields }), message));
  }
});

describe('planPressure', () => {
  const thresholds = parseThresholds({
    ...none,
    hard: { 'memory.available': '100Mi' },
    soft: { 'memory.available': '20%' },
    softGrace: { 'memory.available': '30s' },
    minReclaim: { 'memory.available': '50Mi' },
  });
  const at = (available: number, seconds: number, state: PressureState, transition = 60) =>
    planPressure(thresholds, memory(available * mebi), state, {
      nowMs: seconds * 1000,
      transitionMs: transition * 1000,
    });

  it('waits for the grace period of a soft threshold, while the condition tells at once', () => {
    const first = at(150, 0, initialPressureState);
    assert.deepEqual([first.pressure.memory, first.due.length], [true, 0]);
    const early = at(150, 29, first.state);
    assert.equal(early.due.length, 0);
    const due = at(150, 30, early.state).due;
    assert.deepEqual(
      due.map(({ graceMs }) => graceMs),
      [30_000],
    );
  });

  it('begins the grace period anew when the shortage was over in between', () => {
    const first = at(150, 0, initialPressureState);
    const over = at(300, 20, first.state);
    assert.equal(at(150, 31, at(150, 25, over.state).state).due.length, 0);
  });

  it('acts at once, and first, on a hard threshold', () => {
    const plan = at(50, 0, initialPressureState);
    assert.deepEqual(
      plan.due.map(({ graceMs }) => graceMs),
      [undefined],
    );
  });

  it('goes on until the minimum has been reclaimed', () => {
    const first = at(50, 0, initialPressureState);
    assert.equal(at(120, 1, first.state).due.length, 1);
    assert.equal(at(151, 1, first.state).due.filter(({ graceMs }) => graceMs === undefined).length, 0);
  });

  it('keeps the condition for the transition period after its cause', () => {
    const first = at(50, 0, initialPressureState);
    const after = at(900, 59, first.state);
    assert.equal(after.pressure.memory, true);
    assert.equal(at(900, 60, after.state).pressure.memory, false);
  });

  it('says nothing about signals that were not observed', () => {
    assert.deepEqual(selectMet(thresholds, new Map(), false), []);
  });
});

describe('rankPods', () => {
  const usageOf = (memoryBytes: number | undefined, disk = 0, processes = 0): PodUsage => ({
    memoryBytes,
    processes,
    volumeBytes: disk,
    volumeInodes: disk,
    containers: new Map([
      ['c', { memoryBytes, rootBytes: disk * 10, rootInodes: disk, logBytes: disk * 100, logInodes: disk }],
    ]),
  });
  const asking = (name: string, request: string | undefined, priority = 0) =>
    podOf(
      {
        containers: [container('c', request === undefined ? {} : { resources: { requests: { memory: request } } })],
        priority,
      },
      { name, uid: name },
    );
  const order = (
    signal: Signal,
    pods: [ReturnType<typeof asking>, PodUsage | undefined][],
    layout: DiskLayout = 'one',
  ) => {
    const usage = new Map(pods);
    return rankPods([...usage.keys()], signal, (pod) => usage.get(pod), layout).map(({ pod }) => pod.metadata.name);
  };

  it('puts pods that use more than they asked for before all others, whatever their priority', () => {
    const within = asking('within', '100');
    const over = asking('over', '10', 1000);
    assert.deepEqual(
      order('memory.available', [
        [within, usageOf(90)],
        [over, usageOf(11)],
      ]),
      ['over', 'within'],
    );
  });

  it('then goes by priority, then by use beyond the request', () => {
    const pods: [ReturnType<typeof asking>, PodUsage][] = [
      [asking('little', '100'), usageOf(110)],
      [asking('much', '100'), usageOf(300)],
      [asking('important', '100', 5), usageOf(900)],
    ];
    assert.deepEqual(order('memory.available', pods), ['much', 'little', 'important']);
  });

  it('takes a pod that nobody can measure first', () => {
    assert.deepEqual(
      order('memory.available', [
        [asking('seen', undefined), usageOf(1e9)],
        [asking('unseen', undefined), undefined],
      ]),
      ['unseen', 'seen'],
    );
  });

  it('counts of the disk what is on the one that is short', () => {
    const writes = { ...usageOf(0), containers: new Map([['c', { ...usage0, rootBytes: 50 }]]) };
    const logs = { ...usageOf(0), containers: new Map([['c', { ...usage0, logBytes: 40 }]]) };
    const pods: [ReturnType<typeof asking>, PodUsage][] = [
      [asking('writes', undefined), writes],
      [asking('logs', undefined), logs],
    ];
    assert.deepEqual(order('nodefs.available', pods), ['writes', 'logs']);
    assert.deepEqual(order('nodefs.available', pods, 'imagefs'), ['logs', 'writes']);
    assert.deepEqual(order('imagefs.available', pods, 'imagefs'), ['writes', 'logs']);
  });

  it('goes by priority and number of processes when these are short', () => {
    const pods: [ReturnType<typeof asking>, PodUsage][] = [
      [asking('few', undefined), usageOf(9, 0, 3)],
      [asking('many', undefined), usageOf(1, 0, 30)],
      [asking('important', undefined, 1), usageOf(1, 0, 300)],
    ];
    assert.deepEqual(order('pid.available', pods), ['many', 'few', 'important']);
  });
});

const usage0 = { memoryBytes: 0, rootBytes: 0, rootInodes: 0, logBytes: 0, logInodes: 0 };

describe('evictionMessage', () => {
  it('says what was short, and which containers used more than they asked for', () => {
    const [threshold] = parseThresholds({ ...none, hard: { 'memory.available': '100Mi' } });
    assert.ok(threshold !== undefined);
    const pod = podOf({
      containers: [container('a', { resources: { requests: { memory: '1Mi' } } }), container('b')],
    });
    const usage: PodUsage = {
      memoryBytes: 0,
      processes: 0,
      volumeBytes: 0,
      volumeInodes: 0,
      containers: new Map([
        ['a', { ...usage0, memoryBytes: 2 * mebi }],
        ['b', { ...usage0, memoryBytes: 4096 }],
      ]),
    };
    assert.deepEqual(evictionMessage(pod, threshold, memory(50 * mebi), usage), {
      message:
        'The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ' +
        'Container a was using 2Mi, request is 1Mi, has larger consumption of memory. ' +
        'Container b was using 4Ki, request is 0, has larger consumption of memory. ',
      annotations: {
        offending_containers: 'a,b',
        offending_containers_usage: '2Mi,4Ki',
        starved_resource: 'memory',
      },
    });
  });
});

describe('what is freed before pods have to go', () => {
  const cases: [Signal, DiskLayout, string[]][] = [
    ['memory.available', 'one', []],
    ['nodefs.available', 'one', ['containers', 'images']],
    ['nodefs.inodesFree', 'imagefs', []],
    ['imagefs.available', 'imagefs', ['containers', 'images']],
    ['nodefs.available', 'split', ['containers']],
    ['imagefs.available', 'split', ['images']],
  ];
  for (const [signal, layout, expected] of cases) {
    it(`${signal} with layout ${layout}: ${expected.join(', ') || 'nothing'}`, () =>
      assert.deepEqual(reclaimable(signal, layout), expected));
  }
});

describe('admitUnderPressure', () => {
  const bestEffort = podOf({ containers: [container('c')] });
  const burstable = podOf({ containers: [container('c', { resources: { requests: { cpu: '1' } } })] });
  const refused = (names: string) => ({
    reason: 'Evicted',
    message: `Pod was rejected: The node had condition: [${names}]. `,
  });

  it('keeps pods that ask for nothing from a node that is short of memory', () => {
    assert.deepEqual(admitUnderPressure(bestEffort, { ...calm, memory: true }), refused('MemoryPressure'));
    assert.equal(admitUnderPressure(burstable, { ...calm, memory: true }), undefined);
    const key = 'node.kubernetes.io/memory-pressure';
    const tolerant = podOf({ containers: [container('c')], tolerations: [{ key, operator: 'Exists' }] });
    assert.equal(admitUnderPressure(tolerant, { ...calm, memory: true }), undefined);
  });

  it('keeps all pods but critical ones from a node that is short of disk', () => {
    assert.deepEqual(
      admitUnderPressure(burstable, { ...calm, memory: true, disk: true }),
      refused('MemoryPressure DiskPressure'),
    );
    const critical = podOf({ containers: [container('c')], priority: 2_000_000_000 });
    assert.equal(admitUnderPressure(critical, { ...calm, disk: true }), undefined);
  });
});
