// Endpoints of a Service by port, merged over its EndpointSlices.
import type { EndpointSlice, Endpoint as SliceEndpoint } from '#kube/api/generated/discovery-v1.ts';
import type { IpFamily } from './service-port.ts';

/** One address and port behind a Service. */
export interface Endpoint {
  ip: string;
  port: number;
  /** `ip:port`, with brackets around IPv6. */
  address: string;
  isLocal: boolean;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
  zoneHints: readonly string[];
  nodeHints: readonly string[];
}

export function hostPort(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function computeEndpoint(source: SliceEndpoint, ip: string, port: number, nodeName: string): Endpoint {
  const { conditions, hints } = source;
  const ready = conditions?.ready ?? true;
  return {
    ip,
    port,
    address: hostPort(ip, port),
    isLocal: source.nodeName === nodeName,
    ready,
    serving: conditions?.serving ?? ready,
    terminating: conditions?.terminating ?? false,
    zoneHints: (hints?.forZones ?? []).map((zone) => zone.name),
    nodeHints: (hints?.forNodes ?? []).map((node) => node.name),
  };
}

/**
 * Endpoints of one family by `port name/protocol`, sorted by address. Of duplicates in several slices the
 * best one counts: while a slice is rewritten an endpoint may be in two of them.
 */
export function computeEndpoints(
  slices: readonly EndpointSlice[],
  family: IpFamily,
  nodeName: string,
): Map<string, Endpoint[]> {
  const byPort = new Map<string, Map<string, Endpoint>>();
  for (const slice of slices) {
    if (slice.addressType !== family) continue;
    for (const port of slice.ports ?? []) {
      if (port.port === undefined) continue;
      const key = endpointsKey(port.name ?? '', port.protocol ?? 'TCP');
      const endpoints = byPort.get(key) ?? new Map<string, Endpoint>();
      byPort.set(key, endpoints);
      for (const source of slice.endpoints ?? []) {
        const ip = source.addresses[0];
        if (ip === undefined) continue;
        const endpoint = computeEndpoint(source, ip, port.port, nodeName);
        const other = endpoints.get(endpoint.address);
        if (other === undefined || rank(endpoint) > rank(other)) endpoints.set(endpoint.address, endpoint);
      }
    }
  }
  const sorted = new Map<string, Endpoint[]>();
  for (const [key, endpoints] of byPort) {
    const list = [...endpoints.values()];
    sorted.set(
      key,
      list.sort((a, b) => (a.address < b.address ? -1 : 1)),
    );
  }
  return sorted;
}

export function endpointsKey(portName: string, protocol: string): string {
  return `${portName}/${protocol}`;
}

function rank({ ready, serving }: Endpoint): number {
  return Number(ready) * 2 + Number(serving);
}
