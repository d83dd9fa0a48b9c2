// Default roles and bindings that lost a rule or subject get it back, unless their owner opted out of that.
import { isDeepStrictEqual } from 'node:util';
import type { PolicyRule, Subject } from '#kube/api/generated/rbac-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { Registry } from '../registry/registry.ts';
import type { RequestContext } from '../registry/request-context.ts';
import type { ServedResource } from '../registry/resource-table.ts';
import { updateObject } from '../registry/verbs/update.ts';

type RoleLike = KubeObject & { rules?: PolicyRule[]; subjects?: Subject[]; aggregationRule?: object };

const optOut = 'rbac.authorization.kubernetes.io/autoupdate';

function missing<T>(wanted: readonly T[] | undefined, present: readonly T[] | undefined): T[] {
  return (wanted ?? []).filter((each) => !(present ?? []).some((other) => isDeepStrictEqual(each, other)));
}

/** Adds what `existing` lacks of `wanted`. Other kinds are left alone. */
export async function reconcileRole(
  registry: Registry,
  served: ServedResource,
  wanted: KubeObject,
  existing: KubeObject,
  context: RequestContext,
): Promise<void> {
  const [role, present]: RoleLike[] = [wanted, existing];
  if (role === undefined || present === undefined || served.resource.group !== 'rbac.authorization.k8s.io') return;
  if (existing.metadata.annotations?.[optOut] === 'false') return;
  const rules = role.aggregationRule === undefined ? missing(role.rules, present.rules) : [];
  const subjects = missing(role.subjects, present.subjects);
  if (rules.length === 0 && subjects.length === 0) return;
  const { namespace = '', name } = existing.metadata;
  const change = (current: KubeObject): KubeObject => {
    const changed: RoleLike = { ...current };
    if (rules.length > 0) changed.rules = [...(changed.rules ?? []), ...rules];
    if (subjects.length > 0) changed.subjects = [...(changed.subjects ?? []), ...subjects];
    return changed;
  };
  await updateObject(registry, served, { namespace, name, subresource: '', change, isPatch: true }, context);
}
