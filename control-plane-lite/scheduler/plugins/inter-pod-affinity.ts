// Affinity and anti-affinity between pods: what is required refuses nodes, what is preferred scores them.
// Behaviour: upstream's interpodaffinity plugin.
import type { Pod, PodAffinityTerm, WeightedPodAffinityTerm } from '#kube/api/generated/core-v1.ts';
import type { ClusterCache } from '../cache/cluster-cache.ts';
import type { NodeInfo } from '../cache/node-info.ts';
import type { Refusal } from '../framework/plugin.ts';
import type { PodInfo } from '../framework/pod-info.ts';
import { type NamespaceLabels, type PodMatcher, termMatcher } from './affinity-terms.ts';

const existingAntiAffinity: Refusal = {
  reasons: ["node(s) didn't satisfy existing pods anti-affinity rules"],
  resolvable: true,
};
const antiAffinity: Refusal = { reasons: ["node(s) didn't match pod anti-affinity rules"], resolvable: true };
const affinity: Refusal = { reasons: ["node(s) didn't match pod affinity rules"], resolvable: false };

function domainOf(node: NodeInfo | undefined, key: string): string | undefined {
  return node?.node.metadata.labels?.[key];
}

/** Pods that match, counted by the value of a node label. */
function countByDomain(cache: ClusterCache, key: string, matches: PodMatcher): Map<string, number> {
  const counts = new Map<string, number>();
  for (const node of cache.nodes.values()) {
    const domain = domainOf(node, key);
    if (domain === undefined) continue;
    for (const { pod } of node.pods.values()) {
      if (matches(pod)) counts.set(domain, (counts.get(domain) ?? 0) + 1);
    }
  }
  return counts;
}

interface TermDomains {
  key: string;
  domains: Map<string, number>;
}

/** Whether a pod may go on a node as far as other pods are concerned; computed once per pod, asked per node. */
export function createInterPodFilter(
  { pod, uid }: PodInfo,
  cache: ClusterCache,
  namespaceLabels: NamespaceLabels,
): (node: NodeInfo) => Refusal | undefined {
  const { podAffinity, podAntiAffinity } = pod.spec?.affinity ?? {};
  const forbidden: TermDomains[] = [];
  for (const { info, node } of cache.restricting.values()) {
    if (info.uid === uid) continue;
    const terms = info.pod.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
    for (const term of terms) {
      const domain = domainOf(cache.nodes.get(node), term.topologyKey);
      if (domain === undefined || !termMatcher(info.pod, term, namespaceLabels)(pod)) continue;
      forbidden.push({ key: term.topologyKey, domains: new Map([[domain, 1]]) });
    }
  }
  const domainsOf = (term: PodAffinityTerm, matches: PodMatcher): TermDomains => ({
    key: term.topologyKey,
    domains: countByDomain(cache, term.topologyKey, matches),
  });
  const avoided = (podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term) =>
    domainsOf(term, termMatcher(pod, term, namespaceLabels)),
  );
  const requiredTerms = podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const matchers = requiredTerms.map((term) => termMatcher(pod, term, namespaceLabels));
  const matchesAll: PodMatcher = (other) => matchers.every((matches) => matches(other));
  const required = requiredTerms.map((term) => domainsOf(term, matchesAll));
  // The first pod of a set that wants to be together has nothing to be near to.
  const isFirst = required.every(({ domains }) => domains.size === 0) && matchesAll(pod);

  return (node) => {
    const isIn = ({ key, domains }: TermDomains) => domains.has(domainOf(node, key) ?? '\u0000');
    const near = required.every((term) => (isFirst ? domainOf(node, term.key) !== undefined : isIn(term)));
    if (!near) return affinity;
    if (avoided.some(isIn)) return antiAffinity;
    return forbidden.some(isIn) ? existingAntiAffinity : undefined;
  };
}

interface Preference {
  key: string;
  weight: number;
  domains: Map<string, number>;
}

function preferencesOf(
  pod: Pod,
  terms: readonly WeightedPodAffinityTerm[] | undefined,
  sign: 1 | -1,
  cache: ClusterCache,
  namespaceLabels: NamespaceLabels,
): Preference[] {
  return (terms ?? []).map(({ weight, podAffinityTerm }) => ({
    key: podAffinityTerm.topologyKey,
    weight: sign * weight,
    domains: countByDomain(cache, podAffinityTerm.topologyKey, termMatcher(pod, podAffinityTerm, namespaceLabels)),
  }));
}

/** Weighted counts of pods that the pod likes to be near to, less those it does not; not yet normalised. */
export function createInterPodScore(
  { pod }: PodInfo,
  cache: ClusterCache,
  namespaceLabels: NamespaceLabels,
): ((node: NodeInfo) => number) | undefined {
  const { podAffinity, podAntiAffinity } = pod.spec?.affinity ?? {};
  const liked = podAffinity?.preferredDuringSchedulingIgnoredDuringExecution;
  const disliked = podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution;
  const preferences = [
    ...preferencesOf(pod, liked, 1, cache, namespaceLabels),
    ...preferencesOf(pod, disliked, -1, cache, namespaceLabels),
  ];
  if (preferences.length === 0) return undefined;
  return (node) =>
    preferences.reduce(
      (sum, { key, weight, domains }) => sum + weight * (domains.get(domainOf(node, key) ?? '\u0000') ?? 0),
      0,
    );
}
