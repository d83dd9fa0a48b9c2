// The affinity terms of a pod, each with a key by which equal terms of equal pods are known.
import type { Pod, PodAffinityTerm } from '#kube/api/generated/core-v1.ts';

export type TermKind = 'requiredAnti' | 'required' | 'preferred' | 'preferredAnti';

/** A term as one pod has it. */
export interface OwnedTerm {
  key: string;
  kind: TermKind;
  weight: number;
  term: PodAffinityTerm;
}

function ownLabels(pod: Pod, { matchLabelKeys = [], mismatchLabelKeys = [] }: PodAffinityTerm): unknown[] {
  return [...matchLabelKeys, ...mismatchLabelKeys].map((key) => pod.metadata.labels?.[key]);
}

/** The affinity terms of a pod that say something about others. */
export function termsOf(pod: Pod): OwnedTerm[] {
  const { podAffinity, podAntiAffinity } = pod.spec?.affinity ?? {};
  if (podAffinity === undefined && podAntiAffinity === undefined) return [];
  const { namespace } = pod.metadata;
  const owned = (kind: TermKind, weight: number, term: PodAffinityTerm): OwnedTerm => ({
    key: JSON.stringify([kind, weight, namespace, ownLabels(pod, term), term]),
    kind,
    weight,
    term,
  });
  return [
    ...(podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term) => owned('required', 1, term)),
    ...(podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term) =>
      owned('requiredAnti', 1, term),
    ),
    ...(podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(({ weight, podAffinityTerm }) =>
      owned('preferred', weight, podAffinityTerm),
    ),
    ...(podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(({ weight, podAffinityTerm }) =>
      owned('preferredAnti', weight, podAffinityTerm),
    ),
  ];
}
