import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import type { Decision } from '../../../control-plane-lite/scheduler/framework/select-node.ts';
import { node, type PodFields, pod, requestingPod } from '../../support/objects.ts';
import { schedulerCluster } from '../../support/scheduler-cluster.ts';

const cluster = (...nodes: Node[]) => schedulerCluster(nodes);

function message(decision: Decision): string {
  return decision.outcome === 'unschedulable' ? decision.message : `fits ${decision.node}`;
}

function owned(name: string, owner: string, fields: PodFields = {}): Pod {
  const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: owner, uid: owner, controller: true }];
  return pod(name, { ...fields, metadata: { labels: { app: owner }, ownerReferences, ...fields.metadata } });
}

test('says that there are no nodes', () => {
  assert.equal(message(cluster().decide(pod('p'))), 'no nodes available to schedule pods');
});

const tainted = node('tainted', { spec: { taints: [{ key: 'a', value: 'b', effect: 'NoSchedule' }] } });
const cordoned = node('cordoned', { spec: { unschedulable: true } });
const full = node('full', { allocatable: { cpu: '1', memory: '1Gi', pods: '0' } });

const refusals: [text: string, spec: Partial<PodSpec>, expected: string][] = [
  [
    'counts the reasons of all nodes',
    { containers: [{ name: 'c', image: 'i', resources: { requests: { cpu: '64' } } }] },
    '0/4 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 2 Insufficient cpu.',
  ],
  [
    'names a node selector that nothing matches',
    { nodeSelector: { disk: 'ssd' }, tolerations: [{ operator: 'Exists' }] },
    "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector.",
  ],
];

for (const [text, spec, expected] of refusals) {
  test(text, () => {
    const roomy = node('roomy');
    assert.equal(message(cluster(tainted, cordoned, full, roomy).decide(pod('p', { spec }))), expected);
  });
}

test('names extended resources that are missing', () => {
  const containers = [{ name: 'c', image: 'i', resources: { requests: { 'nvidia.com/gpu': '1' } } }];
  const decision = cluster(node('a')).decide(pod('p', { spec: { containers } }));
  assert.equal(message(decision), '0/1 nodes are available: 1 Insufficient nvidia.com/gpu.');
});

test('a toleration opens a tainted node, and one for cordons a cordoned one', () => {
  const both = cluster(tainted, cordoned);
  const tolerations = [{ key: 'a', operator: 'Equal', value: 'b', effect: 'NoSchedule' }];
  assert.equal(both.place(pod('p', { spec: { tolerations } })), 'tainted');
  const cordon = [{ key: 'node.kubernetes.io/unschedulable', operator: 'Exists' }];
  assert.equal(both.place(pod('q', { spec: { tolerations: cordon } })), 'cordoned');
});

test('prefers the emptier node', () => {
  const two = cluster(node('a'), node('b'));
  const first = two.place(requestingPod('p1', '1', '1Gi'));
  assert.notEqual(two.place(requestingPod('p2', '1', '1Gi')), first);
});

test('fills nodes to the last millicore and no further', () => {
  const one = cluster(node('a', { allocatable: { cpu: '1', memory: '8Gi', pods: '100' } }));
  for (let index = 0; index < 10; index += 1) one.place(requestingPod(`p${index}`, '100m', '1Mi'));
  assert.equal(message(one.decide(requestingPod('q', '1m', '1Mi'))), '0/1 nodes are available: 1 Insufficient cpu.');
  one.cache.deletePod('nobody');
});

test('a deleted pod makes room at once', () => {
  const one = cluster(node('a', { allocatable: { cpu: '1', memory: '8Gi', pods: '1' } }));
  const first = pod('p');
  one.place(first);
  assert.equal(message(one.decide(pod('q'))), '0/1 nodes are available: 1 Too many pods.');
  one.cache.deletePod(first.metadata.uid ?? '');
  assert.equal(one.place(pod('q')), 'a');
});

test('an assumed pod that could not be bound gives its place back, a confirmed one does not', () => {
  const one = cluster(node('a', { allocatable: { cpu: '1', memory: '8Gi', pods: '1' } }));
  const first = pod('p');
  one.place(first);
  one.cache.setPod({ ...first, spec: { containers: [], nodeName: 'a' } });
  one.cache.forget(first.metadata.uid ?? '');
  assert.equal(one.decide(pod('q')).outcome, 'unschedulable');
});

test('pods of a node that is not known yet count when it comes', () => {
  const late = cluster();
  late.cache.setPod(pod('p', { spec: { nodeName: 'a' } }));
  late.cache.setNode(node('a', { allocatable: { cpu: '1', memory: '1Gi', pods: '1' } }));
  assert.equal(late.decide(pod('q')).outcome, 'unschedulable');
});

test('does not place two pods on the same port of a node', () => {
  const containers = [{ name: 'c', image: 'i', ports: [{ containerPort: 80, hostPort: 80 }] }];
  const one = cluster(node('a'));
  one.place(pod('p', { spec: { containers } }));
  assert.equal(
    message(one.decide(pod('q', { spec: { containers } }))),
    "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
  );
  const other = [{ name: 'c', image: 'i', ports: [{ containerPort: 80, hostPort: 80, protocol: 'UDP' }] }];
  assert.equal(one.place(pod('r', { spec: { containers: other } })), 'a');
});

