// The claims that a pod's volumes are made of.
import type { Pod } from '#kube/api/generated/core-v1.ts';

/** The names of a pod's claims, by volume. */
export function claimNamesOf(pod: Pod): { name: string; isEphemeral: boolean }[] {
  const names: { name: string; isEphemeral: boolean }[] = [];
  for (const { name, persistentVolumeClaim, ephemeral } of pod.spec?.volumes ?? []) {
    if (persistentVolumeClaim !== undefined) names.push({ name: persistentVolumeClaim.claimName, isEphemeral: false });
    else if (ephemeral !== undefined) names.push({ name: `${pod.metadata.name}-${name}`, isEphemeral: true });
  }
  return names;
}
