// Scores and filters of single plugins, and how profiles change them.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Node, Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import { valueOfShape } from '../../../control-plane-lite/scheduler/plugins/score-shape.ts';
import {
  defaultPluginArgs,
  defaultProfileConfig,
  type PluginArgs,
  type ProfileConfig,
} from '../../../control-plane-lite/scheduler/profile/profile-config.ts';
import { node, type PodFields, pod, requestingPod } from '../../support/objects.ts';
import { schedulerCluster } from '../../support/scheduler-cluster.ts';

const profile = (args: Partial<PluginArgs>, change: Partial<ProfileConfig> = {}): ProfileConfig => ({
  ...defaultProfileConfig(),
  args: { ...defaultPluginArgs, ...args },
  ...change,
});
/** Only this plugin scores. */
const only = (name: string, args: Partial<PluginArgs> = {}) => profile(args, { scores: new Map([[name, 1]]) });

const big = (name: string, fields: Parameters<typeof node>[1] = {}) =>
  node(name, { allocatable: { cpu: '10', memory: '10Gi', pods: '10', 'example.com/gpu': '10' }, ...fields });

describe('scores by resources', () => {
  const fit = defaultPluginArgs.fit;
  const resources = { requests: { cpu: '4', memory: '4Gi' } };
  const loaded = pod('there', { spec: { nodeName: 'full', containers: [{ name: 'c', image: 'i', resources }] } });
  const chosen = (strategy: 'LeastAllocated' | 'MostAllocated', candidate: Pod) => {
    const cluster = schedulerCluster([big('full'), big('empty')], {
      profile: only('NodeResourcesFit', { fit: { ...fit, strategy } }),
    });
    cluster.cache.setPod(loaded);
    return cluster.place(candidate);
  };

  it('LeastAllocated takes the emptier node', () =>
    assert.equal(chosen('LeastAllocated', requestingPod('p', '1', '1Gi')), 'empty'));
  it('MostAllocated takes the fuller one', () =>
    assert.equal(chosen('MostAllocated', requestingPod('p', '1', '1Gi')), 'full'));
  it('MostAllocated takes another one when that has no room', () =>
    assert.equal(chosen('MostAllocated', requestingPod('p', '7', '1Gi')), 'empty'));

  it('RequestedToCapacityRatio follows its shape, over any resource', () => {
    const requests = (amount: string) => [
      { name: 'c', image: 'i', resources: { requests: { 'example.com/gpu': amount } } },
    ];
    const binPacking = {
      ...fit,
      strategy: 'RequestedToCapacityRatio' as const,
      resources: [{ name: 'example.com/gpu', weight: 1 }],
      shape: [
        { utilization: 0, score: 0 },
        { utilization: 100, score: 10 },
      ],
    };
    const cluster = schedulerCluster([big('full'), big('empty')], {
      profile: only('NodeResourcesFit', { fit: binPacking }),
    });
    cluster.cache.setPod(pod('there', { spec: { nodeName: 'full', containers: requests('4') } }));
    assert.equal(cluster.place(pod('p', { spec: { containers: requests('2') } })), 'full');
  });

  it('a shape is level at its ends and straight between its points', () => {
    const shape = [
      { utilization: 20, score: 2 },
      { utilization: 60, score: 10 },
    ];
    assert.deepEqual(
      [0, 20, 40, 60, 100].map((utilization) => valueOfShape(shape, utilization)),
      [20, 20, 60, 100, 100],
    );
  });

  it('balance prefers the node whose cpu and memory fill up alike', () => {
    const cluster = schedulerCluster([big('lopsided'), big('even')], {
      profile: only('NodeResourcesBalancedAllocation'),
    });
    cluster.cache.setPod(requestingPod('a', '6', '1Gi', { spec: { nodeName: 'lopsided' } as Partial<PodSpec> }));
    const there = requestingPod('b', '6', '1Gi');
    cluster.cache.setPod({ ...there, spec: { containers: there.spec?.containers ?? [], nodeName: 'lopsided' } });
    assert.equal(cluster.place(requestingPod('p', '1', '1Gi')), 'even');
  });

  it('ignored resources are not looked at', () => {
    const containers = [{ name: 'c', image: 'i', resources: { requests: { 'example.org/x': '1' } } }];
    const ignoring = profile({ fit: { ...fit, ignoredGroups: ['example.org'] } });
    const cluster = schedulerCluster([big('n')], { profile: ignoring });
    assert.equal(cluster.place(pod('p', { spec: { containers } })), 'n');
  });
});

