// Devices as the pod resources API lists them: for each resource and NUMA node the ids. Pure.
import type { ContainerDevices } from '#proto/generated/podresources/v1/ContainerDevices.ts';
import type { DynamicResource } from '#proto/generated/podresources/v1/DynamicResource.ts';
import type { DeviceEntry } from '../device-plugin/device-checkpoint.ts';
import type { DeviceFacts } from '../device-plugin/select-devices.ts';
import type { ClaimInfo } from '../dra/claim-store.ts';

function topology(nodes: readonly number[]): Pick<ContainerDevices, 'topology'> {
  return nodes.length === 0 ? {} : { topology: { nodes: nodes.map((ID) => ({ ID })) } };
}

/** Devices that a container has. */
export function describeEntries(entries: readonly DeviceEntry[]): ContainerDevices[] {
  return entries.flatMap(({ resource, ids }) =>
    [...ids].map(([node, deviceIds]) => ({
      resourceName: resource,
      deviceIds: [...deviceIds],
      ...topology(node < 0 ? [] : [node]),
    })),
  );
}

/** Healthy devices of the node. */
export function describeDevices(resource: string, devices: ReadonlyMap<string, DeviceFacts>): ContainerDevices[] {
  return [...devices.values()]
    .filter(({ healthy }) => healthy)
    .map(({ id, nodes }) => ({ resourceName: resource, deviceIds: [id], ...topology(nodes) }));
}

/** A claim that a container uses. */
export function describeClaim({ ClaimName, Namespace, DriverState }: ClaimInfo): DynamicResource {
  return {
    claimName: ClaimName,
    claimNamespace: Namespace,
    claimResources: Object.entries(DriverState).flatMap(([driverName, { Devices }]) =>
      Devices.map(({ PoolName, DeviceName, CDIDeviceIDs, ShareID }) => ({
        cdiDevices: CDIDeviceIDs.map((name) => ({ name })),
        driverName,
        poolName: PoolName,
        deviceName: DeviceName,
        ...(ShareID === undefined ? {} : { shareId: ShareID }),
      })),
    ),
  };
}
