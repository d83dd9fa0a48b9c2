// Makes ServiceCIDR objects ready for use, and holds them back when they are deleted while services have addresses
// that no other range covers. Behaviour: upstream's service-cidr-controller.
import type { IPAddress, ServiceCIDR } from '#kube/api/generated/networking-v1.ts';
import { servicecidrs } from '#kube/api/generated/resources.ts';
import { formatTime } from '#kube/api/time.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { canRemoveRange, isOfAllocator, overlapping, rangeContains } from '../../registry/allocation/service-ranges.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';

const finalizer = 'networking.k8s.io/service-cidr-finalizer';
/** Time for every API server on the store to hear of a deletion and to take no more addresses. */
const deletionGraceMs = 10_000;

const ready = { type: 'Ready', status: 'True', reason: '', message: 'Kubernetes Service CIDR is ready' };
const inUse = {
  type: 'Ready',
  status: 'False',
  reason: 'Terminating',
  message: 'There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR',
};

export function createServiceCidrController(context: ControllerContext): Controller {
  const { informers, client, clock } = context;
  const queue = createControllerQueue(context);
  const addRelated = (cidr: ServiceCIDR): void => {
    queue.add(cidr.metadata.name);
    for (const name of overlapping(cidr, informers.servicecidrs.list())) queue.add(name);
  };
  const addContaining = (address: IPAddress): void => {
    if (!isOfAllocator(address)) return;
    for (const { metadata, spec } of informers.servicecidrs.list()) {
      const isEnding = metadata.deletionTimestamp !== undefined;
      if (isEnding && (spec.cidrs ?? []).some((range) => rangeContains(range, address.metadata.name))) {
        queue.add(metadata.name);
      }
    }
  };
  informers.servicecidrs.subscribe({
    added: addRelated,
    updated: (_, cidr) => queue.add(cidr.metadata.name),
    deleted: addRelated,
  });
  informers.ipaddresses.subscribe({ added: addContaining, deleted: addContaining });

  async function setCondition(cidr: ServiceCIDR, wanted: typeof ready): Promise<void> {
    const { conditions = [] } = cidr.status ?? {};
    const current = conditions.find(({ type }) => type === wanted.type);
    if (current?.status === wanted.status && current.reason === wanted.reason && current.message === wanted.message) {
      return;
    }
    const changed = current?.status !== wanted.status;
    const lastTransitionTime = changed ? formatTime(clock.now()) : current.lastTransitionTime;
    const others = conditions.filter(({ type }) => type !== wanted.type);
    const status = { conditions: [...others, { ...wanted, lastTransitionTime }] };
    await client.patch(servicecidrs, { name: cidr.metadata.name }, 'merge', { status }, { subresource: 'status' });
  }

  async function setFinalizers(cidr: ServiceCIDR, finalizers: string[]): Promise<void> {
    const { name, resourceVersion } = cidr.metadata;
    await client.patch(servicecidrs, { name }, 'merge', { metadata: { finalizers, resourceVersion } });
  }

  async function sync(name: string): Promise<void | { requeueAfterMs: number }> {
    const cidr = informers.servicecidrs.get(name);
    if (cidr === undefined) return;
    const { deletionTimestamp, finalizers = [] } = cidr.metadata;
    try {
      if (deletionTimestamp === undefined) {
        if (!finalizers.includes(finalizer)) await setFinalizers(cidr, [...finalizers, finalizer]);
        await setCondition(cidr, ready);
        return;
      }
      if (!finalizers.includes(finalizer)) return;
      if (!canRemoveRange(cidr, informers.servicecidrs.list(), informers.ipaddresses.list())) {
        await setCondition(cidr, inUse);
        return;
      }
      const leftMs = Date.parse(deletionTimestamp) + deletionGraceMs - clock.now();
      if (leftMs > 0) return { requeueAfterMs: leftMs };
      await setFinalizers(
        cidr,
        finalizers.filter((each) => each !== finalizer),
      );
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  return queueController(context.name, queue, sync, { concurrency: 1 });
}
