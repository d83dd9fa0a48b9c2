// Delete: preconditions, propagation finalizers, grace, and removal once nothing holds the object any more.
import type { DeleteOptions } from '#kube/api/generated/meta-v1.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { StoredEntry } from '../../storage/backend.ts';
import { timestamp } from '../object-meta.ts';
import { objectKeyIn } from '../object-reader.ts';
import type { Registry, Written } from '../registry.ts';
import type { RequestContext } from '../request-context.ts';
import type { ServedResource } from '../resource-table.ts';
import { shownEntry, writeOf, writtenEntry } from '../shown-entries.ts';
import { conflict, notFound } from '../status-errors.ts';
import { type PlannedWrite, type Steps, transactPlanned } from '../steps.ts';
import { isFinished } from './update.ts';

const orphanFinalizer = 'orphan';
const foregroundFinalizer = 'foregroundDeletion';
// Kinds that leave their dependents behind unless told otherwise.
const orphansByDefault = new Set(['/ReplicationController', 'batch/Job', 'batch/CronJob']);

export interface Deleted extends Written {
  /** Whether the object is gone; otherwise it waits for its grace period or finalizers. */
  isGone: boolean;
}

/** The finalizers of an object once its deletion with these options begins. */
export function finalizersForDeletion(
  resource: Resource,
  finalizers: readonly string[],
  options: DeleteOptions,
): string[] {
  const others = finalizers.filter((name) => name !== orphanFinalizer && name !== foregroundFinalizer);
  const { orphanDependents, propagationPolicy } = options;
  if (orphanDependents !== undefined) return orphanDependents ? [...others, orphanFinalizer] : others;
  switch (propagationPolicy) {
    case 'Orphan':
      return [...others, orphanFinalizer];
    case 'Foreground':
      return [...others, foregroundFinalizer];
    case 'Background':
      return others;
    default:
      if (others.length !== finalizers.length) return [...finalizers];
      return orphansByDefault.has(`${resource.group}/${resource.kind}`) ? [...others, orphanFinalizer] : others;
  }
}

function checkPreconditions(
  current: StoredEntry,
  object: KubeObject,
  options: DeleteOptions,
  resource: Resource,
): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const { name } = object.metadata;
  if (uid !== undefined && uid !== object.metadata.uid) {
    const uids = `UID in precondition: ${uid}, UID in object meta: ${object.metadata.uid}`;
    throw conflict(resource, name, `Precondition failed: ${uids}`);
  }
  if (resourceVersion !== undefined && resourceVersion !== String(current.revision)) {
    const versions = `ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${current.revision}`;
    throw conflict(resource, name, `Precondition failed: ${versions}`);
  }
}

/** Marks the object as being deleted. Returns whether that changed anything. */
function beginDeletion(object: KubeObject, graceSeconds: number, nowMs: number): boolean {
  const { metadata } = object;
  const { deletionTimestamp, deletionGracePeriodSeconds } = metadata;
  if (deletionTimestamp !== undefined && (deletionGracePeriodSeconds ?? 0) <= graceSeconds) return false;
  const base =
    deletionTimestamp === undefined ? nowMs : Date.parse(deletionTimestamp) - (deletionGracePeriodSeconds ?? 0) * 1000;
  metadata.deletionTimestamp = timestamp(base + graceSeconds * 1000);
  metadata.deletionGracePeriodSeconds = graceSeconds;
  if (metadata.generation !== undefined && metadata.generation > 0) metadata.generation += 1;
  return true;
}

/** Deletes an object, or begins to. Throws StatusError. */
export async function deleteObject(
  registry: Registry,
  served: ServedResource,
  namespace: string,
  name: string,
  options: DeleteOptions,
  context: RequestContext,
): Promise<Deleted> {
  const { stored } = served;
  const strategy = registry.strategyOf(stored);
  const strategyContext = { ...context, objects: registry.objects };
  const key = objectKeyIn(served.storagePrefix, namespace, name);
  let result: KubeObject | undefined;
  let isGone = false;
  function* plan(entry: StoredEntry | undefined): Steps<PlannedWrite> {
    const undo = () => undefined;
    if (entry === undefined) throw notFound(stored, name);
    const current = yield* shownEntry(served, entry);
    const previous = registry.parse(current);
    checkPreconditions(current, previous, options, stored);
    strategy.checkDelete?.(previous, strategyContext);
    const admission = { verb: 'delete' as const, served, subresource: '', namespace, name, object: undefined, options };
    const request = { ...admission, previous, context, objects: registry.objects };
    yield* registry.admission.mutate(request);
    yield* registry.admission.validate(request);
    const object = registry.parse(current);
    result = object;
    const finalizers = finalizersForDeletion(stored, object.metadata.finalizers ?? [], options);
    const wereFinalizers = (object.metadata.finalizers ?? []).join();
    if (finalizers.length > 0) object.metadata.finalizers = finalizers;
    else delete object.metadata.finalizers;
    const requested = options.gracePeriodSeconds;
    const grace = strategy.gracePeriodSeconds?.(object, requested) ?? 0;
    const wasDeleting = object.metadata.deletionTimestamp !== undefined;
    const hasBegun = beginDeletion(object, grace, context.nowMs);
    if (!wasDeleting) strategy.beginDeletion?.(object, strategyContext);
    isGone = isFinished(object);
    if (context.dryRun) return { write: { type: 'none' }, undo };
    if (isGone) return { write: { type: 'delete' }, undo };
    if (!hasBegun && wereFinalizers === finalizers.join()) return { write: { type: 'none' }, undo };
    return { write: yield* writeOf(registry, served, object), undo };
  }
  const written = await transactPlanned(registry.backend, key, plan);
  if (result === undefined) throw notFound(stored, name);
  if (written !== undefined && !context.dryRun) await registry.cache.reached(written.revision);
  if (isGone && !context.dryRun) {
    strategy.released?.(result);
    await strategy.settle?.(result);
  }
  const hasEntry = written !== undefined && !context.dryRun;
  return { object: result, entry: hasEntry ? writtenEntry(served, written, result) : undefined, isGone };
}
