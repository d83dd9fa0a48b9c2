// What is kept from one decision to the next is what would be computed from scratch, whatever happened in between.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import { type ClusterCache, createClusterCache } from '../../../control-plane-lite/scheduler/cache/cluster-cache.ts';
import { createClassRankings } from '../../../control-plane-lite/scheduler/framework/class-ranking.ts';
import { createPodInfo } from '../../../control-plane-lite/scheduler/framework/pod-info.ts';
import { createProfile } from '../../../control-plane-lite/scheduler/profile/create-profile.ts';
import { defaultProfileConfig } from '../../../control-plane-lite/scheduler/profile/profile-config.ts';
import { node, requestingPod } from '../../support/objects.ts';
import { schedulerOver, seededRandom } from '../../support/scheduler-cluster.ts';

const zone = 'topology.kubernetes.io/zone';
const labelSelector = { matchLabels: { app: 'a' } };
const near = { labelSelector, topologyKey: zone };

const shapes: Partial<PodSpec>[] = [
  {},
  { nodeSelector: { disk: 'ssd' } },
  { containers: [{ name: 'c', image: 'big:1' }] },
  {
    affinity: {
      nodeAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          { weight: 3, preference: { matchExpressions: [{ key: 'disk', operator: 'Exists' }] } },
        ],
      },
    },
  },
  { affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [near] } } },
  {
    affinity: {
      podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 5, podAffinityTerm: near }] },
    },
  },
  { topologySpreadConstraints: [{ maxSkew: 2, topologyKey: zone, whenUnsatisfiable: 'DoNotSchedule', labelSelector }] },
  {
    topologySpreadConstraints: [{ maxSkew: 1, topologyKey: zone, whenUnsatisfiable: 'ScheduleAnyway', labelSelector }],
  },
];

interface World {
  nodes: Map<string, Node>;
  pods: Map<string, Pod>;
}

function build({ nodes, pods }: World): ClusterCache {
  const cache = createClusterCache();
  for (const each of nodes.values()) cache.setNode(each);
  for (const each of pods.values()) cache.setPod(each);
  return cache;
}

const profile = defaultProfileConfig();

/** Every node's score or refusal for the pod, without what depends on other pods. */
function ranked(cache: ClusterCache, rank: ReturnType<typeof createClassRankings>, candidate: Pod): string[] {
  const info = createPodInfo(candidate);
  const { fitting, refusals, zoneBonus } = rank(info);
  const bonus = zoneBonus(info);
  const lines = [...cache.nodes.keys()].map((name) => {
    const node = fitting.get(name);
    if (node !== undefined) return `${name} ${(node.score + (bonus?.get(node.zone) ?? 0)).toFixed(6)}`;
    return `${name} ${refusals.get(name)?.reasons.join()}`;
  });
  return lines.sort();
}

for (const seed of [3, 17, 2026]) {
  test(`rankings and counts are those of a fresh look, seed ${seed}`, () => {
    const random = seededRandom(seed);
    const below = (count: number) => Math.floor(random() * count);
    const world: World = { nodes: new Map(), pods: new Map() };
    const cache = build(world);
    const kept = schedulerOver(cache);
    const { plugins, zoneWeight } = createProfile(profile, cache);
    const rank = createClassRankings(cache, { plugins, zoneWeight, random });
    const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', uid: 'r', controller: true }];

    for (let step = 0; step < 600; step += 1) {
      const luck = random();
      if (luck < 0.15 || world.nodes.size < 3) {
        const name = `n${below(10)}`;
        const images = random() < 0.5 ? [{ names: ['big:1'], sizeBytes: 900_000_000 }] : [];
        const taints = random() < 0.3 ? [{ key: 'soft', effect: 'PreferNoSchedule' }] : [];
        const labels = { [zone]: `z${below(3)}`, ...(random() < 0.5 ? { disk: 'ssd' } : {}) };
        const allocatable = { cpu: '8', memory: '8Gi', pods: '8' };
        const fresh = node(name, { labels, spec: { taints }, status: { images, allocatable } });
        world.nodes.set(name, fresh);
        cache.setNode(fresh);
      } else if (luck < 0.19) {
        const name = [...world.nodes.keys()][below(world.nodes.size)] ?? '';
        world.nodes.delete(name);
        cache.deleteNode(name);
        for (const pod of [...world.pods.values()]) {
          if (pod.spec?.nodeName !== name) continue;
          world.pods.delete(pod.metadata.name);
          cache.deletePod(pod.metadata.uid ?? '');
        }
      } else if (luck < 0.35) {
        const pod = [...world.pods.values()][below(world.pods.size)];
        if (pod !== undefined) {
          world.pods.delete(pod.metadata.name);
          cache.deletePod(pod.metadata.uid ?? '');
        }
      } else {
        const metadata = {
          labels: { app: random() < 0.5 ? 'a' : 'b' },
          ...(random() < 0.5 ? { ownerReferences } : {}),
        };
        const candidate = requestingPod(`p${step}`, '500m', '256Mi', {
          metadata,
          spec: shapes[below(shapes.length)] ?? {},
        });
        const fresh = build(world);
        const freshProfile = createProfile(profile, fresh);
        const freshRank = createClassRankings(fresh, { ...freshProfile, random });
        assert.deepEqual(ranked(cache, rank, candidate), ranked(fresh, freshRank, candidate), `step ${step}`);
        const decision = kept.decide(candidate);
        const afresh = schedulerOver(fresh).decide(candidate);
        assert.equal(decision.outcome, afresh.outcome, `step ${step}`);
        if (decision.outcome === 'unschedulable') {
          assert.equal(decision.message, afresh.outcome === 'unschedulable' ? afresh.message : '');
        } else {
          const bound: Pod = {
            ...candidate,
            spec: { ...(candidate.spec ?? { containers: [] }), nodeName: decision.node },
          };
          cache.assume(createPodInfo(candidate), decision.node);
          if (random() < 0.2) cache.forget(candidate.metadata.uid ?? '');
          else {
            cache.setPod(bound);
            world.pods.set(candidate.metadata.name, bound);
          }
        }
      }
    }
  });
}
