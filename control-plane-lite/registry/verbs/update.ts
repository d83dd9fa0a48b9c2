// Update, shared by PUT, PATCH, apply and every subresource that changes its object: read, change, check, store.
// The decision runs inside the store's transaction, so it never races another write; one that waits for others counts
// only if the object is still the same afterwards.
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from '#kube/api/resource.ts';
import { type FieldError, invalidObject } from '#kube/errors/field-error.ts';
import type { StoredEntry } from '../../storage/backend.ts';
import { countsGenerations, isNewGeneration } from '../generation.ts';
import { carryOverMeta, checkNamespace } from '../object-meta.ts';
import { objectKeyIn } from '../object-reader.ts';
import type { Registry, Written } from '../registry.ts';
import type { RequestContext } from '../request-context.ts';
import type { ServedResource } from '../resource-table.ts';
import { shownEntry, writeOf, writtenEntry } from '../shown-entries.ts';
import { badRequest, conflict, modifiedConflict, notFound } from '../status-errors.ts';
import { type PlannedWrite, type Steps, transactPlanned } from '../steps.ts';
import type { Undo } from '../strategy.ts';
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
  let result: KubeObject | undefined;
  let wasDeleted = false;
  function* plan(current: StoredEntry | undefined): Steps<PlannedWrite> {
    if (current === undefined) throw notFound(stored, request.name);
    const shown = yield* shownEntry(served, current);
    const { object, previous, undo } = yield* planUpdate(registry, served, request, context, shown);
    result = object;
    wasDeleted = false;
    if (context.dryRun) {
      undo();
      return { write: { type: 'none' }, undo };
    }
    if (object.metadata.deletionTimestamp !== undefined && isFinished(object)) {
      wasDeleted = true;
      return { write: { type: 'delete' }, undo };
    }
    const isCurrent = current.isStale !== true && (served.view?.isCurrent(current) ?? true);
    if (isCurrent && isUnchanged(object, previous)) return { write: { type: 'none' }, undo };
    return { write: yield* writeOf(registry, served, object), undo };
  }
  const entry = await transactPlanned(registry.backend, key, plan);
  if (entry === undefined || result === undefined) throw notFound(stored, request.name);
  if (wasDeleted) registry.strategyOf(stored).released?.(result);
  await registry.cache.reached(entry.revision);
  if (!context.dryRun) await registry.strategyOf(stored).settle?.(result);
  return { object: result, entry: context.dryRun ? undefined : writtenEntry(served, entry, result) };
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

function* planUpdate(
  registry: Registry,
  served: ServedResource,
  request: UpdateRequest,
  context: RequestContext,
  current: StoredEntry,
): Steps<{ object: KubeObject; previous: KubeObject; undo: () => void }> {
  const { stored } = served;
  const { subresource, namespace, name } = request;
  const previous = registry.parse(current);
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
  yield* registry.admission.mutate(admission);
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
  const release = yield* registry.admission.validate(admission);
  let allocated: { errors: FieldError[]; undo: Undo } | undefined;
  try {
    if (strategy.allocate !== undefined) allocated = yield* strategy.allocate(object, previous, strategyContext);
  } catch (error) {
    release();
    throw error;
  }
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
  return { object, previous, undo };
}
