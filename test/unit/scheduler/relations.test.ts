// Spreading and affinity in full: every field of constraints and terms, and what placed pods say about new ones.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Node, Pod, PodSpec, TopologySpreadConstraint } from '#kube/api/generated/core-v1.ts';
import {
  defaultPluginArgs,
  defaultProfileConfig,
  type PluginArgs,
} from '../../../control-plane-lite/scheduler/profile/profile-config.ts';
import { node, pod } from '../../support/objects.ts';
import { schedulerCluster } from '../../support/scheduler-cluster.ts';

const zone = 'topology.kubernetes.io/zone';
const roomy = { cpu: '64', memory: '64Gi', pods: '110' };
const inZone = (name: string, value: string, labels: Record<string, string> = {}, spec: Node['spec'] = {}) =>
  node(name, { labels: { [zone]: value, ...labels }, spec, allocatable: roomy });
const web = { app: 'web' };
const labelSelector = { matchLabels: web };
const withArgs = (args: Partial<PluginArgs>) => ({
  profile: { ...defaultProfileConfig(), args: { ...defaultPluginArgs, ...args } },
});

const placed = (
  name: string,
  nodeName: string,
  labels: Record<string, string> = web,
  spec: Partial<PodSpec> = {},
): Pod => pod(name, { metadata: { labels }, spec: { nodeName, ...spec } });
const hard = (more: Partial<TopologySpreadConstraint> = {}): TopologySpreadConstraint => ({
  maxSkew: 1,
  topologyKey: zone,
  whenUnsatisfiable: 'DoNotSchedule',
  labelSelector,
  ...more,
});
const spread = (
  constraints: TopologySpreadConstraint[],
  spec: Partial<PodSpec> = {},
  labels = web as Record<string, string>,
) => pod('p', { metadata: { labels }, spec: { topologySpreadConstraints: constraints, ...spec } });

function over(nodes: Node[], there: Pod[], options?: Parameters<typeof schedulerCluster>[1]) {
  const cluster = schedulerCluster(nodes, options);
  for (const each of there) cluster.cache.setPod(each);
  return cluster;
}

describe('hard spreading', () => {
  it('counts too few domains as an empty one', () => {
    const cluster = over([inZone('a', 'z1')], [placed('x', 'a')]);
    assert.equal(cluster.decide(spread([hard({ minDomains: 1 })])).outcome, 'fits');
    assert.equal(cluster.decide(spread([hard({ minDomains: 2 })])).outcome, 'unschedulable');
  });

  const tainted = { taints: [{ key: 'a', effect: 'NoSchedule' }] };
  const policies: [text: string, more: Partial<TopologySpreadConstraint>, spec: Partial<PodSpec>, fits: boolean][] = [
    ['leaves nodes out that the pod does not select', {}, { nodeSelector: { disk: 'ssd' } }, true],
    ['counts them when told to', { nodeAffinityPolicy: 'Ignore' }, { nodeSelector: { disk: 'ssd' } }, false],
  ];
  for (const [text, more, spec, fits] of policies) {
    it(text, () => {
      const cluster = over([inZone('a', 'z1', { disk: 'ssd' }), inZone('b', 'z2')], [placed('x', 'a')]);
      assert.equal(cluster.decide(spread([hard(more)], spec)).outcome === 'fits', fits);
    });
  }

  it('counts nodes with taints unless told not to', () => {
    const nodes = [inZone('a', 'z1'), inZone('b', 'z2', {}, tainted)];
    const cluster = over(nodes, [placed('x', 'a')]);
    assert.equal(cluster.decide(spread([hard()])).outcome, 'unschedulable');
    assert.equal(cluster.decide(spread([hard({ nodeTaintsPolicy: 'Honor' })])).outcome, 'fits');
  });

  it('compares pods of one revision only, by matchLabelKeys', () => {
    const old = { ...web, hash: '1' };
    const cluster = over([inZone('a', 'z1'), inZone('b', 'z2')], [placed('x', 'a', old), placed('y', 'a', old)]);
    const fresh = spread(
      [hard({ matchLabelKeys: ['hash'] })],
      { nodeSelector: { [zone]: 'z1' } },
      { ...web, hash: '2' },
    );
    assert.equal(cluster.decide(fresh).outcome, 'fits');
    const all = spread([hard({ nodeAffinityPolicy: 'Ignore' })], { nodeSelector: { [zone]: 'z1' } });
    assert.equal(cluster.decide(all).outcome, 'unschedulable');
  });

  it('does not count pods that are on their way out, nor those of other namespaces', () => {
    const cluster = over([inZone('a', 'z1'), inZone('b', 'z2', {}, { unschedulable: true })], []);
    const going = placed('x', 'a');
    cluster.cache.setPod({ ...going, metadata: { ...going.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } });
    const foreign = placed('y', 'a');
    cluster.cache.setPod({ ...foreign, metadata: { ...foreign.metadata, namespace: 'other' } });
    assert.equal(cluster.decide(spread([hard()])).outcome, 'fits');
  });

  it('keeps up with pods that come and go', () => {
    const cluster = over([inZone('a', 'z1'), inZone('b', 'z2')], []);
    const first = spread([hard()]);
    const used = [cluster.place(first), cluster.place({ ...first, metadata: { ...first.metadata, uid: 'second' } })];
    assert.deepEqual(used.sort(), ['a', 'b']);
    cluster.cache.deletePod('second');
    const third = { ...first, metadata: { ...first.metadata, uid: 'third' } };
    assert.equal(cluster.place(third), cluster.cache.nodeOf(first.metadata.uid ?? '') === 'a' ? 'b' : 'a');
  });
});

