// Affinity and anti-affinity between pods: what is required refuses nodes, what is preferred scores them.
// Behaviour: upstream's interpodaffinity plugin.
import type { PodAffinityTerm } from '#kube/api/generated/core-v1.ts';
import type { ClusterCache } from '../cache/cluster-cache.ts';
import type { NodeInfo } from '../cache/node-info.ts';
import type { TermGroup } from '../cache/term-groups.ts';
import type { Refusal } from '../framework/plugin.ts';
import type { PodInfo } from '../framework/pod-info.ts';
import { type NamespaceLabels, type PodMatcher, termMatcher } from './affinity-terms.ts';
import type { CountPods, DomainCounts } from './domain-counts.ts';
import { noRelation, type Relation } from './relation.ts';

const plugin = 'InterPodAffinity';
const existingAntiAffinity: Refusal = {
  plugin,
  reasons: ["node(s) didn't satisfy existing pods anti-affinity rules"],
  resolvable: true,
};
const antiAffinity: Refusal = { plugin, reasons: ["node(s) didn't match pod anti-affinity rules"], resolvable: true };
const affinity: Refusal = { plugin, reasons: ["node(s) didn't match pod affinity rules"], resolvable: false };

/** What a profile says about affinity between pods. */
export interface InterPodSettings {
  filter: boolean;
  /** 0: not scored. */
  weight: number;
  /** How much the required affinity of placed pods draws pods that it selects. */
  hardWeight: number;
  /** Whether placed pods' preferences count only for pods that have some of their own. */
  ignoreExisting: boolean;
}

/** What is looked at. */
export interface RelationView {
  cache: ClusterCache;
  countPods: CountPods;
  namespaceLabels: NamespaceLabels;
}

function domainOf(node: NodeInfo | undefined, key: string): string | undefined {
  return node?.node.metadata.labels?.[key];
}

interface Term {
  topologyKey: string;
  matches: PodMatcher;
  counts: DomainCounts;
}

function countTerm(
  { pod }: PodInfo,
  term: PodAffinityTerm,
  all: PodAffinityTerm[],
  matches: PodMatcher,
  view: RelationView,
): Term {
  const { topologyKey } = term;
  const keys = all.flatMap(({ matchLabelKeys = [], mismatchLabelKeys = [] }) => [
    ...matchLabelKeys,
    ...mismatchLabelKeys,
  ]);
  const own = keys.map((key) => pod.metadata.labels?.[key]);
  const counts = view.countPods({
    key: JSON.stringify(['affinity', topologyKey, pod.metadata.namespace, own, all]),
    domainOf: (node) => domainOf(node, topologyKey),
    counts: matches,
  });
  return { topologyKey, matches, counts };
}

/** Pods with the group's term by domain. */
function domainsOf({ term, nodes }: TermGroup, cache: ClusterCache): Map<string, number> {
  const domains = new Map<string, number>();
  for (const [name, count] of nodes) {
    const domain = domainOf(cache.nodes.get(name), term.topologyKey);
    if (domain !== undefined) domains.set(domain, (domains.get(domain) ?? 0) + count);
  }
  return domains;
}

