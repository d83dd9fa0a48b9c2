// Which pods an affinity term or spread constraint speaks of.
import type { Pod, PodAffinityTerm } from '#kube/api/generated/core-v1.ts';
import type { LabelSelector } from '#kube/api/generated/meta-v1.ts';
import { type LabelRequirements, requirementsOf, selectorMatches } from '#kube/api/label-selector.ts';

/** Labels of a namespace, for terms that select namespaces by them. */
export type NamespaceLabels = (namespace: string) => Record<string, string> | undefined;

/** Matches other pods; `undefined` selector selects nothing. */
export type PodMatcher = (pod: Pod) => boolean;

/** The selector with the pod's own values of `matchLabelKeys` (or, negated, `mismatchLabelKeys`) added. */
function withOwnLabels(
  selector: LabelSelector | undefined,
  own: Pod,
  matchKeys: readonly string[] | undefined,
  mismatchKeys: readonly string[] | undefined,
): LabelRequirements | undefined {
  const base = requirementsOf(selector);
  if (base === undefined) return undefined;
  const extra = (keys: readonly string[] | undefined, operator: 'In' | 'NotIn') =>
    (keys ?? []).flatMap((key) => {
      const value = own.metadata.labels?.[key];
      return value === undefined ? [] : [{ key, operator, values: [value] }];
    });
  return [...base, ...extra(matchKeys, 'In'), ...extra(mismatchKeys, 'NotIn')];
}

/** Pods that a term of `owner` selects, in the namespaces it names (its own where it names none). */
export function termMatcher(owner: Pod, term: PodAffinityTerm, namespaceLabels: NamespaceLabels): PodMatcher {
  const requirements = withOwnLabels(term.labelSelector, owner, term.matchLabelKeys, term.mismatchLabelKeys);
  const namespaceRequirements = requirementsOf(term.namespaceSelector);
  const named = new Set(term.namespaces ?? []);
  if (named.size === 0 && namespaceRequirements === undefined) named.add(owner.metadata.namespace ?? '');
  return ({ metadata }) => {
    const namespace = metadata.namespace ?? '';
    const inScope =
      named.has(namespace) ||
      (namespaceRequirements !== undefined && selectorMatches(namespaceRequirements, namespaceLabels(namespace)));
    return inScope && requirements !== undefined && selectorMatches(requirements, metadata.labels);
  };
}

/** Pods of the same namespace that a spread constraint counts. */
export function spreadMatcher(
  owner: Pod,
  selector: LabelSelector | undefined,
  matchLabelKeys: readonly string[] | undefined,
): PodMatcher {
  const requirements = withOwnLabels(selector, owner, matchLabelKeys, undefined);
  return ({ metadata }) =>
    metadata.namespace === owner.metadata.namespace &&
    requirements !== undefined &&
    selectorMatches(requirements, metadata.labels);
}
