import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withCondition } from '#kube/api/conditions.ts';
import type { Container, NodeSelectorRequirement, Taint, Toleration } from '#kube/api/generated/core-v1.ts';
import { scaledIntOrPercent } from '#kube/api/int-or-string.ts';
import { nodeAffinityAllows } from '#kube/api/node-affinity.ts';
import { computeQosClass } from '#kube/api/pod-qos.ts';
import { podLimits, podRequests } from '#kube/api/pod-resources.ts';
import { isPodAvailable } from '#kube/api/pod-state.ts';
import { tolerates } from '#kube/api/taints.ts';
import { node, pod, runningPod } from '../../support/objects.ts';

type Amounts = Record<string, string>;

function container(requests: Amounts, limits: Amounts = {}, restartPolicy?: string): Container {
  return {
    name: 'c',
    image: 'i',
    resources: { requests, limits },
    ...(restartPolicy === undefined ? {} : { restartPolicy }),
  };
}

test('sums containers', () => {
  const requests = podRequests(
    pod('p', { spec: { containers: [container({ cpu: '100m' }), container({ cpu: '0.4', memory: '1Gi' })] } }),
  );
  assert.deepEqual(
    [...requests],
    [
      ['cpu', 500],
      ['memory', 2 ** 30],
    ],
  );
});

test('counts the largest init container where it is more than the rest', () => {
  const spec = {
    initContainers: [container({ cpu: '2' }), container({ cpu: '1' })],
    containers: [container({ cpu: '500m' })],
  };
  assert.equal(podRequests(pod('p', { spec })).get('cpu'), 2000);
});

test('sidecars run beside the containers and the init containers after them', () => {
  const initContainers = [container({ cpu: '100m' }, {}, 'Always'), container({ cpu: '1' })];
  assert.equal(
    podRequests(pod('p', { spec: { initContainers, containers: [container({ cpu: '500m' })] } })).get('cpu'),
    1100,
  );
  assert.equal(
    podRequests(pod('p', { spec: { initContainers, containers: [container({ cpu: '2' })] } })).get('cpu'),
    2100,
  );
});

test('adds the overhead, to limits only where there are some', () => {
  const spec = { containers: [container({ cpu: '1' }, { cpu: '2' })], overhead: { cpu: '250m', memory: '120Mi' } };
  assert.deepEqual(
    [...podRequests(pod('p', { spec }))],
    [
      ['cpu', 1250],
      ['memory', 120 * 2 ** 20],
    ],
  );
  assert.deepEqual([...podLimits(pod('p', { spec }))], [['cpu', 2250]]);
});

test('resources of the pod itself take the place of the sums', () => {
  const spec = { containers: [container({ cpu: '1', memory: '1' })], resources: { requests: { cpu: '3' } } };
  assert.deepEqual(
    [...podRequests(pod('p', { spec }))],
    [
      ['cpu', 3000],
      ['memory', 1],
    ],
  );
});

const classes: [text: string, containers: Container[], expected: string][] = [
  ['nothing asked for', [container({})], 'BestEffort'],
  ['requests only', [container({ cpu: '1' })], 'Burstable'],
  [
    'limits equal to requests',
    [container({ cpu: '1', memory: '1Gi' }, { cpu: '1000m', memory: '1024Mi' })],
    'Guaranteed',
  ],
  ['limits above requests', [container({ cpu: '1', memory: '1Gi' }, { cpu: '2', memory: '1Gi' })], 'Burstable'],
  [
    'one container without limits',
    [container({ cpu: '1', memory: '1' }, { cpu: '1', memory: '1' }), container({})],
    'Burstable',
  ],
  ['zero requests', [container({ cpu: '0' })], 'BestEffort'],
  ['other resources', [container({ 'nvidia.com/gpu': '1' })], 'BestEffort'],
];

for (const [text, containers, expected] of classes) {
  test(`${text}: ${expected}`, () => assert.equal(computeQosClass(pod('p', { spec: { containers } })), expected));
}

const tolerations: [Toleration, Taint, boolean][] = [
  [{ operator: 'Exists' }, { key: 'a', effect: 'NoExecute' }, true],
  [{ key: 'a', operator: 'Exists' }, { key: 'a', value: 'x', effect: 'NoSchedule' }, true],
  [{ key: 'a', operator: 'Exists', effect: 'NoExecute' }, { key: 'a', effect: 'NoSchedule' }, false],
  [{ key: 'a', value: 'x' }, { key: 'a', value: 'x', effect: 'NoSchedule' }, true],
  [{ key: 'a', value: 'y' }, { key: 'a', value: 'x', effect: 'NoSchedule' }, false],
  [{ key: 'b', operator: 'Exists' }, { key: 'a', effect: 'NoSchedule' }, false],
];

for (const [toleration, taint, expected] of tolerations) {
  test(`${JSON.stringify(toleration)} ${expected ? 'tolerates' : 'does not tolerate'} ${JSON.stringify(taint)}`, () => {
    assert.equal(tolerates(toleration, taint), expected);
  });
}

const requirements: [NodeSelectorRequirement[], boolean][] = [
  [[{ key: 'disk', operator: 'In', values: ['ssd', 'nvme'] }], true],
  [[{ key: 'disk', operator: 'NotIn', values: ['ssd'] }], false],
  [[{ key: 'disk', operator: 'Exists' }], true],
  [[{ key: 'gpu', operator: 'DoesNotExist' }], true],
  [[{ key: 'cores', operator: 'Gt', values: ['8'] }], true],
  [[{ key: 'cores', operator: 'Lt', values: ['8'] }], false],
  [[], false],
];

for (const [matchExpressions, expected] of requirements) {
  test(`${JSON.stringify(matchExpressions)} ${expected ? 'allows' : 'excludes'} the node`, () => {
    const affinity = {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] } },
    };
    assert.equal(nodeAffinityAllows({ affinity }, node('n', { labels: { disk: 'ssd', cores: '16' } })), expected);
  });
}

test('one of several terms is enough, and a term can name a node', () => {
  const terms = [
    { matchExpressions: [{ key: 'x', operator: 'Exists' }] },
    { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n'] }] },
  ];
  const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } };
  assert.equal(nodeAffinityAllows({ affinity }, node('n')), true);
  assert.equal(nodeAffinityAllows({ affinity }, node('m')), false);
});

test('a pod is available when it has been ready for long enough', () => {
  const ready = runningPod('p', '10.0.0.1', true);
  const since = Date.parse('2025-01-01T00:00:00Z');
  assert.equal(isPodAvailable(ready, 10, since + 9_000), false);
  assert.equal(isPodAvailable(ready, 10, since + 10_000), true);
});

test('the transition time of a condition moves with its status only', () => {
  const before = [{ type: 'Ready', status: 'True', reason: 'a', lastTransitionTime: 't1' }];
  const same = withCondition(before, { type: 'Ready', status: 'True', reason: 'b', lastTransitionTime: 't2' });
  assert.deepEqual(same, [{ type: 'Ready', status: 'True', reason: 'b', lastTransitionTime: 't1' }]);
  const other = withCondition(before, { type: 'Ready', status: 'False', reason: 'b', lastTransitionTime: 't2' });
  assert.equal(other[0]?.lastTransitionTime, 't2');
});

test('percentages are rounded as the field asks', () => {
  assert.equal(scaledIntOrPercent('25%', 10, 'up'), 3);
  assert.equal(scaledIntOrPercent('25%', 10, 'down'), 2);
  assert.equal(scaledIntOrPercent(7, 10, 'up'), 7);
  assert.throws(() => scaledIntOrPercent('x', 10, 'up'), RangeError);
});
