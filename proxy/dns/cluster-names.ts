// The names of the cluster as the proxy's informers know them.
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { canonicalAddress } from '#kube/api/ip-address.ts';
import type { Informer } from '#kube/informer/types.ts';
import { slicesByService } from '../track/service-tracker.ts';
import { namedHosts, slicesByHost } from './named-hosts.ts';
import type { ClusterNames } from './resolve-name.ts';

export const servicesByIP = 'clusterIP';

/** The index keys of a Service. */
export const clusterAddresses = ({ spec }: Service): string[] => (spec.clusterIPs ?? []).map(canonicalAddress);

/** Reads from the informers, which have the indexes named here, and counts their changes. */
export function createClusterNames(services: Informer<Service>, slices: Informer<EndpointSlice>): ClusterNames {
  let generation = 0;
  const changed = (): void => {
    generation += 1;
  };
  const handlers = { added: changed, updated: changed, deleted: changed };
  services.subscribe(handlers);
  slices.subscribe(handlers);
  return {
    service: (key) => services.get(key),
    slices: (key) => slices.byIndex(slicesByService, key),
    serviceByIP: (ip) => services.byIndex(servicesByIP, ip)[0],
    hostsByIP: (ip) => namedHosts(slices.byIndex(slicesByHost, ip), ip),
    hasServices: (namespace) => services.byNamespace(namespace).length > 0,
    generation: () => generation,
  };
}
