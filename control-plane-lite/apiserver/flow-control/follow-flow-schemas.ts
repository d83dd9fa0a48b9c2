// The condition Dangling of each FlowSchema: whether the level that it names is there. Kept true by following both.

import type { Logger } from 'pino';
import type { FlowSchema } from '#kube/api/generated/flowcontrol-v1.ts';
import { flowschemas, prioritylevelconfigurations } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { createCoalescedRun } from '#kube/queue/coalesced-run.ts';
import { timestamp } from '../../registry/object-meta.ts';
import type { Registry } from '../../registry/registry.ts';
import type { RequestContext } from '../../registry/request-context.ts';
import { updateObject } from '../../registry/verbs/update.ts';

export interface FlowSchemaFollowerDeps {
  registry: Registry;
  logger: Logger;
  /** The context of the server's own writes. */
  context(): RequestContext;
  /** Called with every change of the configuration. */
  changed(): void;
}

type Condition = NonNullable<NonNullable<FlowSchema['status']>['conditions']>[number];

function conditionOf({ spec }: FlowSchema, exists: boolean): Condition {
  const level = JSON.stringify(spec.priorityLevelConfiguration.name);
  const what = `This FlowSchema references the PriorityLevelConfiguration object named ${level}`;
  return exists
    ? { type: 'Dangling', status: 'False', reason: 'Found', message: `${what} and it exists` }
    : { type: 'Dangling', status: 'True', reason: 'NotFound', message: `${what} but there is no such object` };
}

async function sync({ registry, context }: FlowSchemaFollowerDeps): Promise<void> {
  const levels = new Set(registry.objects.list(prioritylevelconfigurations).map(({ metadata }) => metadata.name));
  for (const schema of registry.objects.list(flowschemas) as FlowSchema[]) {
    const wanted = conditionOf(schema, levels.has(schema.spec.priorityLevelConfiguration.name));
    const known = schema.status?.conditions?.find(({ type }) => type === 'Dangling');
    if (known?.status === wanted.status && known?.message === wanted.message) continue;
    const lastTransitionTime = known?.status === wanted.status ? known?.lastTransitionTime : timestamp(context().nowMs);
    const change = (current: KubeObject): KubeObject => {
      const others = (current as FlowSchema).status?.conditions?.filter(({ type }) => type !== 'Dangling') ?? [];
      return { ...current, status: { conditions: [...others, { ...wanted, lastTransitionTime }] } } as KubeObject;
    };
    const request = { namespace: '', name: schema.metadata.name, subresource: 'status', change, isPatch: true };
    await updateObject(registry, registry.table.get(flowschemas), request, context());
  }
}

/** Follows from now on. Returns how to stop. */
export function followFlowSchemas(deps: FlowSchemaFollowerDeps): () => void {
  const { registry, logger } = deps;
  const run = createCoalescedRun(
    () => sync(deps),
    (error) => {
      // Whoever was faster has changed the object, and that brings us here again.
      if (!isNotFound(error) && !isConflict(error)) logger.warn({ err: error }, 'could not say whether levels exist');
    },
  );
  for (const resource of [flowschemas, prioritylevelconfigurations]) {
    registry.cache.onChange(registry.table.get(resource).storagePrefix, () => {
      deps.changed();
      run.soon();
    });
  }
  return run.stop;
}
