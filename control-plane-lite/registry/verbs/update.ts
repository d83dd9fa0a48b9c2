// Update, shared by PUT, PATCH, apply and every subresource that changes its object: read, change, check, store.
// The decision runs inside the store's transaction and is synchronous, so it never races another write.
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from '#kube/api/resource.ts';
import { invalidObject } from '#kube/errors/field-error.ts';
import type { StoredEntry, Write } from '../../storage/backend.ts';
import { serialiseAround } from '../../storage/object-bytes.ts';
import { countsGenerations, isNewGeneration } from '../generation.ts';
import { carryOverMeta, checkNamespace } from '../object-meta.ts';
import { objectKeyIn } from '../object-reader.ts';
import type { Registry, Written } from '../registry.ts';
import type { RequestContext } from '../request-context.ts';
import type { ServedResource } from '../resource-table.ts';
import { badRequest, conflict, modifiedConflict, notFound } from '../status-errors.ts';
import { isolateSubresource } from '../subresource-isolation.ts';
import { validateMetaUpdate } from '../validate-meta.ts';

export interface UpdateRequest {
  namespace: string;
  name: string;
  /** Empty for the object itself. */
  subresource: string;
  /**
   * The object wanted, in the stored version, from a private copy of the current one. May throw StatusError.
   * Absent fields mean absent.
   */
  change(current: KubeObject): KubeObject;
  /** How the managers of fields are worked out; absent: as for an update by the request's manager. */
  manageFields?: ((object: KubeObject, previous: KubeObject) => void) | undefined;
  /** Patches are based on the current object by themselves. */
  isPatch?: boolean;
}

// Kinds for which an update must say which version it is based on.
const conditionalOnly = new Set([
  'coordination.k8s.io/Lease',
  'policy/PodDisruptionBudget',
  'apiextensions.k8s.io/CustomResourceDefinition',
  'apiregistration.k8s.io/APIService',
  'storage.k8s.io/CSIDriver',
  'storage.k8s.io/CSINode',
  'storage.k8s.io/VolumeAttachment',
]);

function checkVersion(object: KubeObject, current: StoredEntry, served: ServedResource, isPatch: boolean): void {
  const { stored } = served;
  const { name, resourceVersion = '' } = object.metadata;
  if (resourceVersion === '' || resourceVersion === '0') {
    if (!isPatch && conditionalOnly.has(`${stored.group}/${stored.kind}`)) {
      const message = 'Invalid value: 0: must be specified for an update';
      throw invalidObject(stored.kind, stored.group, name, [
        { field: 'metadata.resourceVersion', reason: 'FieldValueInvalid', message },
      ]);
    }
    return;
  }
  if (resourceVersion !== String(current.revision)) throw modifiedConflict(stored, name);
}

/** Replaces an object by what `change` makes of it. Throws StatusError; NotFound when there is none. */
export async function updateObject(
  registry: Registry,
  served: ServedResource,
  request: UpdateRequest,
  context: RequestContext,
): Promise<Written> {
  const { stored } = served;
  const key = objectKeyIn(served.storagePrefix, request.namespace, request.name);
  let undo = (): void => undefined;
  let result: KubeObject | undefined;
  let wasDeleted = false;
  const decide = (current: StoredEntry | undefined): Write => {
    undo();
    if (current === undefined) throw notFound(stored, request.name);
    const previous = registry.parse(current);
    const planned = planUpdate(registry, served, request, context, current, previous);
    result = planned.object;
    undo = planned.undo;
    if (context.dryRun) {
      undo();
      return { type: 'none' };
    }
    const { metadata } = planned.object;
    if (metadata.deletionTimestamp !== undefined && isFinished(planned.object)) {
      wasDeleted = true;
      return { type: 'delete' };
    }
    if (isUnchanged(planned.object, previous)) return { type: 'none' };
    const memo = registry.readAttributes(served, planned.object);
    return { type: 'put', ...serialiseAround(planned.object), memo };
  };
  try {
    const entry = await registry.backend.transact(key, decide);
    if (entry === undefined || result === undefined) throw notFound(stored, request.name);
    if (wasDeleted) registry.strategyOf(stored).released?.(result);
    await registry.cache.reached(entry.revision);
    if (!context.dryRun) await registry.strategyOf(stored).settle?.(result);
    return { object: result, entry: context.dryRun ? undefined : entry };
  } catch (error) {
    undo();
    throw error;
  }
}

