// Writes into claims what they were given and for which pod, before that pod is bound.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { AllocationResult, DeviceClass, ResourceClaim, ResourceSlice } from '#kube/api/generated/resource-v1.ts';
import { resourceclaims } from '#kube/api/generated/resources.ts';
import { objectKey } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { DeviceView, DeviceWork } from './plan-devices.ts';

/** Keeps a claim that is allocated. */
const allocationFinalizer = 'resource.kubernetes.io/delete-protection';

/** Informers of everything that decides about devices. */
export interface DeviceInformers {
  resourceclaims: Informer<ResourceClaim>;
  deviceclasses: Informer<DeviceClass>;
  resourceslices: Informer<ResourceSlice>;
}

export interface DeviceBinder {
  readonly view: DeviceView;
  /** Whether something has to be written for the pod. */
  isNeeded(work: readonly DeviceWork[], pod: Pod): boolean;
  /** Takes the devices, before anything is written. */
  assume(work: readonly DeviceWork[]): void;
  /** Throws when a claim could not be written; what was not written is free again. */
  bind(work: readonly DeviceWork[], pod: Pod, signal: AbortSignal): Promise<void>;
}

/** Creates the binder; it listens from now on. `changed`: something that may help waiting pods. */
export function createDeviceBinder(client: ApiClient, informers: DeviceInformers, changed: () => void): DeviceBinder {
  const given = new Map<string, AllocationResult>();
  informers.resourceclaims.subscribe({
    added: changed,
    updated: (_, claim) => {
      if (claim.status?.allocation !== undefined) given.delete(objectKey(claim));
      changed();
    },
    deleted: (claim) => {
      given.delete(objectKey(claim));
      changed();
    },
  });
  for (const informer of [informers.deviceclasses, informers.resourceslices]) {
    informer.subscribe({ added: changed, updated: changed, deleted: changed });
  }

  const isReserved = ({ status }: ResourceClaim, { metadata }: Pod) =>
    (status?.reservedFor ?? []).some(({ uid }) => uid === metadata.uid);

  async function write({ claim, allocation }: DeviceWork, pod: Pod, signal: AbortSignal): Promise<void> {
    let current = informers.resourceclaims.get(objectKey(claim)) ?? claim;
    const finalizers = current.metadata.finalizers ?? [];
    if (allocation !== undefined && !finalizers.includes(allocationFinalizer)) {
      const metadata = { ...current.metadata, finalizers: [...finalizers, allocationFinalizer] };
      current = await client.update(resourceclaims, { ...current, metadata }, { signal });
    }
    const { name, uid = '' } = pod.metadata;
    const reservedFor = isReserved(current, pod)
      ? (current.status?.reservedFor ?? [])
      : [...(current.status?.reservedFor ?? []), { resource: 'pods', name, uid }];
    const status = { ...current.status, ...(allocation === undefined ? {} : { allocation }), reservedFor };
    await client.updateSubresource(resourceclaims, { ...current, status }, 'status', { signal });
  }

  return {
    view: {
      claims: informers.resourceclaims,
      classes: informers.deviceclasses,
      slices: informers.resourceslices,
      given,
    },
    isNeeded: (work, pod) => work.some(({ claim, allocation }) => allocation !== undefined || !isReserved(claim, pod)),
    assume(work) {
      for (const { claim, allocation } of work) if (allocation !== undefined) given.set(objectKey(claim), allocation);
    },
    async bind(work, pod, signal) {
      try {
        for (const each of work) {
          if (each.allocation !== undefined || !isReserved(each.claim, pod)) await write(each, pod, signal);
        }
      } catch (error) {
        for (const { claim, allocation } of work) if (allocation !== undefined) given.delete(objectKey(claim));
        throw error;
      }
    },
  };
}
