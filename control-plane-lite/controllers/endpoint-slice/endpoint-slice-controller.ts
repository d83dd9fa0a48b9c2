// Keeps the EndpointSlices of services with a selector equal to what their pods are.

import { findCondition } from '#kube/api/conditions.ts';
import type { Pod, Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { endpointslices, services } from '#kube/api/generated/resources.ts';
import { isConflict, isNamespaceTerminating, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { byService } from '../shared-informers.ts';
import { createUnseenWrites } from '../unseen-writes.ts';
import { computeEndpointSlices, managedBy, managedByLabel } from './compute-endpoint-slices.ts';
import { enqueueServices, hasSelector, podsOf } from './selected-pods.ts';

const triggerTimeAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';
const staleDelayMs = 20;
/** Services with several slices have their changes gathered: each change may touch any of the slices. */
const batchMsPerSlice = 50;
const longestBatchMs = 1000;

/** When what the slices show last changed, as far as the objects tell. */
function triggerTime(service: Service, pods: readonly Pod[]): string | undefined {
  const times = pods.map((pod) => findCondition(pod.status?.conditions, 'Ready')?.lastTransitionTime ?? '');
  const latest = [service.metadata.creationTimestamp ?? '', ...times].sort().at(-1);
  return latest === '' ? undefined : latest;
}

/** Waits for its own writes to be seen before it decides again. */
export function createEndpointSliceController(context: ControllerContext): Controller {
  const { informers, client, recorder, clock } = context;
  const queue = createControllerQueue(context);
  const writes = createUnseenWrites(informers.endpointslices, clock);
  enqueueServices(informers, queue, (key) => {
    const slices = informers.endpointslices.byIndex(byService, key).length;
    return slices > 1 ? Math.min(longestBatchMs, slices * batchMsPerSlice) : 0;
  });

  function enqueueOwner({ metadata }: EndpointSlice): void {
    const service = metadata.labels?.['kubernetes.io/service-name'];
    if (metadata.labels?.[managedByLabel] === managedBy && service !== undefined) {
      queue.add(`${metadata.namespace}/${service}`);
    }
  }

  informers.endpointslices.subscribe({
    added: enqueueOwner,
    updated: (_, slice) => enqueueOwner(slice),
    deleted: enqueueOwner,
  });
  informers.nodes.subscribe({
    updated: (previous, node) => {
      const zone = 'topology.kubernetes.io/zone';
      if (previous.metadata.labels?.[zone] === node.metadata.labels?.[zone]) return;
      for (const { metadata } of informers.services.list()) queue.add(`${metadata.namespace}/${metadata.name}`);
    },
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

  async function reconcile(key: string, service: Service, existing: readonly EndpointSlice[]): Promise<void> {
    const pods = podsOf(informers, service);
    const plan = computeEndpointSlices(service, pods, informers.nodes.get, existing);
    const time = triggerTime(service, pods);
    const withTime = <T extends { metadata: EndpointSlice['metadata'] | object }>(slice: T): T => {
      if (time === undefined) return slice;
      const annotations = 'annotations' in slice.metadata ? slice.metadata.annotations : undefined;
      return {
        ...slice,
        metadata: { ...slice.metadata, annotations: { ...annotations, [triggerTimeAnnotation]: time } },
      };
    };
    for (const draft of plan.create) {
      writes.wrote(key, await client.create(endpointslices, service.metadata.namespace, withTime(draft)));
    }
    for (const slice of plan.update) writes.wrote(key, await client.update(endpointslices, withTime(slice)));
    for (const slice of plan.delete) await remove(key, slice);
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    if (writes.isBehind(key)) return { requeueAfterMs: staleDelayMs };
    const service = informers.services.get(key);
    const existing = informers.endpointslices
      .byIndex(byService, key)
      .filter(
        ({ metadata }) => metadata.labels?.[managedByLabel] === managedBy && metadata.deletionTimestamp === undefined,
      );
    if (service === undefined || service.metadata.deletionTimestamp !== undefined) {
      // The garbage collector follows the owner references; being early saves the proxies work.
      for (const slice of existing) await remove(key, slice);
      return;
    }
    if (!hasSelector(service)) return;
    try {
      await reconcile(key, service, existing);
    } catch (error) {
      if (isNamespaceTerminating(error)) return;
      if (!isConflict(error)) {
        const message = `Error updating Endpoint Slices for Service ${key}: ${(error as Error).message}`;
        recorder.event(referenceTo(services, service), 'Warning', 'FailedToUpdateEndpointSlices', message);
      }
      throw error;
    }
  }

  return queueController(context.name, queue, sync, { concurrency: 5 });
}
