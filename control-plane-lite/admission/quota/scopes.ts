// Whether a quota with scopes is about a pod. Pure.
import type { Pod, ResourceQuotaSpec } from '#kube/api/generated/core-v1.ts';
import { computeQosClass } from '#kube/api/pod-qos.ts';

interface Requirement {
  scope: string;
  operator: string;
  values: readonly string[];
}

function matches({ scope, operator, values }: Requirement, pod: Pod): boolean {
  switch (scope) {
    case 'Terminating':
      return pod.spec?.activeDeadlineSeconds !== undefined;
    case 'NotTerminating':
      return pod.spec?.activeDeadlineSeconds === undefined;
    case 'BestEffort':
      return computeQosClass(pod) === 'BestEffort';
    case 'NotBestEffort':
      return computeQosClass(pod) !== 'BestEffort';
    case 'PriorityClass': {
      const name = pod.spec?.priorityClassName ?? '';
      if (operator === 'Exists') return name !== '';
      if (operator === 'DoesNotExist') return name === '';
      return values.includes(name) === (operator === 'In');
    }
    case 'CrossNamespacePodAffinity': {
      const { podAffinity, podAntiAffinity } = pod.spec?.affinity ?? {};
      const terms = [podAffinity, podAntiAffinity].flatMap((each) => [
        ...(each?.requiredDuringSchedulingIgnoredDuringExecution ?? []),
        ...(each?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(({ podAffinityTerm }) => podAffinityTerm),
      ]);
      return terms.some((term) => (term.namespaces ?? []).length > 0 || term.namespaceSelector !== undefined);
    }
    default:
      return false;
  }
}

/** `pod` is undefined for objects of other kinds: a quota with scopes is not about them. */
export function isInScope(spec: ResourceQuotaSpec | undefined, pod: Pod | undefined): boolean {
  const requirements: Requirement[] = [
    ...(spec?.scopes ?? []).map((scope) => ({ scope, operator: 'Exists', values: [] })),
    ...(spec?.scopeSelector?.matchExpressions ?? []).map(({ scopeName, operator, values = [] }) => ({
      scope: scopeName,
      operator,
      values,
    })),
  ];
  return requirements.length === 0 || (pod !== undefined && requirements.every((each) => matches(each, pod)));
}