describe('soft spreading', () => {
  it('prefers the emptier zone, and yields', () => {
    const soft = hard({ whenUnsatisfiable: 'ScheduleAnyway' });
    const cluster = over([inZone('a', 'z1'), inZone('b', 'z2')], [placed('x', 'a')]);
    assert.equal(cluster.place(spread([soft])), 'b');
    assert.equal(over([inZone('a', 'z1')], [placed('x', 'a'), placed('y', 'a')]).place(spread([soft])), 'a');
  });

  it('is what a profile says for pods of one controller that say nothing', () => {
    const defaults = [{ maxSkew: 1, topologyKey: zone, whenUnsatisfiable: 'DoNotSchedule' }];
    const cluster = over(
      [inZone('a', 'z1'), inZone('b', 'z2', {}, { unschedulable: true })],
      [],
      withArgs({ defaultConstraints: defaults }),
    );
    const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', uid: 'r', controller: true }];
    const owned = (uid: string) => pod('p', { metadata: { uid, ownerReferences } });
    cluster.place(owned('1'));
    assert.equal(cluster.decide(owned('2')).outcome, 'unschedulable');
    assert.equal(cluster.decide(pod('free')).outcome, 'fits');
  });
});

const term = (labels: Record<string, string>, topologyKey = zone) => ({
  labelSelector: { matchLabels: labels },
  topologyKey,
});
const required = (kind: 'podAffinity' | 'podAntiAffinity', ...terms: object[]): Partial<PodSpec> => ({
  affinity: { [kind]: { requiredDuringSchedulingIgnoredDuringExecution: terms } },
});
const preferred = (
  kind: 'podAffinity' | 'podAntiAffinity',
  weight: number,
  podAffinityTerm: object,
): Partial<PodSpec> => ({
  affinity: { [kind]: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight, podAffinityTerm }] } },
});

