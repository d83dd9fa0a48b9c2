// One scheduling decision: the best node for a pod, or why there is none. Pure over the cache.
import type { ClusterCache } from '../cache/cluster-cache.ts';
import type { NodeInfo } from '../cache/node-info.ts';
import type { DevicePlan } from '../devices/plan-devices.ts';
import { interPodRelation, type RelationView } from '../relations/inter-pod-affinity.ts';
import type { Relation } from '../relations/relation.ts';
import { spreadRelation } from '../relations/topology-spread.ts';
import type { VolumePlan } from '../volumes/plan-volumes.ts';
import type { RankedNode, Ranking } from './class-ranking.ts';
import { diagnose } from './diagnosis.ts';
import type { Refusal } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';
import type { Profile } from './profile.ts';

export type Decision =
  | { outcome: 'fits'; node: string }
  | { outcome: 'unschedulable'; message: string; refusals: ReadonlyMap<string, Refusal> };

/** Why a node is refused as far as other pods and volumes are concerned; pods may be thought away. */
export type RelationFilter = (node: NodeInfo, removed?: readonly PodInfo[]) => Refusal | undefined;

/** Why the pod's claims let it go nowhere now; undefined when they do. */
export function claimProblem(plugin: string, reason: string | undefined): Refusal | undefined {
  return reason === undefined ? undefined : { plugin, reasons: [reason], resolvable: false };
}

/** What a pod's place depends on beside the node itself. */
export function relationsOf(
  pod: PodInfo,
  view: RelationView,
  profile: Profile,
  volumes?: VolumePlan,
  devices?: DevicePlan,
): Relation[] {
  const relations: Relation[] = [
    ...(volumes === undefined ? [] : [{ refuse: volumes.refuse, score: volumes.score }]),
    spreadRelation(pod, view.countPods, profile.spread),
    interPodRelation(pod, view, profile.interPod),
    ...(devices === undefined ? [] : [{ refuse: (node: NodeInfo) => devices.refuse(node) }]),
  ];
  return relations.filter(({ refuse, score }) => refuse !== undefined || score !== undefined);
}

/** The first refusal among relations. */
export function relationFilter(relations: readonly Relation[]): RelationFilter {
  return (node, removed) => {
    for (const { refuse } of relations) {
      const refusal = refuse?.(node, removed);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  };
}

/** For pods whose place depends on other pods: every node that fits is asked again with regard to them. */
function selectAmongPods(
  pod: PodInfo,
  ranking: Ranking,
  cache: ClusterCache,
  relations: readonly Relation[],
  nominated: string | undefined,
): Decision {
  const refusals = new Map(ranking.refusals);
  const refuse = relationFilter(relations);
  const left: RankedNode[] = [];
  const nodes: NodeInfo[] = [];
  for (const ranked of ranking.fitting.values()) {
    const node = cache.nodes.get(ranked.name);
    if (node === undefined) continue;
    const refusal = refuse(node);
    if (refusal === undefined) {
      if (ranked.name === nominated) return { outcome: 'fits', node: ranked.name };
      left.push(ranked);
      nodes.push(node);
    } else refusals.set(ranked.name, refusal);
  }
  const scores = relations.flatMap(({ score }) => (score === undefined ? [] : [score(nodes)]));
  const zones = ranking.zoneBonus(pod);
  let best: RankedNode | undefined;
  let bestScore = Number.NEGATIVE_INFINITY;
  for (const ranked of left) {
    let score = ranked.score + (zones?.get(ranked.zone) ?? 0);
    for (const values of scores) score += values.get(ranked.name) ?? 0;
    if (score > bestScore || (score === bestScore && ranked.tie > (best?.tie ?? 0))) {
      best = ranked;
      bestScore = score;
    }
  }
  if (best !== undefined) return { outcome: 'fits', node: best.name };
  return { outcome: 'unschedulable', message: diagnose(cache.nodes.size, refusals.values()), refusals };
}

/** No node will do, for a reason that lies in the pod's claims. */
function refuseAll(cache: ClusterCache, refusal: Refusal): Decision {
  const refusals = new Map([...cache.nodes.keys()].map((name) => [name, refusal]));
  const { size } = cache.nodes;
  const message = size === 0 ? diagnose(0, []) : `0/${size} nodes are available: ${refusal.reasons.join()}.`;
  return { outcome: 'unschedulable', message, refusals };
}

export interface Question {
  pod: PodInfo;
  /** The up-to-date ranking of the pod's class. */
  ranking: Ranking;
  cache: ClusterCache;
  /** From `relationsOf`. */
  relations: readonly Relation[];
  /** Why the pod's claims let it go nowhere. */
  problem?: Refusal | undefined;
  /** The node that was promised to the pod: taken whenever it will do. */
  nominated?: string | undefined;
}

/** Decides. */
export function selectNode({ pod, ranking, cache, relations, problem, nominated }: Question): Decision {
  if (problem !== undefined) return refuseAll(cache, problem);
  if (relations.length > 0) return selectAmongPods(pod, ranking, cache, relations, nominated);
  if (nominated !== undefined && ranking.fitting.has(nominated)) return { outcome: 'fits', node: nominated };
  const best = ranking.best(pod);
  if (best !== undefined) return { outcome: 'fits', node: best.name };
  const { refusals } = ranking;
  return { outcome: 'unschedulable', message: diagnose(cache.nodes.size, refusals.values()), refusals };
}