test('spreads the pods of one owner over nodes and zones', () => {
  const nodes = Array.from({ length: 6 }, (_, index) =>
    node(`n${index}`, { labels: { 'topology.kubernetes.io/zone': index < 4 ? 'big' : 'small' } }),
  );
  const six = cluster(...nodes);
  const used = Array.from({ length: 4 }, (_, index) => six.place(owned(`p${index}`, 'web')));
  assert.equal(new Set(used).size, 4);
  assert.equal(used.filter((name) => name === 'n4' || name === 'n5').length, 2);
});

test('1,000 equal pods end up evenly on 100 nodes', () => {
  const many = cluster(
    ...Array.from({ length: 100 }, (_, index) =>
      node(`n${index}`, { allocatable: { cpu: '32', memory: '64Gi', pods: '110' } }),
    ),
  );
  const counts = new Map<string, number>();
  for (let index = 0; index < 1000; index += 1) {
    const name = many.place(requestingPod(`p${index}`, '100m', '100Mi'));
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  assert.deepEqual([Math.min(...counts.values()), Math.max(...counts.values())], [10, 10]);
});

test('prefers nodes that the pod prefers', () => {
  const preferred = [
    { weight: 50, preference: { matchExpressions: [{ key: 'disk', operator: 'In', values: ['ssd'] }] } },
  ];
  const affinity = { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred } };
  const two = cluster(node('plain'), node('fast', { labels: { disk: 'ssd' } }));
  assert.equal(two.place(pod('p', { spec: { affinity } })), 'fast');
});

test('sees new labels and taints of a node', () => {
  const one = cluster(node('a'));
  const picky = pod('p', { spec: { nodeSelector: { disk: 'ssd' } } });
  assert.equal(one.decide(picky).outcome, 'unschedulable');
  one.cache.setNode(node('a', { labels: { disk: 'ssd' } }));
  assert.equal(one.decide(picky).outcome, 'fits');
  one.cache.setNode(tainted);
  one.cache.deleteNode('a');
  assert.equal(one.decide(picky).outcome, 'unschedulable');
});

const near = (labels: Record<string, string>, topologyKey = 'kubernetes.io/hostname') => [
  { labelSelector: { matchLabels: labels }, topologyKey },
];

test('required anti-affinity keeps pods apart, also from pods that came before', () => {
  const two = cluster(node('a'), node('b'));
  const apart: Partial<PodSpec> = {
    affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: near({ app: 'web' }) } },
  };
  const lonely = (name: string) => pod(name, { metadata: { labels: { app: 'web' } }, spec: apart });
  assert.notEqual(two.place(lonely('p1')), two.place(lonely('p2')));
  assert.equal(
    message(two.decide(lonely('p3'))),
    "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.",
  );
  assert.equal(
    message(two.decide(pod('plain', { metadata: { labels: { app: 'web' } } }))),
    "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules.",
  );
  assert.equal(two.decide(pod('other')).outcome, 'fits');
});

test('required affinity places pods together, and lets the first of a set start', () => {
  const two = cluster(node('a'), node('b'));
  const together = (app: string): Partial<PodSpec> => ({
    affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: near({ app }) } },
  });
  assert.equal(
    message(two.decide(pod('q', { spec: together('web') }))),
    "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.",
  );
  const first = two.place(pod('p', { metadata: { labels: { app: 'web' } }, spec: together('web') }));
  assert.equal(two.place(pod('q', { spec: together('web') })), first);
});

test('preferred anti-affinity yields when there is no other place', () => {
  const preferred = near({ app: 'web' }).map((podAffinityTerm) => ({ weight: 100, podAffinityTerm }));
  const affinity = { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred } };
  const two = cluster(node('a'), node('b'));
  const polite = (name: string) => pod(name, { metadata: { labels: { app: 'web' } }, spec: { affinity } });
  assert.notEqual(two.place(polite('p1')), two.place(polite('p2')));
  assert.equal(two.decide(polite('p3')).outcome, 'fits');
});

test('hard spreading keeps the skew, and names nodes without the label', () => {
  const zones = ['z1', 'z1', 'z2'].map((zone, index) =>
    node(`n${index}`, { labels: { 'topology.kubernetes.io/zone': zone } }),
  );
  const three = cluster(...zones, node('bare'));
  const constraint = {
    maxSkew: 1,
    topologyKey: 'topology.kubernetes.io/zone',
    whenUnsatisfiable: 'DoNotSchedule',
    labelSelector: { matchLabels: { app: 'web' } },
  };
  const spread = (name: string) =>
    pod(name, { metadata: { labels: { app: 'web' } }, spec: { topologySpreadConstraints: [constraint] } });
  const used = Array.from({ length: 4 }, (_, index) => three.place(spread(`p${index}`)));
  assert.equal(used.filter((name) => name === 'n2').length, 2);
  three.cache.setNode(node('n2', { labels: { 'topology.kubernetes.io/zone': 'z2' }, spec: { unschedulable: true } }));
  three.place(spread('p4'));
  assert.equal(
    message(three.decide(spread('p5'))),
    "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), 1 node(s) were unschedulable, 2 node(s) didn't match pod topology spread constraints.",
  );
});