/** Whether nothing holds an object back that is being deleted. */
export function isFinished(object: KubeObject): boolean {
  const { spec } = object as KubeObject & { spec?: { finalizers?: string[] } };
  const holdsSpec = object.kind === 'Namespace' && (spec?.finalizers ?? []).length > 0;
  const { deletionGracePeriodSeconds = 0, finalizers = [] } = object.metadata;
  return finalizers.length === 0 && !holdsSpec && deletionGracePeriodSeconds === 0;
}

function isUnchanged(object: KubeObject, previous: KubeObject): boolean {
  const comparable = ({ metadata, ...rest }: KubeObject) => {
    const { resourceVersion: _, managedFields = [], ...meta } = metadata;
    return { ...rest, metadata: { ...meta, managedFields: managedFields.map(({ time: _time, ...entry }) => entry) } };
  };
  return isDeepStrictEqual(comparable(object), comparable(previous));
}

function planUpdate(
  registry: Registry,
  served: ServedResource,
  request: UpdateRequest,
  context: RequestContext,
  current: StoredEntry,
  previous: KubeObject,
): { object: KubeObject; undo: () => void } {
  const { stored } = served;
  const { subresource, namespace, name } = request;
  const object = request.change(registry.parse(current));
  if ((object.metadata.name ?? '') !== '' && object.metadata.name !== name) {
    throw badRequest(`the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`);
  }
  checkNamespace(object, namespace);
  checkVersion(object, current, served, request.isPatch === true);
  const requestedUid = object.metadata.uid ?? '';
  if (requestedUid !== '' && requestedUid !== previous.metadata.uid) {
    const uids = `UID in precondition: ${requestedUid}, UID in object meta: ${previous.metadata.uid}`;
    throw conflict(stored, name, `Precondition failed: ${uids}`);
  }
  carryOverMeta(object, previous);
  const strategy = registry.strategyOf(stored);
  const strategyContext = { ...context, objects: registry.objects };
  isolateSubresource(object, previous, registry.schema.typeOf(stored), subresource, served);
  registry.rules.applyDefaults(stored, object);
  const admission = {
    verb: 'update' as const,
    served,
    subresource,
    namespace,
    name,
    object,
    previous,
    context,
    objects: registry.objects,
  };
  registry.admission.mutate(admission);
  strategy.prepareUpdate?.(object, previous, strategyContext, subresource);
  const isCounted = countsGenerations(stored) || strategy.countsGenerations === true;
  // A binding places the specification, it does not change it.
  const mayCount = subresource !== 'status' && subresource !== 'binding';
  if (isCounted && mayCount && isNewGeneration(object, previous)) {
    object.metadata.generation = (previous.metadata.generation ?? 0) + 1;
  }
  const errors = [
    ...validateMetaUpdate(object, previous, requestedUid),
    ...registry.rules.validateUpdate(stored, object, previous, subresource),
  ];
  if (errors.length > 0) throw invalidObject(stored.kind, stored.group, name, errors);
  const release = registry.admission.validate(admission);
  const allocated = strategy.allocate?.(object, previous, strategyContext);
  const undo = () => {
    allocated?.undo();
    release();
  };
  if (allocated !== undefined && allocated.errors.length > 0) {
    undo();
    throw invalidObject(stored.kind, stored.group, name, allocated.errors);
  }
  if (request.manageFields === undefined) registry.fields.updated(stored, object, previous, context, subresource);
  else request.manageFields(object, previous);
  return { object, undo };
}
