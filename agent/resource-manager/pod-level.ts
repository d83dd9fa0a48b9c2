// Pods whose resources are set for the pod as a whole get no processors or memory of their own. Pure.
import type { Pod } from '#kube/api/generated/core-v1.ts';

/** Whether the pod sets a resource for all of its containers together. */
export function hasPodLevelResources({ spec: { resources } }: Pod): boolean {
  const names = [...Object.keys(resources?.requests ?? {}), ...Object.keys(resources?.limits ?? {})];
  return names.some((name) => name === 'cpu' || name === 'memory' || name.startsWith('hugepages-'));
}
