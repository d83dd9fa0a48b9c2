// Endpoints by address: what the reverse zones say of headless services.
import type { Endpoint, EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { canonicalAddress } from '#kube/api/ip-address.ts';
import { serviceKeyOf } from '../track/service-tracker.ts';

export const slicesByHost = 'host';

export const isReady = ({ conditions }: Endpoint): boolean => conditions?.ready ?? true;

/** The label under which one endpoint of a headless service is found: its hostname, or its address. */
export function endpointLabel(endpoint: Endpoint, address: string): string {
  return endpoint.hostname ?? address.replaceAll(/[.:]/g, '-');
}

/** The index keys of a slice: addresses of its ready endpoints. */
export function namedAddresses({ endpoints }: EndpointSlice): string[] {
  return (endpoints ?? []).filter(isReady).flatMap(({ addresses }) => addresses.map(canonicalAddress));
}

/** The names that an address has in some slices. */
export function namedHosts(slices: readonly EndpointSlice[], ip: string): { hostname: string; serviceKey: string }[] {
  return slices.flatMap((slice) => {
    const [serviceKey] = serviceKeyOf(slice);
    if (serviceKey === undefined) return [];
    return (slice.endpoints ?? [])
      .filter(isReady)
      .flatMap((endpoint) =>
        endpoint.addresses
          .filter((address) => canonicalAddress(address) === ip)
          .map((address) => ({ hostname: endpointLabel(endpoint, address), serviceKey })),
      );
  });
}
