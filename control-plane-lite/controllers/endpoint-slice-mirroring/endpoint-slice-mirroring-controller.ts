// Mirrors Endpoints that were written by hand to EndpointSlices, which is what proxies read.
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { endpointslices } from '#kube/api/generated/resources.ts';
import { objectKey } from '#kube/api/resource.ts';
import { isConflict, isNamespaceTerminating, isNotFound } from '#kube/errors/status-error.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { byService } from '../shared-informers.ts';
import { createUnseenWrites } from '../unseen-writes.ts';
import { computeMirror, isMirrored, mirroringManagedBy } from './compute-mirror.ts';

const managedByLabel = 'endpointslice.kubernetes.io/managed-by';

/** Its slices are told apart from others by their managed-by label. */
export function createEndpointSliceMirroringController(context: ControllerContext): Controller {
  const { informers, client, clock } = context;
  const queue = createControllerQueue(context);
  const writes = createUnseenWrites(informers.endpointslices, clock);
  const isOwn = ({ metadata }: EndpointSlice) => metadata.labels?.[managedByLabel] === mirroringManagedBy;
  const enqueueSlice = (slice: EndpointSlice) => {
    const service = slice.metadata.labels?.['kubernetes.io/service-name'];
    if (isOwn(slice) && service !== undefined) queue.add(`${slice.metadata.namespace}/${service}`);
  };
  for (const informer of [informers.endpoints, informers.services]) {
    informer.subscribe({
      added: (object) => queue.add(objectKey(object)),
      updated: (_, object) => queue.add(objectKey(object)),
      deleted: (object) => queue.add(objectKey(object)),
    });
  }
  informers.endpointslices.subscribe({
    added: enqueueSlice,
    updated: (_, slice) => enqueueSlice(slice),
    deleted: enqueueSlice,
  });

  async function remove(key: string, slice: EndpointSlice): Promise<void> {
    const { namespace, name, uid } = slice.metadata;
    try {
      await client.delete(endpointslices, { namespace, name }, { preconditions: { uid } });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
    writes.wrote(key, slice, true);
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    if (writes.isBehind(key)) return { requeueAfterMs: 20 };
    const existing = informers.endpointslices.byIndex(byService, key).filter(isOwn);
    const object = informers.endpoints.get(key);
    const service = informers.services.get(key);
    const hasSelector = Object.keys(service?.spec?.selector ?? {}).length > 0;
    if (object === undefined || service === undefined || hasSelector || !isMirrored(object)) {
      for (const slice of existing) await remove(key, slice);
      return;
    }
    // The API server keeps its own slice for the service it is reached by.
    if (key === 'default/kubernetes') return;
    const plan = computeMirror(object, existing);
    try {
      for (const draft of plan.create) {
        writes.wrote(key, await client.create(endpointslices, object.metadata.namespace, draft));
      }
      for (const slice of plan.update) writes.wrote(key, await client.update(endpointslices, slice));
    } catch (error) {
      if (isNamespaceTerminating(error)) return;
      throw error;
    }
    for (const slice of plan.delete) await remove(key, slice);
  }

  return queueController(context.name, queue, sync, { concurrency: 2 });
}
