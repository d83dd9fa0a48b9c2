// What one Service means in one family at one moment: its ports with the endpoints traffic may reach.
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { computeEndpoints, endpointsKey } from './endpoint.ts';
import { type NodeTopology, type SelectedEndpoints, selectEndpoints } from './select-endpoints.ts';
import { computeServicePorts, type IpFamily, type ServicePort } from './service-port.ts';

export interface PortState {
  port: ServicePort;
  endpoints: SelectedEndpoints;
}

/** The state of a Service by port; empty for one that is gone or ignored. */
export function computeServiceState(
  service: Service | undefined,
  slices: readonly EndpointSlice[],
  family: IpFamily,
  node: NodeTopology,
): Map<string, PortState> {
  const states = new Map<string, PortState>();
  if (service === undefined) return states;
  const ports = computeServicePorts(service, family);
  if (ports.length === 0) return states;
  const endpoints = computeEndpoints(slices, family, node.nodeName);
  for (const port of ports) {
    const all = endpoints.get(endpointsKey(port.portName, port.protocol)) ?? [];
    states.set(`${port.name}/${port.protocol}`, { port, endpoints: selectEndpoints(port, all, node) });
  }
  return states;
}
