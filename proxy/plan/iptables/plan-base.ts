// The chains every node has whatever its services: entry points, marking, masquerading, the canaries.
import type { NodePortAddresses } from '../../model/node-port-addresses.ts';
import type { IpFamily } from '../../model/service-port.ts';
import { type Chains, comment, host, rule, type Table } from './rules.ts';

export interface BasePlanOptions {
  family: IpFamily;
  masqueradeBit: number;
  /** iptables and kernel can randomise source ports fully. */
  randomFully: boolean;
  /** Packets conntrack finds invalid are let through, not dropped. */
  conntrackTcpBeLiberal: boolean;
  /** Node ports answer on loopback addresses, so spoofed loopback traffic must be blocked. */
  localhostNodePorts: boolean;
  nodePortAddresses: NodePortAddresses;
}

/** A jump from one of the kernel's own chains. */
export interface EntryRule {
  table: Table;
  chain: string;
  rule: string;
  /** Before or behind the rules of others. */
  place: 'first' | 'last';
}

export interface BasePlan {
  chains: Record<Table, Chains>;
  entries: EntryRule[];
}

export const canaryChain = 'KUBE-PROXY-CANARY';
/** Chains of the filter and nat tables whose rules come from services. */
export const sharedChains: Record<Table, readonly string[]> = {
  nat: ['KUBE-SERVICES', 'KUBE-NODEPORTS'],
  filter: ['KUBE-SERVICES', 'KUBE-EXTERNAL-SERVICES', 'KUBE-NODEPORTS', 'KUBE-PROXY-FIREWALL'],
  mangle: [],
};

const newConnections = '-m conntrack --ctstate NEW';

function entries(): EntryRule[] {
  const nat = (chain: string, target: string, text: string): EntryRule => {
    return { table: 'nat', chain, rule: `${comment(text)} -j ${target}`, place: 'first' };
  };
  const filter = (chain: string, target: string, text: string, fresh = true): EntryRule => {
    const parts = rule(fresh && newConnections, comment(text), `-j ${target}`);
    return { table: 'filter', chain, rule: parts, place: 'first' };
  };
  return [
    filter('INPUT', 'KUBE-EXTERNAL-SERVICES', 'kubernetes externally-visible service portals'),
    filter('FORWARD', 'KUBE-EXTERNAL-SERVICES', 'kubernetes externally-visible service portals'),
    filter('INPUT', 'KUBE-NODEPORTS', 'kubernetes health check service ports', false),
    filter('FORWARD', 'KUBE-SERVICES', 'kubernetes service portals'),
    filter('OUTPUT', 'KUBE-SERVICES', 'kubernetes service portals'),
    filter('FORWARD', 'KUBE-FORWARD', 'kubernetes forwarding rules', false),
    filter('INPUT', 'KUBE-PROXY-FIREWALL', 'kubernetes load balancer firewall'),
    filter('OUTPUT', 'KUBE-PROXY-FIREWALL', 'kubernetes load balancer firewall'),
    filter('FORWARD', 'KUBE-PROXY-FIREWALL', 'kubernetes load balancer firewall'),
    { table: 'filter', chain: 'INPUT', rule: '-j KUBE-FIREWALL', place: 'first' },
    { table: 'filter', chain: 'OUTPUT', rule: '-j KUBE-FIREWALL', place: 'first' },
    nat('OUTPUT', 'KUBE-SERVICES', 'kubernetes service portals'),
    nat('PREROUTING', 'KUBE-SERVICES', 'kubernetes service portals'),
    nat('POSTROUTING', 'KUBE-POSTROUTING', 'kubernetes postrouting rules'),
  ];
}

/** The rule at the end of KUBE-SERVICES that sends local addresses on to the node ports. */
export function nodePortRules({ family, nodePortAddresses, localhostNodePorts }: BasePlanOptions): string[] {
  const text = comment('kubernetes service nodeports; NOTE: this must be the last rule in this chain');
  if (nodePortAddresses !== 'all') {
    return nodePortAddresses.map((ip) => `-d ${host(ip)} ${text} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`);
  }
  const loopback = family === 'IPv6' ? '! -d ::1/128' : !localhostNodePorts && '! -d 127.0.0.0/8';
  return [rule(loopback, text, '-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS')];
}

/** The fixed part of a family's rules. */
export function planBase(options: BasePlanOptions): BasePlan {
  const bit = 2 ** options.masqueradeBit;
  const mark = `0x${bit.toString(16)}`;
  const nat: Chains = new Map([
    [canaryChain, []],
    ['KUBE-MARK-MASQ', [`-j MARK --set-xmark ${mark}/${mark}`]],
    [
      'KUBE-POSTROUTING',
      [
        `-m mark ! --mark ${mark}/${mark} -j RETURN`,
        // Clear the mark, so that the packet is not masqueraded again where it is encapsulated.
        `-j MARK --set-xmark ${mark}/0x0`,
        rule(
          comment('kubernetes service traffic requiring SNAT'),
          '-j MASQUERADE',
          options.randomFully && '--random-fully',
        ),
      ],
    ],
  ]);
  const forwarding = [
    !options.conntrackTcpBeLiberal && '-m conntrack --ctstate INVALID -j DROP',
    `${comment('kubernetes forwarding rules')} -m mark --mark ${mark}/${mark} -j ACCEPT`,
    `${comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
  ].filter((text) => text !== false);
  const spoofed = rule(
    '! -s 127.0.0.0/8 -d 127.0.0.0/8',
    comment('block incoming localnet connections'),
    '-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
  );
  const filter: Chains = new Map([
    [canaryChain, []],
    ['KUBE-FORWARD', forwarding],
    ['KUBE-FIREWALL', options.family === 'IPv4' && options.localhostNodePorts ? [spoofed] : []],
  ]);
  return { chains: { nat, filter, mangle: new Map([[canaryChain, []]]) }, entries: entries() };
}
