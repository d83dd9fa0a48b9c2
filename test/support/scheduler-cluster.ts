// A cluster of nodes and pods in the scheduler's cache alone, to ask its pure parts what they would do.
import assert from 'node:assert/strict';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import { type ClusterCache, createClusterCache } from '../../control-plane-lite/scheduler/cache/cluster-cache.ts';
import { createClassRankings } from '../../control-plane-lite/scheduler/framework/class-ranking.ts';
import { type Preemption, planPreemption } from '../../control-plane-lite/scheduler/framework/plan-preemption.ts';
import { createPodInfo } from '../../control-plane-lite/scheduler/framework/pod-info.ts';
import {
  type Decision,
  relationFilter,
  relationsOf,
  selectNode,
} from '../../control-plane-lite/scheduler/framework/select-node.ts';
import { createProfile } from '../../control-plane-lite/scheduler/profile/create-profile.ts';
import { defaultProfileConfig, type ProfileConfig } from '../../control-plane-lite/scheduler/profile/profile-config.ts';
import { createPodCounter } from '../../control-plane-lite/scheduler/relations/domain-counts.ts';

export interface SchedulerCluster {
  cache: ClusterCache;
  decide(candidate: Pod): Decision;
  /** Decides and places; returns the node. */
  place(candidate: Pod): string;
  preempt(candidate: Pod, budgets?: PodDisruptionBudget[], nominated?: string): Preemption;
}

export interface ClusterOptions {
  profile?: ProfileConfig;
  namespaceLabels?: (name: string) => Record<string, string>;
}

/** Numbers from 0 to 1 that are the same in every run. */
export function seededRandom(first = 1): () => number {
  let seed = first;
  return () => {
    seed = (seed * 16807) % 2147483647;
    return seed / 2147483647;
  };
}

/** Over a cache that may hold something already. */
export function schedulerOver(cache: ClusterCache, options: ClusterOptions = {}): SchedulerCluster {
  const profile = createProfile(options.profile ?? defaultProfileConfig(), cache);
  const { plugins, zoneWeight } = profile;
  const rank = createClassRankings(cache, { plugins, zoneWeight, random: seededRandom() });
  const namespaceLabels = options.namespaceLabels ?? ((name: string) => ({ name }));
  const view = { cache, countPods: createPodCounter(cache), namespaceLabels };
  const ask = (candidate: Pod) => {
    const pod = createPodInfo(candidate);
    const relations = relationsOf(pod, view, profile);
    return { pod, relations, decision: selectNode({ pod, ranking: rank(pod), cache, relations }) };
  };
  const decide = (candidate: Pod) => ask(candidate).decision;
  return {
    cache,
    decide,
    place(candidate) {
      const decision = decide(candidate);
      assert.equal(decision.outcome, 'fits', decision.outcome === 'unschedulable' ? decision.message : '');
      if (decision.outcome !== 'fits') return '';
      cache.assume(createPodInfo(candidate), decision.node);
      return decision.node;
    },
    preempt(candidate, budgets = [], nominated) {
      const { pod, relations, decision } = ask(candidate);
      assert.equal(decision.outcome, 'unschedulable', 'the pod fits without preemption');
      const refusals = decision.outcome === 'unschedulable' ? decision.refusals : new Map();
      const settings = profile.preemption ?? { minPercentage: 10, minAbsolute: 100 };
      const plan = { cache, plugins, relations: relationFilter(relations), settings, budgets };
      return planPreemption(pod, plan, refusals, { nominated });
    },
  };
}

/** Over nodes without pods. */
export function schedulerCluster(nodes: readonly Node[], options?: ClusterOptions): SchedulerCluster {
  const cache = createClusterCache();
  for (const node of nodes) cache.setNode(node);
  return schedulerOver(cache, options);
}
