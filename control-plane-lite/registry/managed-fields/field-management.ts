// Who owns which field: keeps metadata.managedFields through creates, updates and applies.
// Source of the rules: KEP-555 and sigs.k8s.io/structured-merge-diff.
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import { apiVersionOf } from '#kube/api/resource.ts';
import { timestamp } from '../object-meta.ts';
import type { RequestContext } from '../request-context.ts';
import type { Schema } from '../schema.ts';
import { appliedSet } from './applied-set.ts';
import { compareObjects } from './compare.ts';
import { type ApplyConflict, applyConflicts } from './conflict.ts';
import { difference, type FieldSet, fromFieldsV1, intersection, paths, union } from './field-set.ts';
import {
  isSameManager,
  type Manager,
  type ManagerIdentity,
  readManagers,
  replaceSet,
  setOf,
  writeManagers,
} from './managers.ts';
import { mergeValues, removePaths } from './merge.ts';

/** Edits the managers of objects in place. */
export interface FieldManagement {
  created(resource: Resource, object: KubeObject, context: RequestContext): void;
  updated(
    resource: Resource,
    object: KubeObject,
    previous: KubeObject,
    context: RequestContext,
    subresource: string,
  ): void;
  /** The live object with a configuration applied; throws StatusError 409 for conflicts unless forced. */
  applied(request: ApplyRequest, context: RequestContext): KubeObject;
  /** Sets the managers of an object that was applied and then defaulted and admitted. */
  appliedFinally(request: ApplyRequest, object: KubeObject, context: RequestContext): void;
}

export interface ApplyRequest {
  resource: Resource;
  live: KubeObject;
  configuration: KubeObject;
  subresource: string;
  force: boolean;
}

// Never owned by anyone: the server's own.
const ignored: FieldSet = fromFieldsV1({
  'f:apiVersion': {},
  'f:kind': {},
  'f:metadata': {
    '.': {},
    'f:name': {},
    'f:namespace': {},
    'f:creationTimestamp': {},
    'f:selfLink': {},
    'f:uid': {},
    'f:generation': {},
    'f:managedFields': {},
    'f:resourceVersion': {},
    'f:deletionTimestamp': {},
    'f:deletionGracePeriodSeconds': {},
    'f:generateName': {},
  },
});

function withoutIgnored(set: FieldSet, hidden: string): FieldSet {
  const rest = difference(set, ignored);
  if (hidden !== '') rest.children.delete(hidden);
  return rest;
}

/** The part of the object that a write through this endpoint does not touch. */
function hiddenField(subresource: string, hasStatus: boolean): string {
  if (subresource === 'status') return 'f:spec';
  return subresource === '' && hasStatus ? 'f:status' : '';
}

/** Managers other than `identity` give up what changed under them or is gone. */
function releaseFrom(
  managers: readonly Manager[],
  identity: ManagerIdentity,
  taken: FieldSet,
  removed: FieldSet,
): Manager[] {
  return managers.map((manager) => {
    if (isSameManager(manager, identity)) return manager;
    return { ...manager, set: difference(difference(manager.set, taken), removed) };
  });
}

export function createFieldManagement(schema: Schema): FieldManagement {
  const hasStatus = (resource: Resource) => schema.typeOf(resource).fields.has('status');

  const updated = (
    resource: Resource,
    object: KubeObject,
    previous: KubeObject,
    context: RequestContext,
    subresource: string,
  ): void => {
    const type = schema.typeOf(resource);
    const given = object.metadata.managedFields;
    // A client may clear the list by setting one empty entry.
    const isReset =
      given !== undefined &&
      (given.length === 0 ||
        (given.length === 1 && given[0]?.manager === undefined && given[0]?.operation === undefined));
    if (isReset) {
      delete object.metadata.managedFields;
      return;
    }
    const managers = readManagers(object);
    const comparison = compareObjects(previous, object, type);
    const hidden = hiddenField(subresource, hasStatus(resource));
    const taken = withoutIgnored(union(comparison.added, comparison.modified), hidden);
    const removed = withoutIgnored(comparison.removed, '');
    const identity: ManagerIdentity = {
      name: context.fieldManager,
      operation: 'Update',
      apiVersion: apiVersionOf(resource),
      subresource,
    };
    const own = difference(union(setOf(managers, identity), taken), removed);
    const others = releaseFrom(managers, identity, taken, removed);
    writeManagers(object, replaceSet(others, identity, own, timestamp(context.nowMs)));
  };

  const plan = (request: ApplyRequest, context: RequestContext) => {
    const { resource, live, configuration, subresource } = request;
    const type = schema.typeOf(resource);
    const identity: ManagerIdentity = {
      name: context.fieldManager,
      operation: 'Apply',
      apiVersion: apiVersionOf(resource),
      subresource,
    };
    const managers = readManagers(live);
    const hidden = hiddenField(subresource, hasStatus(resource));
    const wanted = withoutIgnored(appliedSet(configuration, type), hidden);
    const before = setOf(managers, identity);
    const others = managers.filter((manager) => !isSameManager(manager, identity));
    const stillOwned = others.reduce((set, manager) => union(set, manager.set), wanted);
    return { type, identity, managers, wanted, hidden, unwanted: difference(before, stillOwned), stillOwned };
  };

  return {
    updated,
    created: (resource, object, context) => {
      const empty = { metadata: { name: '' } };
      delete object.metadata.managedFields;
      updated(resource, object, empty, context, '');
    },
    applied: (request, context) => {
      const { type, identity, managers, unwanted, stillOwned, hidden } = plan(request, context);
      const { live, configuration } = request;
      const merged = mergeValues(live, configuration, type);
      const result = (removePaths(merged, type, unwanted, stillOwned) ?? {}) as KubeObject;
      const comparison = compareObjects(live, result, type);
      const changed = withoutIgnored(union(comparison.added, comparison.modified), hidden);
      const conflicts: ApplyConflict[] = managers
        .filter((manager) => !isSameManager(manager, identity))
        .flatMap((manager) => [...paths(intersection(manager.set, changed))].map((path) => ({ manager, path })));
      if (conflicts.length > 0 && !request.force) throw applyConflicts(conflicts);
      return result;
    },
    appliedFinally: (request, object, context) => {
      const { type, identity, managers, wanted, hidden } = plan(request, context);
      const comparison = compareObjects(request.live, object, type);
      const changed = withoutIgnored(union(comparison.added, comparison.modified), hidden);
      const taken = intersection(changed, wanted);
      const removed = withoutIgnored(comparison.removed, '');
      const others = releaseFrom(managers, identity, taken, removed);
      writeManagers(object, replaceSet(others, identity, wanted, timestamp(context.nowMs)));
    },
  };
}
