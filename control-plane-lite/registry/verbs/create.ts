// Create: metadata, defaults, admission, validation, allocation, store. What has to hold when the object is stored is
// checked again by the store's transaction, or reserved: admission may wait for webhooks.
import type { KubeObject } from '#kube/api/resource.ts';
import { invalidObject } from '#kube/errors/field-error.ts';
import type { AdmissionRequest } from '../../admission/plugin.ts';
import { countsGenerations } from '../generation.ts';
import { checkNamespace, fillCreatedMeta } from '../object-meta.ts';
import { objectKeyIn } from '../object-reader.ts';
import { cacheOf, type Registry, type Written } from '../registry.ts';
import type { RequestContext } from '../request-context.ts';
import type { ServedResource } from '../resource-table.ts';
import { writeOf, writtenEntry } from '../shown-entries.ts';
import { alreadyExists, unexplained } from '../status-errors.ts';
import { finishSteps } from '../steps.ts';

/** Stores a new object; `object` is edited in place. `manageFields` replaces the general way. Throws StatusError. */
export async function createObject(
  registry: Registry,
  served: ServedResource,
  namespace: string,
  object: KubeObject,
  context: RequestContext,
  manageFields?: (object: KubeObject) => void,
): Promise<Written> {
  const resource = served.stored;
  if ((object.metadata.resourceVersion ?? '') !== '') {
    throw unexplained('resourceVersion should not be set on objects to be created');
  }
  checkNamespace(object, namespace);
  fillCreatedMeta(object, namespace, context.nowMs);
  const strategy = registry.strategyOf(resource);
  const strategyContext = { ...context, objects: registry.objects };
  registry.rules.applyDefaults(resource, object);
  const { name } = object.metadata;
  const request: AdmissionRequest = {
    verb: 'create',
    served,
    subresource: '',
    namespace,
    name,
    object,
    previous: undefined,
    context,
    objects: registry.objects,
  };
  await finishSteps(registry.admission.mutate(request));
  strategy.prepareCreate?.(object, strategyContext);
  if (countsGenerations(resource) || strategy.countsGenerations === true) object.metadata.generation = 1;
  const errors = registry.rules.validateCreate(resource, object);
  if (errors.length > 0) throw invalidObject(resource.kind, resource.group, name, errors);
  const key = objectKeyIn(served.storagePrefix, namespace, name);
  if (cacheOf(registry, served).get(key) !== undefined) throw alreadyExists(resource, name);
  const release = await finishSteps(registry.admission.validate(request));
  const allocated =
    strategy.allocate === undefined
      ? undefined
      : await finishSteps(strategy.allocate(object, undefined, strategyContext)).catch((error: unknown) => {
          release();
          throw error;
        });
  const undo = () => {
    allocated?.undo();
    release();
  };
  if (allocated !== undefined && allocated.errors.length > 0) {
    undo();
    throw invalidObject(resource.kind, resource.group, name, allocated.errors);
  }
  if (manageFields === undefined) registry.fields.created(resource, object, context);
  else manageFields(object);
  if (context.dryRun) {
    undo();
    return { object, entry: undefined };
  }
  try {
    const write = await finishSteps(writeOf(registry, served, object));
    const entry = await registry.backend.transact(key, (current) => {
      if (current !== undefined) throw alreadyExists(resource, name);
      return write;
    });
    if (entry !== undefined) await registry.cache.reached(entry.revision);
    await strategy.settle?.(object);
    return { object, entry: entry && writtenEntry(served, entry, object) };
  } catch (error) {
    undo();
    throw error;
  }
}
