// What the pod network takes from a Node: its pod ranges and addresses, checked, because they become arguments.
import { isIP } from 'node:net';
import type { Node } from '#kube/api/generated/core-v1.ts';
import { canonicalAddress, isCidr } from '#kube/api/ip-address.ts';
import { networkOf } from '../model/cidr.ts';
import type { IpFamily } from '../model/service-port.ts';

export interface NetworkNode {
  name: string;
  /** As the kernel writes them. */
  podCIDRs: string[];
  /** Internal addresses, the primary one first. */
  addresses: string[];
}

/** The family of an address or a range. */
export function familyOf(text: string): IpFamily {
  return isIP(text.split('/')[0] ?? '') === 6 ? 'IPv6' : 'IPv4';
}

/** The node as the network sees it; what is no range or no address is left out. */
export function networkNodeOf(node: Node): NetworkNode {
  const ranges = node.spec?.podCIDRs ?? (node.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]);
  const addresses = (node.status?.addresses ?? []).filter(({ type }) => type === 'InternalIP');
  return {
    name: node.metadata.name,
    podCIDRs: ranges.filter(isCidr).map(networkOf),
    addresses: addresses
      .map(({ address }) => address)
      .filter((address) => isIP(address) !== 0)
      .map(canonicalAddress),
  };
}

/** What is stored of Nodes: thousands of them are watched for three fields. */
export function trimNode(node: Node): Node {
  const { name, uid, resourceVersion } = node.metadata;
  const spec = { podCIDR: node.spec?.podCIDR, podCIDRs: node.spec?.podCIDRs };
  const metadata = { name, uid, resourceVersion };
  return { apiVersion: 'v1', kind: 'Node', metadata, spec, status: { addresses: node.status?.addresses } };
}
