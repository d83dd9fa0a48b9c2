// Delete: preconditions, propagation finalizers, grace, and removal once nothing holds the object any more.
import type { DeleteOptions } from '#kube/api/generated/meta-v1.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { StoredEntry, Write } from '../../storage/backend.ts';
import { serialiseAround } from '../../storage/object-bytes.ts';
import { timestamp } from '../object-meta.ts';
import { objectKeyIn } from '../object-reader.ts';
import type { Registry, Written } from '../registry.ts';
import type { RequestContext } from '../request-context.ts';
import type { ServedResource } from '../resource-table.ts';
import { conflict, notFound } from '../status-errors.ts';
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
  const decide = (current: StoredEntry | undefined): Write => {
    if (current === undefined) throw notFound(stored, name);
    const previous = registry.parse(current);
    checkPreconditions(current, previous, options, stored);
    strategy.checkDelete?.(previous, strategyContext);
    const admission = { verb: 'delete' as const, served, subresource: '', namespace, name, object: undefined };
    const request = { ...admission, previous, context, objects: registry.objects };
    registry.admission.mutate(request);
    registry.admission.validate(request);
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
    if (context.dryRun) return { type: 'none' };
    if (isGone) return { type: 'delete' };
    if (!hasBegun && wereFinalizers === finalizers.join()) return { type: 'none' };
    return { type: 'put', ...serialiseAround(object), memo: registry.readAttributes(served, object) };
  };
  const entry = await registry.backend.transact(key, decide);
  if (result === undefined) throw notFound(stored, name);
  if (entry !== undefined && !context.dryRun) await registry.cache.reached(entry.revision);
  if (isGone && !context.dryRun) {
    strategy.released?.(result);
    await strategy.settle?.(result);
  }
  return { object: result, entry: context.dryRun ? undefined : entry, isGone };
}
