// Which connection tracking entries of UDP services are stale after a change. TCP needs none of this:
// its peers notice. Flows to endpoints that still answer are never named, also where new ones go elsewhere.
import { canonicalAddress } from '#kube/api/ip-address.ts';
import type { PortState } from '../model/service-state.ts';

/** Entries to delete, by original destination and, where given, by the endpoint they were sent to. */
export interface ConntrackDeletion {
  family: 'IPv4' | 'IPv6';
  /** Address the client used; absent for node ports, which are reached under any address. */
  originalDestination?: string;
  destinationPort: number;
  /** Absent: entries that were sent nowhere, made while the service had no endpoints. */
  endpointIP?: string;
}

/** The addresses and ports under which a service port is reached. */
function frontends({ port }: PortState): { address: string | undefined; port: number }[] {
  const addresses = [port.clusterIP, ...port.externalIPs, ...port.loadBalancerVIPs];
  const byAddress = addresses.map((address) => ({ address: address as string | undefined, port: port.port }));
  return port.nodePort === 0 ? byAddress : [...byAddress, { address: undefined, port: port.nodePort }];
}

/** Compares a service port before and after a change. */
export function planConntrackCleanup(before: PortState | undefined, after: PortState | undefined): ConntrackDeletion[] {
  const state = after ?? before;
  if (state === undefined || state.port.protocol !== 'UDP') return [];
  const { family } = state.port;
  const kept = new Set(after?.endpoints.serving ?? []);
  const deletions: ConntrackDeletion[] = [];
  const add = (from: PortState, endpointIP?: string): void => {
    for (const { address, port } of frontends(from)) {
      deletions.push({
        family,
        destinationPort: port,
        ...(address === undefined ? {} : { originalDestination: address }),
        ...(endpointIP === undefined ? {} : { endpointIP }),
      });
    }
  };
  if (before !== undefined) {
    for (const ip of before.endpoints.serving) if (!kept.has(ip)) add(before, ip);
  }
  // Flows from before there were endpoints were not translated and would stay so.
  const gained = (before?.endpoints.reachable.length ?? 0) === 0 && (after?.endpoints.reachable.length ?? 0) > 0;
  if (gained && after !== undefined) add(after);
  return deletions;
}

/** A flow that the kernel knows: what the client asked for, and who answers. */
export interface Flow {
  destination: string;
  port: number;
  answeredFrom: string;
}

/**
 * Flows of UDP services that go where no endpoint is: what a proxy finds that was away while endpoints changed.
 * `nodeAddresses` are those that take node ports; flows to others that only have the same port are not the node's.
 */
export function planStaleFlows(
  flows: readonly Flow[],
  ports: Iterable<PortState>,
  nodeAddresses: ReadonlySet<string>,
): ConntrackDeletion[] {
  const owners = new Map<string, PortState>();
  for (const state of ports) {
    if (state.port.protocol !== 'UDP') continue;
    for (const { address = '', port } of frontends(state)) owners.set(`${canonicalAddress(address)} ${port}`, state);
  }
  const deletions = new Map<string, ConntrackDeletion>();
  for (const { destination, port, answeredFrom } of flows) {
    const owner =
      owners.get(`${destination} ${port}`) ?? (nodeAddresses.has(destination) ? owners.get(` ${port}`) : undefined);
    if (owner === undefined) continue;
    const { reachable, serving } = owner.endpoints;
    if (serving.some((ip) => canonicalAddress(ip) === answeredFrom)) continue;
    const isTranslated = answeredFrom !== destination;
    // Without endpoints nothing is translated: such a flow is as it must be.
    if (!isTranslated && reachable.length === 0) continue;
    deletions.set(`${destination} ${port} ${answeredFrom}`, {
      family: owner.port.family,
      originalDestination: destination,
      destinationPort: port,
      ...(isTranslated ? { endpointIP: answeredFrom } : {}),
    });
  }
  return [...deletions.values()];
}
