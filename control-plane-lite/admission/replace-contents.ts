// Plugins edit the object of a request in place: whoever began the request holds on to it.
import type { KubeObject } from '#kube/api/resource.ts';

/** Makes `target` what `source` is. */
export function replaceContents(target: KubeObject, source: KubeObject): void {
  if (target === source) return;
  for (const key of Object.keys(target)) delete (target as unknown as Record<string, unknown>)[key];
  Object.assign(target, source);
}
