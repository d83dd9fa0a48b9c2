// Writes into the status of each policy what checking its types found, once for each generation.

import type { Logger } from 'pino';
import { validatingadmissionpolicies } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { createCoalescedRun } from '#kube/queue/coalesced-run.ts';
import type { Registry } from '../../registry/registry.ts';
import type { RequestContext } from '../../registry/request-context.ts';
import { updateObject } from '../../registry/verbs/update.ts';
import { computeTypeWarnings } from './type-checking.ts';

export interface PolicyStatusDeps {
  registry: Registry;
  logger: Logger;
  /** The context of the server's own writes. */
  context(): RequestContext;
}

async function sync({ registry, context }: PolicyStatusDeps): Promise<void> {
  const served = registry.table.get(validatingadmissionpolicies);
  for (const policy of registry.objects.list(validatingadmissionpolicies)) {
    const { generation = 1, name, deletionTimestamp } = policy.metadata;
    if (policy.status?.observedGeneration === generation || deletionTimestamp !== undefined) continue;
    const expressionWarnings = computeTypeWarnings(policy, registry.table, registry.schema);
    const typeChecking = expressionWarnings.length === 0 ? {} : { expressionWarnings };
    const status = { ...policy.status, observedGeneration: generation, typeChecking };
    const change = (current: KubeObject): KubeObject => ({ ...current, status }) as KubeObject;
    try {
      await updateObject(
        registry,
        served,
        { namespace: '', name, subresource: 'status', change, isPatch: true },
        context(),
      );
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }
}

/** Follows the policies from now on. Returns how to stop. */
export function followPolicyStatus(deps: PolicyStatusDeps): () => void {
  const { registry, logger } = deps;
  const run = createCoalescedRun(
    () => sync(deps),
    (error) => logger.warn({ err: error }, 'could not tell a policy what checking its types found'),
  );
  registry.cache.onChange(registry.table.get(validatingadmissionpolicies).storagePrefix, run.soon);
  run.soon();
  return run.stop;
}
