// topologySpreadConstraints: how evenly pods are spread over the values of a node label.
// Behaviour: upstream's podtopologyspread plugin.
import type { Pod, TopologySpreadConstraint } from '#kube/api/generated/core-v1.ts';
import { nodeAffinityAllows } from '#kube/api/node-affinity.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { isPodTerminating } from '#kube/api/pod-state.ts';
import { firstUntolerated } from '#kube/api/taints.ts';
import type { NodeInfo } from '../cache/node-info.ts';
import type { Refusal } from '../framework/plugin.ts';
import type { PodInfo } from '../framework/pod-info.ts';
import { type PodMatcher, spreadMatcher } from './affinity-terms.ts';
import type { CountPods, CountQuestion } from './domain-counts.ts';
import { noRelation, type Relation } from './relation.ts';

const plugin = 'PodTopologySpread';
const skewed: Refusal = {
  plugin,
  reasons: ["node(s) didn't match pod topology spread constraints"],
  resolvable: true,
};
const unlabelled: Refusal = {
  plugin,
  reasons: ["node(s) didn't match pod topology spread constraints (missing required label)"],
  resolvable: false,
};

/** What a profile says about spreading. */
export interface SpreadSettings {
  filter: boolean;
  /** 0: not scored. */
  weight: number;
  /** For pods without constraints of their own; they speak of the pods of the same controller. */
  defaults: readonly TopologySpreadConstraint[];
}

interface Constraint {
  constraint: TopologySpreadConstraint;
  matches: PodMatcher;
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

function constraintsOf(pod: Pod, defaults: readonly TopologySpreadConstraint[], kind: string): Constraint[] {
  const own = pod.spec?.topologySpreadConstraints ?? [];
  if (own.length > 0) {
    return own
      .filter(({ whenUnsatisfiable }) => whenUnsatisfiable === kind)
      .map((constraint) => ({
        constraint,
        matches: spreadMatcher(pod, constraint.labelSelector, constraint.matchLabelKeys),
      }));
  }
  const owner = controllerOf(pod)?.uid;
  if (owner === undefined) return [];
  const matches: PodMatcher = (other) => controllerOf(other)?.uid === owner;
  return defaults
    .filter(({ whenUnsatisfiable }) => whenUnsatisfiable === kind)
    .map((constraint) => ({ constraint, matches }));
}

function questionFor(pod: Pod, { constraint, matches }: Constraint, keys: readonly string[]): CountQuestion {
  const { labelSelector, matchLabelKeys = [], nodeAffinityPolicy, nodeTaintsPolicy, topologyKey } = constraint;
  const { metadata, spec } = pod;
  return {
    key: JSON.stringify([
      topologyKey,
      keys,
      metadata.namespace,
      labelSelector ?? controllerOf(pod)?.uid,
      matchLabelKeys.map((key) => [key, metadata.labels?.[key]]),
      nodeAffinityPolicy === 'Ignore' ? '' : [spec?.nodeSelector, spec?.affinity?.nodeAffinity],
      nodeTaintsPolicy === 'Honor' ? [spec?.tolerations] : '',
    ]),
    domainOf: (node) =>
      keys.some((key) => domainOf(node, key) === undefined) || !isEligible(pod, constraint, node)
        ? undefined
        : domainOf(node, topologyKey),
    counts: (other) => !isPodTerminating(other) && matches(other),
  };
}

function createFilter(pod: Pod, constraints: readonly Constraint[], countPods: CountPods): Relation['refuse'] {
  const keys = constraints.map(({ constraint }) => constraint.topologyKey);
  const spreads = constraints.map((entry) => {
    const { pods } = countPods(questionFor(pod, entry, keys));
    const least = pods.size < (entry.constraint.minDomains ?? 1) ? 0 : Math.min(...pods.values());
    return { ...entry, pods, least, own: entry.matches(pod) ? 1 : 0 };
  });
  return (node, removed = []) => {
    for (const { constraint, matches, pods, least, own } of spreads) {
      const domain = domainOf(node, constraint.topologyKey);
      if (domain === undefined) return unlabelled;
      const gone = removed.filter((other) => !isPodTerminating(other.pod) && matches(other.pod)).length;
      const count = Math.max(0, (pods.get(domain) ?? 0) - gone);
      const floor = pods.has(domain) ? Math.min(least, count) : least;
      if (count + own - floor > constraint.maxSkew) return skewed;
    }
    return undefined;
  };
}

function createScore(
  pod: Pod,
  constraints: readonly Constraint[],
  countPods: CountPods,
  weight: number,
): Relation['score'] {
  const keys = constraints.map(({ constraint }) => constraint.topologyKey);
  return (nodes) => {
    const scored = nodes.filter((node) => keys.every((key) => domainOf(node, key) !== undefined));
    const parts = constraints.map((entry) => {
      const { topologyKey, maxSkew } = entry.constraint;
      const domains = new Set(scored.map((node) => domainOf(node, topologyKey)));
      const { pods } = countPods(questionFor(pod, entry, keys));
      // Domains that are many weigh more, so that zones and nodes balance.
      return { topologyKey, pods, maxSkew, each: Math.log(domains.size + 2) };
    });
    const raw = new Map<string, number>();
    let most = 0;
    let least = Number.POSITIVE_INFINITY;
    for (const node of scored) {
      let sum = 0;
      for (const { topologyKey, pods, maxSkew, each } of parts) {
        sum += (pods.get(domainOf(node, topologyKey) ?? '') ?? 0) * each + (maxSkew - 1);
      }
      const value = Math.round(sum);
      raw.set(node.name, value);
      most = Math.max(most, value);
      least = Math.min(least, value);
    }
    for (const [name, value] of raw) {
      raw.set(name, weight * (most === 0 ? 100 : Math.floor((100 * (most + least - value)) / most)));
    }
    return raw;
  };
}

/** What spreading means for a pod. */
export function spreadRelation({ pod }: PodInfo, countPods: CountPods, settings: SpreadSettings): Relation {
  const { filter, weight, defaults } = settings;
  const hard = filter ? constraintsOf(pod, defaults, 'DoNotSchedule') : [];
  const soft = weight > 0 ? constraintsOf(pod, defaults, 'ScheduleAnyway') : [];
  if (hard.length === 0 && soft.length === 0) return noRelation;
  return {
    refuse: hard.length === 0 ? undefined : createFilter(pod, hard, countPods),
    score: soft.length === 0 ? undefined : createScore(pod, soft, countPods, weight),
  };
}
