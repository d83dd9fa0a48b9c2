// Keeps the Endpoints objects of services with a selector, for clients that do not know EndpointSlices.
import type { Endpoints, Service } from '#kube/api/generated/core-v1.ts';
import { endpoints } from '#kube/api/generated/resources.ts';
import { isAlreadyExists, isConflict, isNamespaceTerminating, isNotFound } from '#kube/errors/status-error.ts';
import {
  type Controller,
  type ControllerContext,
  createControllerQueue,
  queueController,
  splitKey,
} from '../controller.ts';
import { enqueueServices, hasSelector, podsOf } from '../endpoint-slice/selected-pods.ts';
import { isHeadless } from '../endpoint-slice/service-ports.ts';
import { sameJson } from '../same-json.ts';
import { computeSubsets } from './compute-endpoints.ts';

/** Objects with more addresses have their changes gathered: each write of them is a long one. */
const smallAddresses = 100;
const batchMs = 1000;

function sizeOf(object: Endpoints | undefined): number {
  return (object?.subsets ?? []).reduce(
    (sum, { addresses, notReadyAddresses }) => sum + (addresses?.length ?? 0) + (notReadyAddresses?.length ?? 0),
    0,
  );
}

const overCapacityAnnotation = 'endpoints.kubernetes.io/over-capacity';

function labelsOf(service: Service): Record<string, string> {
  return {
    ...service.metadata.labels,
    ...(isHeadless(service) ? { 'service.kubernetes.io/headless': '' } : {}),
    'endpoints.kubernetes.io/managed-by': 'endpoint-controller',
  };
}

/** Writes one Endpoints object per service, and only when it changes. */
export function createEndpointsController(context: ControllerContext): Controller {
  const { informers, client } = context;
  const queue = createControllerQueue(context);
  enqueueServices(informers, queue, (key) => (sizeOf(informers.endpoints.get(key)) > smallAddresses ? batchMs : 0));
  informers.endpoints.subscribe({ deleted: ({ metadata }) => queue.add(`${metadata.namespace}/${metadata.name}`) });

  async function removeFor(key: string): Promise<void> {
    if (informers.endpoints.get(key)?.metadata.labels?.['endpoints.kubernetes.io/managed-by'] === undefined) return;
    try {
      await client.delete(endpoints, splitKey(key));
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async function write(key: string, service: Service): Promise<void> {
    const { subsets, truncated } = computeSubsets(service, podsOf(informers, service));
    const existing = informers.endpoints.get(key);
    const labels = labelsOf(service);
    const { [overCapacityAnnotation]: _, ...others } = existing?.metadata.annotations ?? {};
    const annotations = truncated ? { ...others, [overCapacityAnnotation]: 'truncated' } : others;
    if (existing === undefined) {
      const { namespace, name } = service.metadata;
      await client.create(endpoints, namespace, { metadata: { name, namespace, labels, annotations }, subsets });
      return;
    }
    const same =
      sameJson(existing.subsets ?? [], subsets) &&
      sameJson(existing.metadata.labels ?? {}, labels) &&
      sameJson(existing.metadata.annotations ?? {}, annotations);
    if (!same)
      await client.update(endpoints, { ...existing, metadata: { ...existing.metadata, labels, annotations }, subsets });
  }

  async function sync(key: string): Promise<void> {
    const service = informers.services.get(key);
    if (service === undefined || service.metadata.deletionTimestamp !== undefined) {
      await removeFor(key);
      return;
    }
    if (!hasSelector(service)) return;
    try {
      await write(key, service);
    } catch (error) {
      if (isNamespaceTerminating(error)) return;
      if (isAlreadyExists(error) || isConflict(error)) {
        queue.addAfter(key, 20);
        return;
      }
      throw error;
    }
  }

  return queueController(context.name, queue, sync, { concurrency: 5 });
}
