import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Container, ResourceRequirements } from '#kube/api/generated/core-v1.ts';
import { planPodActions } from '../../../agent/sync/plan-pod-actions.ts';
import { memoryProblem, planPodResize } from '../../../agent/sync/plan-pod-resize.ts';
import { planContainerResize } from '../../../agent/sync/plan-resize.ts';
import { container, podOf, run, runtimeOf } from './fixtures.ts';

function amounts(cpuRequest: string, cpuLimit: string, memory: string): ResourceRequirements {
  return { requests: { cpu: cpuRequest, memory }, limits: { cpu: cpuLimit, memory } };
}

const before = amounts('100m', '200m', '64Mi');
const restartFor = (resourceName: string): Partial<Container> => ({
  resizePolicy: [{ resourceName, restartPolicy: 'RestartContainer' }],
});

describe('planContainerResize', () => {
  const table: [string, ResourceRequirements, Partial<Container>, string[]][] = [
    ['does nothing where nothing differs', before, {}, []],
    ['does nothing for equal amounts written differently', amounts('0.1', '0.2', '67108864'), {}, []],
    ['gives processors', amounts('200m', '300m', '64Mi'), {}, ['cpu increase']],
    ['takes processors', amounts('50m', '100m', '64Mi'), {}, ['cpu decrease']],
    ['changes a request alone', amounts('150m', '200m', '64Mi'), {}, ['cpu increase']],
    ['gives memory', amounts('100m', '200m', '128Mi'), {}, ['memory increase']],
    ['changes both', amounts('200m', '300m', '32Mi'), {}, ['memory decrease', 'cpu increase']],
    ['leaves memory requests to the status', { ...before, requests: { cpu: '100m', memory: '32Mi' } }, {}, []],
    [
      'restarts where the policy for memory says so',
      amounts('100m', '200m', '128Mi'),
      restartFor('memory'),
      ['restart'],
    ],
    [
      'does not restart for the other resource',
      amounts('150m', '200m', '64Mi'),
      restartFor('memory'),
      ['cpu increase'],
    ],
    [
      'restarts where the policy for processors says so',
      amounts('150m', '200m', '64Mi'),
      restartFor('cpu'),
      ['restart'],
    ],
  ];
  for (const [name, after, extra, expected] of table) {
    it(name, () => {
      const { restart, updates } = planContainerResize(
        container('c', { resources: after, ...extra }),
        run('c'),
        before,
      );
      const found = updates.map(({ resource, direction }) => `${resource} ${direction}`);
      assert.deepEqual(restart ? ['restart'] : found, expected);
    });
  }

  it('takes amounts for equal that the kernel cannot tell apart', () => {
    const plan = planContainerResize(
      container('c', { resources: amounts('1m', '5m', '64Mi') }),
      run('c'),
      amounts('2m', '8m', '64Mi'),
    );
    assert.deepEqual(plan, { restart: false, updates: [] });
  });
});

describe('planPodResize', () => {
  const two = [
    container('a', { resources: amounts('200m', '200m', '128Mi') }),
    container('b', { resources: amounts('50m', '50m', '32Mi') }),
  ];
  const updates = two.flatMap(
    (item) => planContainerResize(item, run(item.name), amounts('100m', '100m', '64Mi')).updates,
  );

  function order(current: number, target: number): string[] {
    const state = { cpuShares: current, cpuQuotaUs: current, memoryBytes: current, memoryUsageBytes: 0 };
    const limits = { cpuShares: target, cpuQuotaUs: target, cpuPeriodUs: 100_000, memoryBytes: target };
    return planPodResize(state, limits, updates).map((step) =>
      step.type === 'pod'
        ? `pod ${Object.keys(step.limits).at(-1)}`
        : `${step.update.container.name} ${step.update.resource}`,
    );
  }

  it('widens the pod before its containers, which give before they take', () => {
    assert.deepEqual(order(100, 200), [
      'pod memoryBytes',
      'b memory',
      'a memory',
      'pod cpuQuotaUs',
      'pod cpuShares',
      'b cpu',
      'a cpu',
    ]);
  });

  it('narrows the pod after its containers', () => {
    assert.deepEqual(order(200, 100), [
      'b memory',
      'a memory',
      'pod memoryBytes',
      'b cpu',
      'a cpu',
      'pod cpuShares',
      'pod cpuQuotaUs',
    ]);
  });

  it('leaves the pod alone where its own limits stay', () => {
    assert.deepEqual(order(100, 100), ['b memory', 'a memory', 'b cpu', 'a cpu']);
  });

  it('sets no limit below what is in use', () => {
    assert.equal(memoryProblem('pod', 50, 100), undefined);
    assert.equal(memoryProblem('pod', 150, 100), 'attempting to set pod memory limit (100) below current usage (150)');
  });
});

describe('planPodActions: resizes', () => {
  const pod = podOf({
    containers: [
      container('a', { resources: amounts('200m', '200m', '64Mi') }),
      container('b', { resources: amounts('100m', '100m', '128Mi'), ...restartFor('memory') }),
    ],
  });
  const actuated = podOf({
    containers: [
      container('a', { resources: amounts('100m', '100m', '64Mi') }),
      container('b', { resources: amounts('100m', '100m', '64Mi') }),
    ],
  });
  const probes = { liveness: () => 'success' as const, startup: () => 'success' as const };
  const inputs = { probes, restartDelay: () => undefined, observed: runtimeOf([run('a'), run('b')]) };

  it('updates one container and restarts another, the stop first and the start last', () => {
    const actions = planPodActions({ ...inputs, pod, actuated });
    assert.deepEqual(
      actions.map(({ type }) => type),
      ['killContainer', 'resizePod', 'startContainer'],
    );
    const [kill, resize] = actions;
    assert.equal(kill?.type === 'killContainer' && kill.message, 'Container b resize requires restart');
    const names = resize?.type === 'resizePod' ? resize.updates.map((item) => item.container.name) : [];
    assert.deepEqual(names, ['a']);
  });

  it('does nothing once the containers have what they were given', () => {
    assert.deepEqual(planPodActions({ ...inputs, pod, actuated: pod }), []);
  });

  it('resizes the pod as a whole where only its own resources changed', () => {
    const { spec } = actuated;
    const wider = { ...actuated, spec: { ...spec, resources: amounts('1', '1', '1Gi') } };
    assert.deepEqual(planPodActions({ ...inputs, pod: wider, actuated }), [{ type: 'resizePod', updates: [] }]);
  });
});
