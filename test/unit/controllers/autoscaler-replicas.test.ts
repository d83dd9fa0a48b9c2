import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import {
  type PodMetrics,
  podRequestsOf,
  proposeByAverage,
  proposeByShare,
  proposeByUtilization,
  proposeByValue,
  type Situation,
} from '../../../control-plane-lite/controllers/horizontal-pod-autoscaler/compute-replicas.ts';
import { requestingPod } from '../../support/objects.ts';

const nowMs = Date.parse('2026-01-01T12:00:00Z');
const tolerance = { up: 0.1, down: 0.1 };
const ago = (seconds: number) => new Date(nowMs - seconds * 1000).toISOString();

interface PodShape {
  phase?: string;
  ready?: boolean;
  startedAgo?: number;
  changedAgo?: number;
  leaving?: boolean;
}

function podOf(name: string, { phase = 'Running', ready = true, startedAgo = 3600, ...shape }: PodShape = {}): Pod {
  const condition = {
    type: 'Ready',
    status: ready ? 'True' : 'False',
    lastTransitionTime: ago(shape.changedAgo ?? startedAgo - 5),
  };
  return requestingPod(name, '1', '1Gi', {
    metadata: shape.leaving === true ? { deletionTimestamp: ago(1) } : {},
    status: { phase, startTime: ago(startedAgo), conditions: [condition] },
  });
}

function situation(pods: readonly Pod[], replicas = pods.length): Situation {
  return { replicas, pods, tolerance, nowMs };
}

function metricsOf(values: Record<string, number>): PodMetrics {
  const entries = Object.entries(values).map(
    ([name, milli]) => [name, { milli, atMs: nowMs - 5000, windowMs: 30_000 }] as const,
  );
  return new Map(entries);
}

const three = ['a', 'b', 'c'].map((name) => podOf(name));

