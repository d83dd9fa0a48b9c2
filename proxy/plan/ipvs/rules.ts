// What mode ipvs has in the kernel, as data: virtual servers with their real ones, entries of IP sets, addresses on
// the dummy interface. Written as ipvsadm, ipset and ip print them, so that desired and actual can be compared.
import type { Protocol } from '../../model/service-port.ts';
import type { ClaimTraits } from '../claim-ledger.ts';
import type { IpSetName } from './ip-sets.ts';

export const dummyInterface = 'kube-ipvs0';

export interface VirtualServer {
  kind: 'server';
  /** As ipvsadm takes it: `-t 10.96.0.1:80`. */
  service: string;
  /** Scheduler, persistence, flags. */
  options: string;
  /** Weights by `ip:port`. */
  realServers: ReadonlyMap<string, number>;
}

export interface SetEntry {
  kind: 'entry';
  set: IpSetName;
  entry: string;
}

/** An address that makes the node take packets for a service. */
export interface BoundAddress {
  kind: 'address';
  address: string;
}

export type IpvsItem = VirtualServer | SetEntry | BoundAddress;

/** What one service port needs. */
export interface ServiceRules {
  owner: string;
  items: IpvsItem[];
}

const protocolFlags: Record<Protocol, string> = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service' };

/** A virtual server as ipvsadm names it. */
export function serviceArgument(protocol: Protocol, address: string): string {
  return `${protocolFlags[protocol]} ${address}`;
}

/** The protocol and the address of a virtual server as ipvsadm names it; undefined for one by firewall mark. */
export function parseServiceArgument(
  service: string,
): { protocol: Protocol; address: string; port: number } | undefined {
  const match = /^(-t|-u|--sctp-service) (?:\[([^\]]+)\]|([\d.]+)):(\d+)$/.exec(service);
  if (match === null) return undefined;
  const protocol = (['TCP', 'UDP', 'SCTP'] as const).find((name) => protocolFlags[name] === match[1]);
  if (protocol === undefined) return undefined;
  return { protocol, address: match[2] ?? match[3] ?? '', port: Number(match[4]) };
}

function sameServers(a: VirtualServer, b: VirtualServer): boolean {
  if (a.options !== b.options || a.realServers.size !== b.realServers.size) return false;
  for (const [address, weight] of a.realServers) if (b.realServers.get(address) !== weight) return false;
  return true;
}

/** By what two ports may want the same thing, and whether they want it alike. */
export const ipvsClaims: ClaimTraits<IpvsItem> = {
  identity: (item) => {
    switch (item.kind) {
      case 'server':
        return item.service;
      case 'entry':
        return `${item.set} ${item.entry}`;
      case 'address':
        return item.address;
      default:
        return item satisfies never;
    }
  },
  isSame: (a, b) => a.kind !== 'server' || b.kind !== 'server' || sameServers(a, b),
};
