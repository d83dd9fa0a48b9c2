// topologySpreadConstraints: how evenly pods are spread over the values of a node label.
// Behaviour: upstream's podtopologyspread plugin.
import type { Pod, TopologySpreadConstraint } from '#kube/api/generated/core-v1.ts';
import { nodeAffinityAllows } from '#kube/api/node-affinity.ts';
import { isPodTerminating } from '#kube/api/pod-state.ts';
import { firstUntolerated } from '#kube/api/taints.ts';
import type { ClusterCache } from '../cache/cluster-cache.ts';
import type { NodeInfo } from '../cache/node-info.ts';
import type { Refusal } from '../framework/plugin.ts';
import type { PodInfo } from '../framework/pod-info.ts';
import { type PodMatcher, spreadMatcher } from './affinity-terms.ts';

const skewed: Refusal = { reasons: ["node(s) didn't match pod topology spread constraints"], resolvable: true };
const unlabelled: Refusal = {
  reasons: ["node(s) didn't match pod topology spread constraints (missing required label)"],
  resolvable: false,
};

interface Spread {
  constraint: TopologySpreadConstraint;
  matches: PodMatcher;
  counts: Map<string, number>;
}

function domainOf({ node }: NodeInfo, key: string): string | undefined {
  return node.metadata.labels?.[key];
}

/** Whether the node's pods are counted at all. */
function isEligible(
  pod: Pod,
  { nodeAffinityPolicy, nodeTaintsPolicy }: TopologySpreadConstraint,
  { node }: NodeInfo,
): boolean {
  if (nodeAffinityPolicy !== 'Ignore' && pod.spec !== undefined && !nodeAffinityAllows(pod.spec, node)) return false;
  if (nodeTaintsPolicy !== 'Honor') return true;
  return firstUntolerated(node.spec?.taints, pod.spec?.tolerations, ['NoSchedule', 'NoExecute']) === undefined;
}

function countSpread(pod: Pod, constraints: readonly TopologySpreadConstraint[], cache: ClusterCache): Spread[] {
  const spreads = constraints.map(
    (constraint): Spread => ({
      constraint,
      matches: spreadMatcher(pod, constraint.labelSelector, constraint.matchLabelKeys),
      counts: new Map(),
    }),
  );
  for (const node of cache.nodes.values()) {
    if (constraints.some(({ topologyKey }) => domainOf(node, topologyKey) === undefined)) continue;
    for (const { constraint, matches, counts } of spreads) {
      if (!isEligible(pod, constraint, node)) continue;
      const domain = domainOf(node, constraint.topologyKey) ?? '';
      let count = counts.get(domain) ?? 0;
      for (const other of node.pods.values()) {
        if (!isPodTerminating(other.pod) && matches(other.pod)) count += 1;
      }
      counts.set(domain, count);
    }
  }
  return spreads;
}

function constraintsOf(pod: Pod, kind: 'DoNotSchedule' | 'ScheduleAnyway'): TopologySpreadConstraint[] {
  return (pod.spec?.topologySpreadConstraints ?? []).filter(({ whenUnsatisfiable }) => whenUnsatisfiable === kind);
}

/** Refuses nodes on which the pod would make a hard constraint's skew too large. */
export function createSpreadFilter(
  info: PodInfo,
  cache: ClusterCache,
): ((node: NodeInfo) => Refusal | undefined) | undefined {
  const { pod } = info;
  const constraints = constraintsOf(pod, 'DoNotSchedule');
  if (constraints.length === 0) return undefined;
  const spreads = countSpread(pod, constraints, cache).map((spread) => {
    const tooFewDomains = spread.counts.size < (spread.constraint.minDomains ?? 1);
    const least = tooFewDomains ? 0 : Math.min(...spread.counts.values());
    return { ...spread, least, own: spread.matches(pod) ? 1 : 0 };
  });
  return (node) => {
    for (const { constraint, counts, least, own } of spreads) {
      const domain = domainOf(node, constraint.topologyKey);
      if (domain === undefined) return unlabelled;
      if ((counts.get(domain) ?? 0) + own - least > constraint.maxSkew) return skewed;
    }
    return undefined;
  };
}

/** Pods already in the node's domains, over all soft constraints: fewer is better. Not yet normalised. */
export function createSpreadScore(info: PodInfo, cache: ClusterCache): ((node: NodeInfo) => number) | undefined {
  const constraints = constraintsOf(info.pod, 'ScheduleAnyway');
  if (constraints.length === 0) return undefined;
  const spreads = countSpread(info.pod, constraints, cache);
  return (node) =>
    spreads.reduce((sum, { constraint, counts }) => {
      const domain = domainOf(node, constraint.topologyKey);
      // Domains that are many weigh more, so that zones and nodes balance.
      const weight = Math.log(counts.size + 2);
      return domain === undefined ? sum + 1000 : sum + (counts.get(domain) ?? 0) * weight + (constraint.maxSkew - 1);
    }, 0);
}