describe('affinity between pods', () => {
  const zones = [inZone('a', 'z1'), inZone('b', 'z2')];
  const decide = (cluster: ReturnType<typeof over>, spec: Partial<PodSpec>, labels: Record<string, string> = {}) =>
    cluster.decide(pod('p', { metadata: { labels }, spec })).outcome;

  it('finds namespaces by name and by their labels', () => {
    const foreign = placed('x', 'a');
    foreign.metadata.namespace = 'team-a';
    const cluster = over(zones, [foreign], { namespaceLabels: (name) => ({ team: name }) });
    assert.equal(decide(cluster, required('podAffinity', term(web))), 'unschedulable');
    assert.equal(decide(cluster, required('podAffinity', { ...term(web), namespaces: ['team-a'] })), 'fits');
    const selecting = (team: string) => ({ ...term(web), namespaceSelector: { matchLabels: { team } } });
    assert.equal(decide(cluster, required('podAffinity', selecting('team-a'))), 'fits');
    assert.equal(decide(cluster, required('podAffinity', selecting('team-b'))), 'unschedulable');
    assert.equal(decide(cluster, required('podAffinity', { ...term(web), namespaceSelector: {} })), 'fits');
  });

  it('wants one pod that fulfils all terms', () => {
    const cluster = over(zones, [placed('x', 'a', { a: '1' }), placed('y', 'a', { b: '1' })]);
    assert.equal(decide(cluster, required('podAffinity', term({ a: '1' }), term({ b: '1' }))), 'unschedulable');
    cluster.cache.setPod(placed('z', 'b', { a: '1', b: '1' }));
    const both = pod('p', { spec: required('podAffinity', term({ a: '1' }), term({ b: '1' })) });
    assert.equal(cluster.place(both), 'b');
  });

  it('keeps tenants apart by mismatchLabelKeys', () => {
    const exclusive = {
      topologyKey: zone,
      labelSelector: { matchExpressions: [{ key: 'tenant', operator: 'Exists' }] },
      mismatchLabelKeys: ['tenant'],
    };
    const cluster = over(zones, [placed('x', 'a', { tenant: 'one' })]);
    const two = pod('p', { metadata: { labels: { tenant: 'two' } }, spec: required('podAntiAffinity', exclusive) });
    assert.equal(cluster.place(two), 'b');
    const one = pod('q', {
      metadata: { labels: { tenant: 'one' } },
      spec: { ...required('podAntiAffinity', exclusive), nodeSelector: { [zone]: 'z1' } },
    });
    assert.equal(cluster.place(one), 'a');
  });

  it('lets placed pods draw others and push them away', () => {
    const drawn = over(zones, [placed('x', 'b', {}, preferred('podAffinity', 100, term(web)))]);
    const pushed = over(zones, [placed('x', 'b', {}, preferred('podAntiAffinity', 100, term(web)))]);
    const hardly = over(
      zones,
      [placed('x', 'b', {}, required('podAffinity', term(web)))],
      withArgs({ interPod: { hardWeight: 100, ignoreExisting: false } }),
    );
    const fresh = pod('p', { metadata: { labels: web } });
    assert.deepEqual([drawn.place(fresh), pushed.place(fresh), hardly.place(fresh)], ['b', 'a', 'b']);
  });

  it('forgets what pods said that are gone', () => {
    const guard = placed('x', 'a', {}, required('podAntiAffinity', term(web)));
    const cluster = over([zones[0] as Node], [guard]);
    assert.equal(decide(cluster, {}, web), 'unschedulable');
    cluster.cache.deletePod(guard.metadata.uid ?? '');
    assert.equal(decide(cluster, {}, web), 'fits');
    assert.deepEqual([...cluster.cache.termGroups()], []);
  });

  it('follows labels of nodes and of pods that change', () => {
    const target = placed('x', 'a');
    const cluster = over(zones, [target]);
    assert.equal(cluster.place(pod('p', { spec: required('podAffinity', term(web)) })), 'a');
    cluster.cache.setPod({ ...target, metadata: { ...target.metadata, labels: {} } });
    assert.equal(decide(cluster, required('podAffinity', term(web))), 'unschedulable');
    cluster.cache.setPod(target);
    cluster.cache.setNode(inZone('a', 'z2'));
    const used = new Set(
      Array.from({ length: 6 }, (_, index) =>
        cluster.place(pod(`q${index}`, { spec: required('podAffinity', term(web)) })),
      ),
    );
    assert.deepEqual([...used].sort(), ['a', 'b']);
  });
});
