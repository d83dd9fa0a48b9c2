// Statuses that a new cluster's own objects have: API services are available, flow schemas are not dangling, the
// service network is ready. Written once.
import type { FlowSchema } from '#kube/api/generated/flowcontrol-v1.ts';
import { apiservices, flowschemas, servicecidrs } from '#kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import { timestamp } from '../registry/object-meta.ts';
import type { Registry } from '../registry/registry.ts';
import type { RequestContext } from '../registry/request-context.ts';
import { updateObject } from '../registry/verbs/update.ts';

interface Condition {
  type: string;
  status: string;
  reason: string;
  message: string;
}

type WithConditions = KubeObject & { status?: { conditions?: unknown[] } };

const available: Condition = {
  type: 'Available',
  status: 'True',
  reason: 'Local',
  message: 'Local APIServices are always available',
};

const ready: Condition = { type: 'Ready', status: 'True', reason: '', message: 'Kubernetes Service CIDR is ready' };

function found(schema: FlowSchema): Condition {
  const level = JSON.stringify(schema.spec?.priorityLevelConfiguration.name);
  const message = `This FlowSchema references the PriorityLevelConfiguration object named ${level} and it exists`;
  return { type: 'Dangling', status: 'False', reason: 'Found', message };
}

/** Sets the condition of each object that has none. */
export async function ensureBootstrapStatuses(registry: Registry, context: RequestContext): Promise<void> {
  const ensure = async (resource: Resource, conditionOf: (object: KubeObject) => Condition): Promise<void> => {
    const bare = registry.objects
      .list<WithConditions>(resource)
      .filter(({ status }) => (status?.conditions ?? []).length === 0);
    await Promise.all(
      bare.map(({ metadata: { name } }) => {
        const change = (current: KubeObject): KubeObject => {
          const condition = { ...conditionOf(current), lastTransitionTime: timestamp(context.nowMs) };
          return { ...current, status: { conditions: [condition] } } as KubeObject;
        };
        const request = { namespace: '', name, subresource: 'status', change, isPatch: true };
        return updateObject(registry, registry.table.get(resource), request, context);
      }),
    );
  };
  await Promise.all([
    ensure(apiservices, () => available),
    ensure(flowschemas, (object) => found(object as FlowSchema)),
    ensure(servicecidrs, () => ready),
  ]);
}