describe('replicas by utilization', () => {
  const cases: [text: string, pods: readonly Pod[], metrics: Record<string, number>, target: number, wanted: number][] =
    [
      ['grows in proportion', three, { a: 900, b: 900, c: 900 }, 30, 9],
      ['shrinks in proportion', three, { a: 100, b: 100, c: 100 }, 50, 1],
      ['stays within a tenth of the target', three, { a: 540, b: 540, c: 540 }, 50, 3],
      ['rounds up', three, { a: 600, b: 600, c: 600 }, 50, 4],
      ['takes pods without metrics for idle when growing', three, { a: 900, b: 900 }, 50, 4],
      ['takes pods without metrics for busy when shrinking', three, { a: 100, b: 100 }, 60, 2],
      ['stays when what is missing could turn the direction', three, { a: 600, b: 400 }, 60, 3],
      [
        'takes pods that are not ready for idle when growing',
        [...three.slice(0, 2), podOf('c', { ready: false, startedAgo: 60 })],
        { a: 900, b: 900, c: 1000 },
        50,
        4,
      ],
      [
        'leaves pods that are not ready out when shrinking',
        [...three.slice(0, 2), podOf('c', { ready: false, startedAgo: 60 })],
        { a: 200, b: 200, c: 1000 },
        80,
        1,
      ],
      [
        'leaves pending pods out of what is measured',
        [...three.slice(0, 2), podOf('c', { phase: 'Pending' })],
        { a: 400, b: 400 },
        40,
        3,
      ],
      [
        'does not look at failed and leaving pods',
        [...three, podOf('d', { phase: 'Failed' }), podOf('e', { leaving: true })],
        { a: 500, b: 500, c: 500 },
        25,
        6,
      ],
    ];
  for (const [text, pods, metrics, target, wanted] of cases) {
    it(text, () => {
      const replicas = proposeByUtilization(situation(pods), metricsOf(metrics), target, 'cpu').replicas;
      assert.equal(replicas, wanted);
    });
  }

  it('tells the average and its share of the requests', () => {
    const { milli, utilization } = proposeByUtilization(
      situation(three),
      metricsOf({ a: 100, b: 200, c: 300 }),
      50,
      'cpu',
    );
    assert.deepEqual([milli, utilization], [200, 20]);
  });

  it('says what is missing', () => {
    const metrics = metricsOf({ a: 1 });
    assert.throws(() => proposeByUtilization(situation([], 3), metrics, 50, 'cpu'), /no pods returned by selector/);
    assert.throws(
      () => proposeByUtilization(situation(three), metricsOf({}), 50, 'cpu'),
      /did not receive metrics for any ready pods/,
    );
    assert.throws(
      () => proposeByUtilization(situation(three), metrics, 50, 'nvidia.com/gpu'),
      /missing request for nvidia.com\/gpu in container app of Pod a/,
    );
  });

  it('counts a young pod only from measurements made wholly while it was ready', () => {
    const young = podOf('c', { startedAgo: 120, changedAgo: 20 });
    const pods = [...three.slice(0, 2), young];
    const grown = proposeByUtilization(situation(pods), metricsOf({ a: 900, b: 900, c: 5000 }), 50, 'cpu');
    assert.equal(grown.utilization, 90, 'the window of the young pod began before it was ready');
    const settled = podOf('c', { startedAgo: 120, changedAgo: 60 });
    const counted = proposeByUtilization(
      situation([...three.slice(0, 2), settled]),
      metricsOf({ a: 900, b: 900, c: 900 }),
      50,
      'cpu',
    );
    assert.equal(counted.replicas, 6);
  });

  it('counts a pod that was ready once even while it is not', () => {
    const ill = podOf('c', { ready: false, startedAgo: 3600, changedAgo: 30 });
    const { utilization } = proposeByUtilization(
      situation([...three.slice(0, 2), ill]),
      metricsOf({ a: 300, b: 300, c: 900 }),
      50,
      'cpu',
    );
    assert.equal(utilization, 50);
  });

  it('does not leave out pods that are not ready where memory is measured', () => {
    const ill = podOf('c', { ready: false, startedAgo: 60 });
    const memory = metricsOf({ a: 2 ** 30 * 1000, b: 2 ** 30 * 1000, c: 2 ** 30 * 1000 });
    assert.equal(proposeByUtilization(situation([...three.slice(0, 2), ill]), memory, 50, 'memory').replicas, 6);
  });

  it('asks the requests of one container, of sidecars, or of the whole pod', () => {
    const pod = podOf('a');
    const resources = (cpu: string) => ({ resources: { requests: { cpu } } });
    pod.spec = {
      containers: [
        { name: 'app', image: 'i', ...resources('1') },
        { name: 'log', image: 'i', ...resources('200m') },
      ],
      initContainers: [
        { name: 'once', image: 'i' },
        { name: 'side', image: 'i', restartPolicy: 'Always', ...resources('300m') },
      ],
    };
    assert.equal(podRequestsOf([pod], 'cpu', '').get('a'), 1500);
    assert.equal(podRequestsOf([pod], 'cpu', 'log').get('a'), 200);
    pod.spec = { ...pod.spec, ...resources('4') };
    assert.equal(podRequestsOf([pod], 'cpu', '').get('a'), 4000);
  });

  it('holds the tolerance of each direction', () => {
    const wide = { ...situation(three), tolerance: { up: 1, down: 0 } };
    assert.equal(proposeByUtilization(wide, metricsOf({ a: 900, b: 900, c: 900 }), 50, 'cpu').replicas, 3);
    assert.equal(proposeByUtilization(wide, metricsOf({ a: 320, b: 320, c: 320 }), 50, 'cpu').replicas, 2);
  });
});

describe('replicas by other targets', () => {
  it('compares the average of the pods', () => {
    assert.equal(
      proposeByAverage(situation(three), metricsOf({ a: 20_000, b: 10_000, c: 12_000 }), 7000, '').replicas,
      6,
    );
  });

  it('compares one value for all of them by the ready ones', () => {
    const pods = [...three, podOf('d', { ready: false })];
    assert.equal(proposeByValue(situation(pods), 40_000, 20_000).replicas, 6);
    assert.equal(proposeByValue(situation(pods), 21_000, 20_000).replicas, 4);
  });

  it('wakes a target without replicas', () => {
    assert.equal(proposeByValue(situation([], 0), 45_000, 20_000).replicas, 3);
    assert.equal(proposeByValue(situation([], 0), 0, 20_000).replicas, 0);
    assert.deepEqual(proposeByShare(0, 9000, 2000, tolerance), { replicas: 5, milli: 0 });
  });

  it('divides one value among those that there are', () => {
    assert.deepEqual(proposeByShare(3, 9000, 2000, tolerance), { replicas: 5, milli: 3000 });
    assert.equal(proposeByShare(3, 6100, 2000, tolerance).replicas, 3);
  });
});
