// What load balancers are told of a service with a health check port.
import type { PortState } from './service-state.ts';

/** Port and count of ready endpoints on this node; undefined for a service without a health check port. */
export function computeServiceHealth(
  states: Iterable<PortState>,
): { port: number; localEndpoints: number } | undefined {
  let port = 0;
  const addresses = new Set<string>();
  for (const state of states) {
    port ||= state.port.healthCheckNodePort;
    for (const endpoint of state.endpoints.local) if (endpoint.ready) addresses.add(endpoint.ip);
  }
  return port === 0 ? undefined : { port, localEndpoints: addresses.size };
}
