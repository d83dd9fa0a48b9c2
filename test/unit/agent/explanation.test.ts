import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod, PodStatus } from '#kube/api/generated/core-v1.ts';
import { computeExplanation, type ExplainInputs } from '../../../agent/explain/compute-explanation.ts';
import { conditionOf } from '../../../agent/explain/explainer.ts';
import type { Explanation } from '../../../agent/explain/explanation.ts';
import type { StepState } from '../../../agent/explain/pod-steps.ts';
import { container, podOf } from './fixtures.ts';

const nowMs = Date.parse('2026-01-01T00:01:00Z');
const ago = (seconds: number) => new Date(nowMs - seconds * 1000).toISOString().replace('.000Z', 'Z');
const state = (step: StepState['step'], extra: Partial<StepState> = {}): StepState => ({
  step,
  sinceMs: nowMs - 20_000,
  running: false,
  attempts: 1,
  lastError: undefined,
  ...extra,
});
const failed = (message: string) => ({ message, atMs: nowMs - 1000 });
const running = (name: string, extra: object = {}) => ({
  name,
  ready: false,
  restartCount: 0,
  image: 'i',
  imageID: '',
  state: { running: { startedAt: ago(30) } },
  ...extra,
});
const status = (extra: Partial<PodStatus> = {}): PodStatus => ({ phase: 'Pending', ...extra });

function explain(extra: Partial<ExplainInputs> = {}): Explanation {
  return computeExplanation({
    pod: podOf({ containers: [container('c')] }),
    status: status(),
    steps: [],
    warnings: new Map(),
    dueAtMs: undefined,
    nowMs,
    ...extra,
  });
}

describe('computeExplanation', () => {
  const probed = (probe: 'readinessProbe' | 'startupProbe'): Pod =>
    podOf({ containers: [container('c', { [probe]: { exec: { command: ['x'] }, periodSeconds: 5 } })] });
  const unhealthy = new Map([
    ['c', { reason: 'Unhealthy', message: 'Readiness probe failed: no', atMs: nowMs - 2000 }],
  ]);
  const table: [string, Partial<ExplainInputs>, Partial<Explanation>][] = [
    [
      'names a volume that is missing, with the next attempt',
      {
        steps: [state('volume', { lastError: failed('secret "s" not found'), attempts: 4 })],
        dueAtMs: nowMs + 4000,
      },
      {
        step: 'volume',
        message: 'preparing volumes: secret "s" not found',
        lastError: 'secret "s" not found',
        attempts: 4,
        ageSeconds: 20,
        nextRetry: ago(-4),
      },
    ],
    [
      'names a network that is not there',
      { steps: [state('sandbox', { lastError: failed('network is not ready: no CNI') })] },
      { step: 'sandbox', lastError: 'network is not ready: no CNI' },
    ],
    [
      'tells how far a pull is',
      {
        steps: [state('pull', { running: true, container: 'c', subject: 'slow:1' })],
        bytes: { done: 10, total: 40 },
      },
      { step: 'pull', container: 'c', message: 'pulling image slow:1', bytes: { done: 10, total: 40 } },
    ],
    [
      'takes the step that was begun first',
      { steps: [state('volume'), state('start', { sinceMs: nowMs - 1000 })] },
      { step: 'volume' },
    ],
    [
      'names a hook that does not end',
      { steps: [state('hook', { running: true, container: 'c' })] },
      { step: 'hook', container: 'c', message: 'running the postStart hook' },
    ],
    [
      'names a container that keeps ending, and why it ended',
      {
        status: status({
          phase: 'Running',
          containerStatuses: [
            {
              ...running('c'),
              state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 40s restarting' } },
              lastState: { terminated: { exitCode: 3, reason: 'Error', message: 'no config\n', finishedAt: ago(10) } },
            },
          ],
        }),
        dueAtMs: nowMs + 30_000,
      },
      {
        step: 'backoff',
        container: 'c',
        message: 'back-off 40s restarting',
        lastError: 'the container ended with exit code 3 (Error): no config',
        ageSeconds: 10,
        nextRetry: ago(-30),
      },
    ],
    [
      'names a readiness probe that fails',
      {
        pod: probed('readinessProbe'),
        status: status({ phase: 'Running', containerStatuses: [running('c', { started: true })] }),
        warnings: unhealthy,
      },
      { step: 'probe', container: 'c', lastError: 'Readiness probe failed: no', ageSeconds: 30, nextRetry: ago(-3) },
    ],
    [
      'names a startup probe that was not asked yet',
      {
        pod: probed('startupProbe'),
        status: status({ phase: 'Running', containerStatuses: [running('c', { started: false })] }),
      },
      { step: 'probe', message: 'waiting for the startup probe to succeed' },
    ],
    [
      'names a readiness gate',
      {
        pod: podOf({ containers: [container('c')], readinessGates: [{ conditionType: 'example.com/lb' }] }),
        status: status({ phase: 'Running', containerStatuses: [running('c', { ready: true })] }),
      },
      { step: 'readinessGate', message: 'waiting for condition example.com/lb to be True' },
    ],
    [
      'says that a ready pod waits for nothing, whatever failed before',
      {
        status: status({ phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] }),
        steps: [state('volume', { lastError: failed('x') })],
      },
      { step: 'none', message: 'the pod is ready' },
    ],
    [
      'says how a pod has ended',
      { status: status({ phase: 'Failed', reason: 'Evicted' }) },
      { step: 'none', message: 'the pod has ended: Evicted' },
    ],
  ];
  for (const [name, inputs, expected] of table) {
    it(name, () => {
      const explanation = explain(inputs);
      const seen = Object.fromEntries(Object.keys(expected).map((key) => [key, Reflect.get(explanation, key)]));
      assert.deepEqual(seen, expected);
    });
  }

  it('tells what keeps a deleted pod', () => {
    const pod = podOf({ containers: [container('c')] });
    const deleted = {
      ...pod,
      metadata: { ...pod.metadata, deletionTimestamp: ago(9), deletionGracePeriodSeconds: 30 },
    };
    assert.equal(explain({ pod: deleted, steps: [state('termination', { running: true })] }).step, 'termination');
    const held = { ...deleted, metadata: { ...deleted.metadata, finalizers: ['example.com/keep'] } };
    assert.match(explain({ pod: held }).message, /finalizers to be removed: example.com\/keep/);
  });
});

describe('conditionOf', () => {
  it('shows what has been blocking for two seconds', () => {
    const early = explain({ steps: [state('sandbox', { sinceMs: nowMs - 1000 })] });
    assert.equal(conditionOf(early, nowMs), undefined);
    const late = explain({ steps: [state('pull', { container: 'c', subject: 'x:1', sinceMs: nowMs - 2000 })] });
    assert.deepEqual(conditionOf(late, nowMs), {
      type: 'berth.io/Blocked',
      status: 'True',
      reason: 'Pull',
      message: 'container c: pulling image x:1',
    });
  });

  it('shows nothing for pods that are ready or ending', () => {
    const ready = status({ conditions: [{ type: 'Ready', status: 'True' }] });
    assert.equal(conditionOf(explain({ status: ready }), nowMs), undefined);
    const pod = podOf({ containers: [container('c')] });
    const deleted = { ...pod, metadata: { ...pod.metadata, deletionTimestamp: ago(60) } };
    assert.equal(conditionOf(explain({ pod: deleted, steps: [state('termination')] }), nowMs), undefined);
  });
});
