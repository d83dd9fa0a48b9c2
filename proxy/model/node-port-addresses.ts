// Which addresses of this node take node ports (KubeProxyConfiguration.nodePortAddresses).
import { isInRanges } from './cidr.ts';
import { type IpFamily, isOfFamily } from './service-port.ts';

/** Addresses that take node ports, or all addresses of this node. */
export type NodePortAddresses = readonly string[] | 'all';

export interface LocalAddresses {
  /** Addresses by which the cluster knows this node. */
  nodeIPs: readonly string[];
  /** Addresses of all its interfaces. */
  interfaces: readonly string[];
}

/**
 * `primary` stands for the addresses by which the cluster knows the node. A family that is not mentioned takes node
 * ports on all addresses; one whose ranges hold no address of this node takes none.
 */
export function computeNodePortAddresses(
  configured: readonly string[],
  family: IpFamily,
  { nodeIPs, interfaces }: LocalAddresses,
): NodePortAddresses {
  const ranges = configured.filter((range) => range !== 'primary' && isOfFamily(range, family));
  const primary = configured.includes('primary') ? nodeIPs.filter((ip) => isOfFamily(ip, family)).slice(0, 1) : [];
  if (ranges.length + primary.length === 0 || ranges.some((range) => range.endsWith('/0'))) return 'all';
  const reached = interfaces.filter((ip) => isOfFamily(ip, family) && isInRanges(ip, ranges));
  return [...new Set([...primary, ...reached])];
}

/** Where a server listens that answers on the addresses which take node ports. */
export function computeListenAddresses(
  configured: readonly string[],
  families: readonly IpFamily[],
  local: LocalAddresses,
): string[] {
  const hosts = families.flatMap((family) => {
    const addresses = computeNodePortAddresses(configured, family, local);
    return addresses === 'all' ? [family === 'IPv6' ? '::' : '0.0.0.0'] : addresses;
  });
  // The IPv6 wildcard takes IPv4, too.
  return hosts.includes('::') ? hosts.filter((host) => host.includes(':')) : hosts;
}