describe('scores by what a node is', () => {
  it('a small preference counts in full where it is the only one that any node fulfils', () => {
    const term = (weight: number, key: string) => ({
      weight,
      preference: { matchExpressions: [{ key, operator: 'Exists' }] },
    });
    const affinity = {
      nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [term(1, 'a'), term(100, 'nowhere')] },
    };
    const cluster = schedulerCluster([big('liked', { labels: { a: '' } }), big('empty')]);
    const there = requestingPod('there', '8', '8Gi');
    cluster.cache.setPod({ ...there, spec: { containers: there.spec?.containers ?? [], nodeName: 'liked' } });
    assert.equal(cluster.place(pod('p', { spec: { affinity } })), 'liked');
  });

  it('soft taints make a node the second choice', () => {
    const taints = [{ key: 'old', effect: 'PreferNoSchedule' }];
    const cluster = schedulerCluster([big('old', { spec: { taints } }), big('new')]);
    for (let index = 0; index < 3; index += 1) assert.equal(cluster.place(pod(`p${index}`)), 'new');
    assert.equal(
      cluster.decide(pod('q', { spec: { nodeSelector: { 'kubernetes.io/hostname': 'old' } } })).outcome,
      'fits',
    );
  });

  it('images that are there draw pods, small ones do not', () => {
    const withImage = (name: string, sizeBytes: number): Node =>
      big(name, { status: { images: [{ names: ['registry.example/app:1'], sizeBytes }] } });
    const spec = { containers: [{ name: 'c', image: 'registry.example/app:1' }] };
    const allocatable = { cpu: '10', memory: '10Gi', pods: '10' };
    const large = schedulerCluster(
      [withImage('has', 800_000_000), big('hasNot')].map((entry) => ({
        ...entry,
        status: { ...entry.status, allocatable },
      })),
      {
        profile: only('ImageLocality'),
      },
    );
    for (let index = 0; index < 3; index += 1) assert.equal(large.place(pod(`p${index}`, { spec })), 'has');
    // Another node that gets the image is worth as much from then on.
    large.cache.setNode({
      ...withImage('hasNot', 800_000_000),
      status: { allocatable, images: [{ names: ['registry.example/app:1'], sizeBytes: 800_000_000 }] },
    });
    const used = new Set(Array.from({ length: 8 }, (_, index) => large.place(pod(`q${index}`, { spec }))));
    assert.ok(used.has('hasNot'));
  });

  it('a profile can require an affinity of all its pods', () => {
    const addedAffinity = {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'team', operator: 'In', values: ['a'] }] }],
      },
    };
    const cluster = schedulerCluster([big('n')], { profile: profile({ addedAffinity }) });
    const decision = cluster.decide(pod('p'));
    assert.equal(
      decision.outcome === 'unschedulable' && decision.message,
      "0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node affinity.",
    );
  });

  it('filters that are switched off refuse nothing', () => {
    const taints = [{ key: 'a', effect: 'NoSchedule' }];
    const filters = new Set([...defaultProfileConfig().filters].filter((name) => name !== 'TaintToleration'));
    const cluster = schedulerCluster([big('n', { spec: { taints } })], { profile: profile({}, { filters }) });
    assert.equal(cluster.place(pod('p')), 'n');
  });
});

describe('host ports', () => {
  const at = (name: string, hostIP: string, protocol = 'TCP', fields: PodFields = {}) =>
    pod(name, {
      ...fields,
      spec: { containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 1, hostPort: 80, hostIP, protocol }] }] },
    });
  const cases: [text: string, first: Pod, second: Pod, fits: boolean][] = [
    ['the same address', at('a', '10.0.0.1'), at('b', '10.0.0.1'), false],
    ['every address and one', at('a', ''), at('b', '10.0.0.1'), false],
    ['two addresses', at('a', '10.0.0.1'), at('b', '10.0.0.2'), true],
    ['two protocols', at('a', ''), at('b', '', 'UDP'), true],
  ];
  for (const [text, first, second, fits] of cases) {
    it(`${fits ? 'share' : 'do not share'} a node with ${text}`, () => {
      const cluster = schedulerCluster([big('n')]);
      cluster.place(first);
      assert.equal(cluster.decide(second).outcome === 'fits', fits);
    });
  }
});
