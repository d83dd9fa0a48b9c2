// Cluster roles with an aggregation rule hold the rules of all roles that the rule selects. Kept so by following the
// roles, as the reference's controller does.

import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { ClusterRole, PolicyRule } from '#kube/api/generated/rbac-v1.ts';
import { clusterroles } from '#kube/api/generated/resources.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { createCoalescedRun } from '#kube/queue/coalesced-run.ts';
import type { Registry } from '../../registry/registry.ts';
import type { RequestContext } from '../../registry/request-context.ts';
import { updateObject } from '../../registry/verbs/update.ts';

type Role = KubeObject & ClusterRole;

export interface AggregatedRolesDeps {
  registry: Registry;
  logger: Logger;
  /** The context of the server's own writes. */
  context(): RequestContext;
}

/** The rules of a role by its aggregation rule, each once; roles in the order of their names. Pure. */
export function computeAggregatedRules(role: Role, roles: readonly Role[]): PolicyRule[] {
  const selectors = role.aggregationRule?.clusterRoleSelectors ?? [];
  const rules: PolicyRule[] = [];
  for (const other of roles) {
    if (other.metadata.name === role.metadata.name) continue;
    if (!selectors.some((selector) => labelSelectorMatches(selector, other.metadata.labels))) continue;
    for (const rule of other.rules ?? []) {
      if (!rules.some((each) => isDeepStrictEqual(each, rule))) rules.push(rule);
    }
  }
  return rules;
}

/** Writes the roles whose rules are not what they should be. Aggregates of aggregates settle in further turns. */
async function sync({ registry, context }: AggregatedRolesDeps): Promise<void> {
  const roles = registry.objects.list(clusterroles) as Role[];
  for (const role of roles) {
    if (role.aggregationRule === undefined) continue;
    const rules = computeAggregatedRules(role, roles);
    if (isDeepStrictEqual(role.rules ?? [], rules)) continue;
    const change = (current: KubeObject): KubeObject => ({ ...current, rules }) as KubeObject;
    const request = { namespace: '', name: role.metadata.name, subresource: '', change, isPatch: true };
    await updateObject(registry, registry.table.get(clusterroles), request, context());
  }
}

/** Follows the roles from now on. Returns how to stop. */
export function followAggregatedRoles(deps: AggregatedRolesDeps): () => void {
  const { registry, logger } = deps;
  const run = createCoalescedRun(
    () => sync(deps),
    (error) => {
      if (!isNotFound(error)) logger.warn({ err: error }, 'could not aggregate cluster roles');
    },
  );
  registry.cache.onChange(registry.table.get(clusterroles).storagePrefix, run.soon);
  return run.stop;
}
