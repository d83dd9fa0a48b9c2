// Lets the pools of cluster IPs follow ServiceCIDR objects, and IPAddress objects that are not of services.
import type { IPAddress, ServiceCIDR } from '#kube/api/generated/networking-v1.ts';
import { ipaddresses, servicecidrs } from '#kube/api/generated/resources.ts';
import type { Resource } from '#kube/api/resource.ts';
import type { ChangeListener } from '../../storage/cache/watch-cache.ts';
import { type ObjectReader, parseEntry } from '../object-reader.ts';
import type { AddressPool } from './address-pool.ts';
import { isOfAllocator, selectRanges } from './service-ranges.ts';

export interface ServiceRangeSource {
  objects: ObjectReader;
  /** Tells of changes before `objects` shows them. */
  onChange(resource: Resource, listener: ChangeListener): void;
}

/** Follows what is stored already, and every change from now on. */
export function followServiceRanges(pools: readonly AddressPool[], { objects, onChange }: ServiceRangeSource): void {
  const cidrs = new Map(objects.list(servicecidrs).map((cidr) => [cidr.metadata.name, cidr]));
  const own = pools.map(({ cidr }) => cidr);
  const setRanges = (): void => {
    const ranges = selectRanges(own, [...cidrs.values()]);
    for (const pool of pools) pool.setRanges(ranges);
  };
  onChange(servicecidrs, ({ type, entry }) => {
    const cidr = parseEntry(entry) as ServiceCIDR;
    if (type === 'put') cidrs.set(cidr.metadata.name, cidr);
    else cidrs.delete(cidr.metadata.name);
    setRanges();
  });
  setRanges();
  const note = (isThere: boolean, address: IPAddress): void => {
    const isForeign = isThere && !isOfAllocator(address);
    for (const pool of pools) {
      if (isForeign) pool.reserve(address.metadata.name);
      else pool.unreserve(address.metadata.name);
    }
  };
  onChange(ipaddresses, ({ type, entry }) => note(type === 'put', parseEntry(entry) as IPAddress));
  for (const address of objects.list(ipaddresses)) note(true, address);
}
