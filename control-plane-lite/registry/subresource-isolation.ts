// What a write to an object or to its status may touch: the main resource leaves status alone, status leaves the rest.
import type { KubeObject } from '#kube/api/resource.ts';
import type { ServedResource } from './resource-table.ts';
import type { ObjectType } from './schema.ts';

type Fields = KubeObject & Record<string, unknown>;

function restore(object: Fields, previous: Fields, field: string): void {
  if (previous[field] === undefined) delete object[field];
  else object[field] = structuredClone(previous[field]);
}

// Kinds whose status writers may not change labels either.
const statusKeepsLabels = new Set(['Deployment', 'ReplicaSet', 'StatefulSet', 'DaemonSet', 'ReplicationController']);

/** Undoes, in place, what a write through `subresource` has no say in. */
export function isolateSubresource(
  object: KubeObject,
  previous: KubeObject,
  type: ObjectType,
  subresource: string,
  served: ServedResource,
): void {
  const target = object as Fields;
  const before = previous as Fields;
  if (subresource === '') {
    if (served.subresources.has('status') && type.fields.has('status')) restore(target, before, 'status');
    return;
  }
  if (subresource !== 'status') return;
  for (const field of new Set([...Object.keys(before), ...Object.keys(target)])) {
    if (field !== 'status' && field !== 'metadata' && field !== 'kind' && field !== 'apiVersion') {
      restore(target, before, field);
    }
  }
  if (statusKeepsLabels.has(served.stored.kind))
    restore(target.metadata as unknown as Fields, before.metadata as unknown as Fields, 'labels');
  restore(target.metadata as unknown as Fields, before.metadata as unknown as Fields, 'ownerReferences');
}
