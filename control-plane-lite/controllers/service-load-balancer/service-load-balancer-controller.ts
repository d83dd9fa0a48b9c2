// Gives services of type LoadBalancer addresses of a pool, on machines where no cloud does. Opt-in. One worker: two
// services never compete for an address. How packets for the address come to a node is the network's business.
import type { Service } from '#kube/api/generated/core-v1.ts';
import { services } from '#kube/api/generated/resources.ts';
import { objectKey } from '#kube/api/resource.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { createFreshest } from '../freshest.ts';
import { sameJson } from '../same-json.ts';
import { type AddressRange, rangesContain } from './address-ranges.ts';
import { addressesNow, isOurs, planAddresses, wantsAddress } from './plan-addresses.ts';

/** Upstream's: the address is given back before the service goes. */
const cleanupFinalizer = 'service.kubernetes.io/load-balancer-cleanup';
/** A service that got nothing is also looked at when another one gives an address back. */
const refusedRetryMs = 60_000;

export function createServiceLoadBalancerController(
  context: ControllerContext,
  ranges: readonly AddressRange[],
): Controller {
  const { informers, client, recorder, logger } = context;
  const queue = createControllerQueue(context);
  const freshest = createFreshest(informers.services);
  /** Services that wait for an address. */
  const waiting = new Set<string>();

  const retryWaiting = () => {
    for (const key of waiting) queue.add(key);
  };
  informers.services.subscribe({
    added: (service) => queue.add(objectKey(service)),
    updated: (_, service) => queue.add(objectKey(service)),
    deleted: (service) => {
      waiting.delete(objectKey(service));
      if (addressesNow(service).length > 0) retryWaiting();
    },
  });

  /** Addresses in use; of two services that claim one address without sharing it the older has it. */
  function currentUse(): Map<string, Service[]> {
    const use = new Map<string, Service[]>();
    const known = informers.services.list().map((service) => freshest.get(objectKey(service)) ?? service);
    for (const service of known) {
      if (service.spec?.type !== 'LoadBalancer') continue;
      for (const address of addressesNow(service)) use.set(address, [...(use.get(address) ?? []), service]);
    }
    return use;
  }

  async function write(service: Service, finalizers: readonly string[], addresses: readonly string[]): Promise<void> {
    const ingress = addresses.map((ip) => ({ ip, ipMode: 'VIP' }));
    const patch = {
      metadata: { resourceVersion: service.metadata.resourceVersion, finalizers },
      status: { loadBalancer: { ingress: ingress.length === 0 ? null : ingress } },
    };
    const { namespace, name } = service.metadata;
    freshest.wrote(await client.patch(services, { namespace, name }, 'merge', patch, { subresource: 'status' }));
  }

  async function release(service: Service): Promise<void> {
    const finalizers = service.metadata.finalizers ?? [];
    if (!finalizers.includes(cleanupFinalizer)) return;
    const reference = referenceTo(services, service);
    recorder.event(reference, 'Normal', 'DeletingLoadBalancer', 'Deleting load balancer');
    const kept = addressesNow(service).filter((address) => !rangesContain(ranges, address));
    await write(
      service,
      finalizers.filter((name) => name !== cleanupFinalizer),
      kept,
    );
    recorder.event(reference, 'Normal', 'DeletedLoadBalancer', 'Deleted load balancer');
    retryWaiting();
  }

  async function assign(key: string, service: Service): Promise<void | { requeueAfterMs: number }> {
    const reference = referenceTo(services, service);
    const plan = planAddresses(service, ranges, currentUse());
    const finalizers = service.metadata.finalizers ?? [];
    if ('refusal' in plan) {
      waiting.add(key);
      const message = `Error syncing load balancer: failed to ensure load balancer: ${plan.refusal}`;
      recorder.event(reference, 'Warning', 'SyncLoadBalancerFailed', message);
      logger.warn({ service: key }, plan.refusal);
      // What cannot be kept is not shown any longer.
      if (addressesNow(service).some((address) => rangesContain(ranges, address))) await write(service, finalizers, []);
      return { requeueAfterMs: refusedRetryMs };
    }
    waiting.delete(key);
    const before = addressesNow(service);
    const wanted = finalizers.includes(cleanupFinalizer) ? finalizers : [...finalizers, cleanupFinalizer];
    if (sameJson(before, plan.addresses) && wanted === finalizers) return;
    recorder.event(reference, 'Normal', 'EnsuringLoadBalancer', 'Ensuring load balancer');
    await write(service, wanted, plan.addresses);
    recorder.event(reference, 'Normal', 'EnsuredLoadBalancer', 'Ensured load balancer');
    if (before.some((address) => !plan.addresses.includes(address))) retryWaiting();
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const service = freshest.get(key);
    if (service === undefined) return;
    try {
      if (wantsAddress(service)) return await assign(key, service);
      waiting.delete(key);
      if (isOurs(service)) await release(service);
    } catch (error) {
      if (isNotFound(error)) return;
      if (isConflict(error)) return { requeueAfterMs: 50 };
      throw error;
    }
  }

  return queueController(context.name, queue, sync, { concurrency: 1 });
}
