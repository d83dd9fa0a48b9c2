// Endpoints that have a hostname, by address: what the reverse zones say of headless services.
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { serviceKeyOf } from '../track/service-tracker.ts';

export const slicesByHost = 'host';

/** The index keys of a slice: addresses of its endpoints with a hostname. */
export function namedAddresses({ endpoints = [] }: EndpointSlice): string[] {
  return endpoints.filter(({ hostname }) => hostname !== undefined).flatMap(({ addresses }) => addresses);
}

/** The names that an address has in some slices. */
export function namedHosts(slices: readonly EndpointSlice[], ip: string): { hostname: string; serviceKey: string }[] {
  return slices.flatMap((slice) => {
    const [serviceKey] = serviceKeyOf(slice);
    const own = (slice.endpoints ?? []).filter(({ addresses }) => addresses.includes(ip));
    return own.flatMap(({ hostname }) =>
      hostname === undefined || serviceKey === undefined ? [] : [{ hostname, serviceKey }],
    );
  });
}
