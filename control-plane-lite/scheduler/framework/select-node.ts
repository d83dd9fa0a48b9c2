// One scheduling decision: the best node for a pod, or why there is none. Pure over the cache.
import type { ClusterCache } from '../cache/cluster-cache.ts';
import type { NodeInfo } from '../cache/node-info.ts';
import type { NamespaceLabels } from '../plugins/affinity-terms.ts';
import { createInterPodFilter, createInterPodScore } from '../plugins/inter-pod-affinity.ts';
import { createSpreadFilter, createSpreadScore } from '../plugins/topology-spread.ts';
import type { VolumePlan } from '../volumes/plan-volumes.ts';
import type { RankedNode, Ranking } from './class-ranking.ts';
import { diagnose } from './diagnosis.ts';
import type { Refusal } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';

export type Decision =
  | { outcome: 'fits'; node: string }
  | { outcome: 'unschedulable'; message: string; refusals: ReadonlyMap<string, Refusal> };

const relationWeight = 2;

/** Brings raw values onto 0 to 100; with `reverse` the smallest is best. */
function normalised(values: Map<string, number>, reverse: boolean): Map<string, number> {
  const most = Math.max(...values.values());
  const least = Math.min(...values.values());
  const scaled = new Map<string, number>();
  for (const [name, value] of values) {
    const part = most === least ? 1 : (value - least) / (most - least);
    scaled.set(name, 100 * (reverse && most !== least ? 1 - part : part));
  }
  return scaled;
}

function rawScores(
  nodes: readonly NodeInfo[],
  score: ((node: NodeInfo) => number) | undefined,
  reverse: boolean,
): Map<string, number> | undefined {
  if (score === undefined || nodes.length === 0) return undefined;
  return normalised(new Map(nodes.map((node) => [node.name, score(node)])), reverse);
}

/** For pods whose place depends on other pods: every node that fits is asked again with regard to them. */
function selectAmongPods(
  pod: PodInfo,
  ranking: Ranking,
  cache: ClusterCache,
  namespaceLabels: NamespaceLabels,
  volumes: VolumePlan | undefined,
): Decision {
  const spreadFilter = createSpreadFilter(pod, cache);
  const interPodFilter = createInterPodFilter(pod, cache, namespaceLabels);
  const refusals = new Map(ranking.refusals);
  const left: { node: NodeInfo; ranked: RankedNode }[] = [];
  for (const ranked of ranking.fitting.values()) {
    const node = cache.nodes.get(ranked.name);
    if (node === undefined) continue;
    const refusal = volumes?.refuse(node) ?? spreadFilter?.(node) ?? interPodFilter(node);
    if (refusal === undefined) left.push({ node, ranked });
    else refusals.set(ranked.name, refusal);
  }
  const nodes = left.map(({ node }) => node);
  const spread = rawScores(nodes, createSpreadScore(pod, cache), true);
  const interPod = rawScores(nodes, createInterPodScore(pod, cache, namespaceLabels), false);
  let best: RankedNode | undefined;
  let bestScore = Number.NEGATIVE_INFINITY;
  for (const { ranked } of left) {
    const relations = (spread?.get(ranked.name) ?? 0) + (interPod?.get(ranked.name) ?? 0);
    const score = ranked.score + relationWeight * relations;
    if (score > bestScore || (score === bestScore && ranked.tie > (best?.tie ?? 0))) {
      best = ranked;
      bestScore = score;
    }
  }
  if (best !== undefined) return { outcome: 'fits', node: best.name };
  return { outcome: 'unschedulable', message: diagnose(cache.nodes.size, refusals.values()), refusals };
}

/** No node will do, for a reason that lies in the pod's claims. */
function refuseAll(cache: ClusterCache, problem: string): Decision {
  const refusal: Refusal = { reasons: [problem], resolvable: false };
  const refusals = new Map([...cache.nodes.keys()].map((name) => [name, refusal]));
  const { size } = cache.nodes;
  const message = size === 0 ? diagnose(0, []) : `0/${size} nodes are available: ${problem}.`;
  return { outcome: 'unschedulable', message, refusals };
}

/** Decides. `ranking` is the up-to-date ranking of the pod's class; `volumes` is there for pods with claims. */
export function selectNode(
  pod: PodInfo,
  ranking: Ranking,
  cache: ClusterCache,
  namespaceLabels: NamespaceLabels,
  volumes?: VolumePlan,
): Decision {
  if (volumes?.problem !== undefined) return refuseAll(cache, volumes.problem);
  if (pod.dependsOnPods || cache.restricting.size > 0 || volumes !== undefined) {
    return selectAmongPods(pod, ranking, cache, namespaceLabels, volumes);
  }
  const best = ranking.best(pod);
  if (best !== undefined) return { outcome: 'fits', node: best.name };
  const { refusals } = ranking;
  return { outcome: 'unschedulable', message: diagnose(cache.nodes.size, refusals.values()), refusals };
}