function createFilter(info: PodInfo, forbidding: readonly TermGroup[], view: RelationView): Relation['refuse'] {
  const { podAffinity, podAntiAffinity } = info.pod.spec?.affinity ?? {};
  const forbidden = forbidding.map((group) => ({ group, domains: domainsOf(group, view.cache) }));
  const avoided = (podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term) =>
    countTerm(info, term, [term], termMatcher(info.pod, term, view.namespaceLabels), view),
  );
  const requiredTerms = podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const matchers = requiredTerms.map((term) => termMatcher(info.pod, term, view.namespaceLabels));
  // Only pods that every term speaks of count.
  const matchesAll: PodMatcher = (other) => matchers.every((matches) => matches(other));
  const required = requiredTerms.map((term) => countTerm(info, term, requiredTerms, matchesAll, view));
  if (forbidden.length + avoided.length + required.length === 0) return undefined;
  const matchesItself = required.length > 0 && matchesAll(info.pod);

  return (node, removed = []) => {
    const left = ({ topologyKey, matches, counts }: Term) => {
      const count = counts.pods.get(domainOf(node, topologyKey) ?? '\u0000') ?? 0;
      return removed.length === 0 ? count : count - removed.filter(({ pod }) => matches(pod)).length;
    };
    const isNear = required.every((term) => left(term) > 0);
    if (!isNear) {
      // The first pod of a set that wants to be together has nothing to be near to.
      const gone = removed.filter(({ pod }) => matchesAll(pod)).length;
      const isFirst = matchesItself && required.every(({ counts }) => counts.total - gone <= 0);
      const isLabelled = required.every(({ topologyKey }) => domainOf(node, topologyKey) !== undefined);
      if (!isFirst || !isLabelled) return affinity;
    }
    if (avoided.some((term) => left(term) > 0)) return antiAffinity;
    for (const { group, domains } of forbidden) {
      const count = domains.get(domainOf(node, group.term.topologyKey) ?? '\u0000') ?? 0;
      const gone = removed.filter(({ terms }) => terms.some(({ key }) => key === group.key)).length;
      if (count - gone > 0) return existingAntiAffinity;
    }
    return undefined;
  };
}

interface Pull {
  topologyKey: string;
  weight: number;
  domains: ReadonlyMap<string, number>;
}

function pullsOf(info: PodInfo, groups: readonly TermGroup[], settings: InterPodSettings, view: RelationView): Pull[] {
  const own = info.terms
    .filter(({ kind }) => kind === 'preferred' || kind === 'preferredAnti')
    .map(({ kind, weight, term }): Pull => {
      const matches = termMatcher(info.pod, term, view.namespaceLabels);
      const { counts } = countTerm(info, term, [term], matches, view);
      return {
        topologyKey: term.topologyKey,
        weight: kind === 'preferred' ? weight : -weight,
        domains: counts.pods,
      };
    });
  if (settings.ignoreExisting && own.length === 0) return [];
  const others = groups.map((group): Pull => {
    const weights = {
      required: settings.hardWeight,
      requiredAnti: 0,
      preferred: group.weight,
      preferredAnti: -group.weight,
    };
    return {
      topologyKey: group.term.topologyKey,
      weight: weights[group.kind],
      domains: domainsOf(group, view.cache),
    };
  });
  return [...own, ...others].filter(({ weight }) => weight !== 0);
}

function createScore(pulls: readonly Pull[], weight: number): Relation['score'] {
  return (nodes) => {
    const sums = new Map<string, number>();
    let most = Number.NEGATIVE_INFINITY;
    let least = Number.POSITIVE_INFINITY;
    for (const node of nodes) {
      let sum = 0;
      for (const pull of pulls) {
        sum += pull.weight * (pull.domains.get(domainOf(node, pull.topologyKey) ?? '\u0000') ?? 0);
      }
      sums.set(node.name, sum);
      most = Math.max(most, sum);
      least = Math.min(least, sum);
    }
    const range = most - least;
    for (const [name, sum] of sums) sums.set(name, range > 0 ? weight * Math.floor((100 * (sum - least)) / range) : 0);
    return sums;
  };
}

/** What affinity, the pod's own and that of placed pods, means for a pod. */
export function interPodRelation(info: PodInfo, view: RelationView, settings: InterPodSettings): Relation {
  const forbidding: TermGroup[] = [];
  const pulling: TermGroup[] = [];
  for (const group of view.cache.termGroups()) {
    if (!group.selects(view.namespaceLabels)(info.pod)) continue;
    if (group.kind === 'requiredAnti') forbidding.push(group);
    else pulling.push(group);
  }
  const refuse = settings.filter ? createFilter(info, forbidding, view) : undefined;
  const pulls = settings.weight > 0 ? pullsOf(info, pulling, settings, view) : [];
  if (refuse === undefined && pulls.length === 0) return noRelation;
  return { refuse, score: pulls.length === 0 ? undefined : createScore(pulls, settings.weight) };
}
