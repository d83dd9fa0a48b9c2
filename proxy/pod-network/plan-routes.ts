// How packets reach the pods of other nodes: by a route where both nodes are on one link, through a tunnel elsewhere.
// Pure; every node computes the same facts of its peers from their Node objects.
import { createHash } from 'node:crypto';
import { isInRanges } from '../model/cidr.ts';
import type { IpFamily } from '../model/service-port.ts';
import type { MachineLink } from './machine-links.ts';
import { familyOf, type NetworkNode } from './network-node.ts';

/** The tunnel's device; one per network namespace. */
export const vxlanDevice = 'berth-vxlan';

/** Bytes that a tunnel puts before an Ethernet frame's content, by the family it runs over. */
const overhead: Record<IpFamily, number> = { IPv4: 50, IPv6: 70 };
const defaultMtu = 1500;

export interface PodRoute {
  destination: string;
  via: string;
  device: string;
  /** The gateway is reached although no address of the device says so. */
  onlink: boolean;
}

/** The device that tunnels to nodes elsewhere, with all that it must know of them. */
export interface VxlanPlan {
  mac: string;
  /** The end of the tunnel on this machine. */
  local: string;
  mtu: number;
  /** What this node is for pods elsewhere. */
  addresses: string[];
  peers: { mac: string; remote: string; gateways: string[] }[];
}

export interface RoutesPlan {
  routes: PodRoute[];
  vxlan: VxlanPlan | undefined;
  /** For pods. */
  mtu: number;
}

export interface RoutesPlanOptions {
  own: NetworkNode;
  others: readonly NetworkNode[];
  links: readonly MachineLink[];
  /** Interfaces on which no other node can be: those of pods. */
  podDevices: readonly string[];
  /** As configured. */
  mtu: number | undefined;
}

/** A node's address in tunnels: made from its name, so that nobody has to tell it. */
export function vxlanMac(nodeName: string): string {
  const bytes = createHash('sha256').update(nodeName).digest().subarray(0, 5);
  return ['02', ...[...bytes].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** The first address of a range: no pod gets it. */
function networkAddress(cidr: string): string {
  return cidr.split('/')[0] ?? '';
}

/** What to route to the pods of `others`. Pod ranges that overlap this node's own are never routed away. */
export function planRoutes({ own, others, links, podDevices, mtu }: RoutesPlanOptions): RoutesPlan {
  const usable = links.filter(({ name }) => !podDevices.includes(name) && name !== vxlanDevice);
  const ownAddresses = usable.flatMap(({ addresses }) => addresses.map(({ address }) => address));
  const local = own.addresses[0];
  const underlay = local === undefined ? 'IPv4' : familyOf(local);
  const uplink = usable.find(({ addresses }) => addresses.some(({ address }) => address === local));
  const linkMtu = uplink?.mtu ?? defaultMtu;

  /** The link that both nodes' addresses are on. One that only this node has would not be seen from the other side. */
  const linkTo = (address: string): MachineLink | undefined => {
    const near = own.addresses.find((candidate) => familyOf(candidate) === familyOf(address));
    return usable.find(({ addresses }) =>
      addresses.some(
        ({ address: here, prefixLength }) => here === near && isInRanges(address, [`${here}/${prefixLength}`]),
      ),
    );
  };

  const routes: PodRoute[] = [];
  const peers: VxlanPlan['peers'] = [];
  const taken = new Set(own.podCIDRs);
  for (const node of [...others].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (node.name === own.name || node.addresses.some((address) => ownAddresses.includes(address))) continue;
    const remote = node.addresses.find((address) => familyOf(address) === underlay);
    const gateways: string[] = [];
    for (const destination of node.podCIDRs) {
      if (taken.has(destination)) continue;
      taken.add(destination);
      const address = node.addresses.find((candidate) => familyOf(candidate) === familyOf(destination));
      const link = address === undefined ? undefined : linkTo(address);
      if (address !== undefined && link !== undefined) {
        routes.push({ destination, via: address, device: link.name, onlink: false });
      } else if (remote !== undefined && local !== undefined) {
        const via = networkAddress(destination);
        routes.push({ destination, via, device: vxlanDevice, onlink: true });
        gateways.push(via);
      }
    }
    if (gateways.length > 0 && remote !== undefined) peers.push({ mac: vxlanMac(node.name), remote, gateways });
  }
  const tunnelMtu = linkMtu - overhead[underlay];
  const vxlan =
    peers.length === 0 || local === undefined
      ? undefined
      : { mac: vxlanMac(own.name), local, mtu: tunnelMtu, addresses: own.podCIDRs.map(networkAddress), peers };
  return { routes, vxlan, mtu: mtu ?? (vxlan === undefined ? linkMtu : tunnelMtu) };
}
