// Defaults of admission policies and their bindings. Edits in place.
import type { MatchResources } from '#kube/api/generated/admissionregistration-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';

function defaultResources(resources: MatchResources | undefined): void {
  if (resources === undefined) return;
  resources.matchPolicy ??= 'Equivalent';
  resources.namespaceSelector ??= {};
  resources.objectSelector ??= {};
  for (const rule of [...(resources.resourceRules ?? []), ...(resources.excludeResourceRules ?? [])])
    rule.scope ??= '*';
}

interface PolicyObject {
  spec?: { failurePolicy?: string; matchConstraints?: MatchResources; matchResources?: MatchResources };
}

/** For the four kinds alike: each has a part of the fields. */
export function defaultPolicy(object: KubeObject): void {
  const { spec } = object as KubeObject & PolicyObject;
  if (spec === undefined) return;
  if (!object.kind?.endsWith('Binding')) spec.failurePolicy ??= 'Fail';
  defaultResources(spec.matchConstraints);
  defaultResources(spec.matchResources);
}
