import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HorizontalPodAutoscalerBehavior } from '#kube/api/generated/autoscaling-v2.ts';
import {
  limitReplicas,
  remember,
  type ScalingHistory,
} from '../../../control-plane-lite/controllers/horizontal-pod-autoscaler/limit-replicas.ts';

const nowMs = 10_000_000;
const nothing: ScalingHistory = { recommendations: [], changes: [] };
const secondsAgo = (seconds: number) => nowMs - seconds * 1000;

interface Case {
  current: number;
  desired: number;
  max?: number;
  min?: number;
  behavior?: HorizontalPodAutoscalerBehavior;
  history?: ScalingHistory;
}

function limit({ min = 1, max = 100, behavior, history = nothing, ...sizes }: Case) {
  const { replicas, stabilized, limited } = limitReplicas({ ...sizes, min, max, behavior }, history, nowMs);
  return [replicas, stabilized.reason, limited.reason];
}

const recommended = (...entries: [replicas: number, secondsAgo: number][]): ScalingHistory => ({
  recommendations: entries.map(([replicas, ago]) => ({ replicas, atMs: secondsAgo(ago) })),
  changes: [],
});
const changed = (...entries: [change: number, secondsAgo: number][]): ScalingHistory => ({
  recommendations: [],
  changes: entries.map(([change, ago]) => ({ change, atMs: secondsAgo(ago) })),
});

describe('without a behaviour', () => {
  it('takes what is asked for within the bounds', () => {
    assert.deepEqual(limit({ current: 5, desired: 8 }), [8, 'ReadyForNewScale', 'DesiredWithinRange']);
  });

  it('doubles at most, and goes to four from fewer', () => {
    assert.deepEqual(limit({ current: 5, desired: 50 }), [10, 'ReadyForNewScale', 'ScaleUpLimit']);
    assert.deepEqual(limit({ current: 1, desired: 50 }), [4, 'ReadyForNewScale', 'ScaleUpLimit']);
  });

  it('keeps the bounds', () => {
    assert.deepEqual(limit({ current: 5, desired: 9, max: 7 }), [7, 'ReadyForNewScale', 'TooManyReplicas']);
    assert.deepEqual(limit({ current: 5, desired: 1, min: 3 }), [3, 'ReadyForNewScale', 'TooFewReplicas']);
  });

  it('does not go below what the last five minutes asked for', () => {
    const history = recommended([9, 400], [6, 200], [3, 100]);
    assert.deepEqual(limit({ current: 8, desired: 2, history }), [6, 'ScaleDownStabilized', 'DesiredWithinRange']);
  });
});

describe('with a behaviour', () => {
  it('fills in what it does not say', () => {
    assert.deepEqual(limit({ current: 10, desired: 90, behavior: {} }), [20, 'ReadyForNewScale', 'ScaleUpLimit']);
    assert.deepEqual(limit({ current: 2, desired: 90, behavior: {} }), [6, 'ReadyForNewScale', 'ScaleUpLimit']);
    const held = limit({ current: 10, desired: 2, behavior: {}, history: recommended([10, 200]) });
    assert.deepEqual(held, [10, 'ScaleDownStabilized', 'DesiredWithinRange']);
  });

  const up = (rules: HorizontalPodAutoscalerBehavior['scaleUp']) => ({ scaleUp: rules });
  const down = (rules: HorizontalPodAutoscalerBehavior['scaleDown']) => ({
    scaleDown: { stabilizationWindowSeconds: 0, ...rules },
  });
  const pods = (value: number, periodSeconds: number) => ({ type: 'Pods', value, periodSeconds });
  const percent = (value: number, periodSeconds: number) => ({ type: 'Percent', value, periodSeconds });

  it('adds within a period no more than a policy allows, what was added before included', () => {
    const behavior = up({ policies: [pods(4, 60)] });
    assert.deepEqual(limit({ current: 3, desired: 20, behavior, history: changed([2, 30]) })[0], 5);
    assert.deepEqual(limit({ current: 3, desired: 20, behavior, history: changed([2, 70]) })[0], 7);
    assert.deepEqual(limit({ current: 9, desired: 20, behavior, history: changed([6, 30]) })[0], 9);
  });

  it('takes the largest change of several policies, or the smallest', () => {
    const policies = [pods(4, 60), percent(10, 60)];
    assert.equal(limit({ current: 100, desired: 200, max: 500, behavior: up({ policies }) })[0], 110);
    assert.equal(
      limit({ current: 100, desired: 200, max: 500, behavior: up({ policies, selectPolicy: 'Min' }) })[0],
      104,
    );
    assert.equal(limit({ current: 100, desired: 1, behavior: down({ policies }) })[0], 90);
    assert.equal(limit({ current: 100, desired: 1, behavior: down({ policies, selectPolicy: 'Min' }) })[0], 96);
  });

  it('rounds a share up when it adds, and removes at least one', () => {
    assert.equal(limit({ current: 1, desired: 9, behavior: up({ policies: [percent(10, 60)] }) })[0], 2);
    assert.equal(limit({ current: 3, desired: 1, behavior: down({ policies: [percent(10, 60)] }) })[0], 2);
  });

  it('can forbid a direction', () => {
    const upDisabled = { ...up({ selectPolicy: 'Disabled' }), ...down({}) };
    assert.deepEqual(limit({ current: 5, desired: 9, behavior: upDisabled }), [5, 'ReadyForNewScale', 'ScaleUpLimit']);
    assert.equal(limit({ current: 5, desired: 2, behavior: upDisabled })[0], 2);
    const downDisabled = down({ selectPolicy: 'Disabled' });
    assert.deepEqual(limit({ current: 5, desired: 2, behavior: downDisabled }), [
      5,
      'ReadyForNewScale',
      'ScaleDownLimit',
    ]);
  });

  it('grows only to the lowest of what its window asked for', () => {
    const behavior = up({ stabilizationWindowSeconds: 60, policies: [pods(100, 15)] });
    const history = recommended([4, 90], [6, 40], [9, 10]);
    assert.deepEqual(limit({ current: 5, desired: 9, behavior, history }), [
      6,
      'ScaleUpStabilized',
      'DesiredWithinRange',
    ]);
  });

  it('keeps the bounds when the rates allow more', () => {
    const behavior = { ...up({ policies: [pods(100, 15)] }), ...down({ policies: [pods(100, 15)] }) };
    assert.deepEqual(limit({ current: 5, desired: 50, max: 9, behavior })[2], 'TooManyReplicas');
    assert.deepEqual(limit({ current: 5, desired: 1, min: 3, behavior })[2], 'TooFewReplicas');
  });
});

describe('the history', () => {
  it('remembers as long as a rule looks back, and no longer', () => {
    const behavior = {
      scaleUp: { stabilizationWindowSeconds: 0, policies: [{ type: 'Pods', value: 1, periodSeconds: 60 }] },
      scaleDown: { stabilizationWindowSeconds: 100, policies: [{ type: 'Pods', value: 1, periodSeconds: 30 }] },
    };
    const old: ScalingHistory = {
      recommendations: [
        { replicas: 1, atMs: secondsAgo(101) },
        { replicas: 2, atMs: secondsAgo(99) },
      ],
      changes: [
        { change: 1, atMs: secondsAgo(61) },
        { change: 2, atMs: secondsAgo(59) },
      ],
    };
    const { recommendations, changes } = remember(old, 7, -1, behavior, nowMs);
    assert.deepEqual(
      recommendations.map(({ replicas }) => replicas),
      [2, 7],
    );
    assert.deepEqual(
      changes.map(({ change }) => change),
      [2, -1],
    );
  });
});
