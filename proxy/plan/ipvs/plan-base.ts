// The iptables chains of mode ipvs: fixed, because everything that depends on services is in sets. They decide who is
// masqueraded, who is let in, and that an address of a service answers on the ports of the service alone.
import type { IpFamily } from '../../model/service-port.ts';
import type { LocalTraffic } from '../iptables/local-traffic.ts';
import type { BasePlan, EntryRule } from '../iptables/plan-base.ts';
import { type Chains, comment, rule } from '../iptables/rules.ts';
import { type IpSetName, kernelSetName } from './ip-sets.ts';

export interface BasePlanOptions {
  family: IpFamily;
  masqueradeBit: number;
  masqueradeAll: boolean;
  randomFully: boolean;
  localTraffic: LocalTraffic | undefined;
}

const fresh = '-m conntrack --ctstate NEW';
const fromNode = '-m addrtype --src-type LOCAL';
const markMasq = '-j KUBE-MARK-MASQ';

function entries(): EntryRule[] {
  const jump = (table: EntryRule['table'], chain: string, target: string, text: string): EntryRule => {
    return { table, chain, rule: `${comment(text)} -j ${target}`, place: 'first' };
  };
  return [
    jump('nat', 'OUTPUT', 'KUBE-SERVICES', 'kubernetes service portals'),
    jump('nat', 'PREROUTING', 'KUBE-SERVICES', 'kubernetes service portals'),
    jump('nat', 'POSTROUTING', 'KUBE-POSTROUTING', 'kubernetes postrouting rules'),
    jump('filter', 'FORWARD', 'KUBE-FORWARD', 'kubernetes forwarding rules'),
    jump('filter', 'INPUT', 'KUBE-NODE-PORT', 'kubernetes health check rules'),
    jump('filter', 'INPUT', 'KUBE-PROXY-FIREWALL', 'kube-proxy firewall rules'),
    jump('filter', 'FORWARD', 'KUBE-PROXY-FIREWALL', 'kube-proxy firewall rules'),
    jump('filter', 'INPUT', 'KUBE-IPVS-FILTER', 'kubernetes ipvs access filter'),
    // Before ipvs has looked at what the node sends: behind it the address of the service is gone.
    jump('mangle', 'OUTPUT', 'KUBE-IPVS-OUT-FILTER', 'kubernetes ipvs access filter'),
  ];
}

/** The fixed part of a family's rules. */
export function planBase(options: BasePlanOptions): BasePlan {
  const { family, localTraffic } = options;
  const mark = `0x${(2 ** options.masqueradeBit).toString(16)}`;
  const match = (set: IpSetName, flags: string, negated = false): string =>
    `-m set ${negated ? '! ' : ''}--match-set ${kernelSetName(set, family)} ${flags}`;
  const to = (set: IpSetName): string => match(set, 'dst,dst');

  const masqueradeInternal = options.masqueradeAll
    ? `${to('CLUSTER-IP')} ${markMasq}`
    : localTraffic === undefined
      ? // The node itself: its packets have the service's own address as their source.
        `${match('CLUSTER-IP', 'src,dst')} ${markMasq}`
      : `${localTraffic.notLocal} ${to('CLUSTER-IP')} ${markMasq}`;
  const offMachine = '-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT';
  const onMachine = '-m addrtype --dst-type LOCAL -j ACCEPT';
  const nodePort = (protocol: string, flags: string, all: IpSetName, local: IpSetName): string[] => [
    `-p ${protocol} ${match(local, flags)} ${fromNode} ${markMasq}`,
    `-p ${protocol} ${match(local, flags)} -j RETURN`,
    `-p ${protocol} ${match(all, flags)} ${markMasq}`,
  ];
  const nat: Chains = new Map([
    ['KUBE-MARK-MASQ', [`-j MARK --set-xmark ${mark}/${mark}`]],
    [
      'KUBE-POSTROUTING',
      [
        `${comment('pods that reach themselves through a service')} ${match('LOOP-BACK', 'dst,dst,src')} -j MASQUERADE`,
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
    [
      'KUBE-SERVICES',
      [
        family === 'IPv6' ? '-s ::1/128 -j RETURN' : '-s 127.0.0.0/8 -j RETURN',
        `${comment('load balancer addresses')} ${to('LOAD-BALANCER')} -j KUBE-LOAD-BALANCER`,
        masqueradeInternal,
        `${comment('external addresses')} ${to('EXTERNAL-IP')} ${markMasq}`,
        `${to('EXTERNAL-IP')} ${offMachine}`,
        `${to('EXTERNAL-IP')} ${onMachine}`,
        `${to('EXTERNAL-IP-LOCAL')} ${fromNode} ${markMasq}`,
        `${to('EXTERNAL-IP-LOCAL')} ${offMachine}`,
        `${to('EXTERNAL-IP-LOCAL')} ${onMachine}`,
        '-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT',
        `${to('CLUSTER-IP')} -j ACCEPT`,
        `${to('LOAD-BALANCER')} -j ACCEPT`,
      ],
    ],
    [
      'KUBE-LOAD-BALANCER',
      [`${to('LOAD-BALANCER-LOCAL')} ${fromNode} ${markMasq}`, `${to('LOAD-BALANCER-LOCAL')} -j RETURN`, markMasq],
    ],
    [
      'KUBE-NODE-PORT',
      [
        ...nodePort('tcp', 'dst', 'NODE-PORT-TCP', 'NODE-PORT-LOCAL-TCP'),
        ...nodePort('udp', 'dst', 'NODE-PORT-UDP', 'NODE-PORT-LOCAL-UDP'),
        ...nodePort('sctp', 'dst,dst', 'NODE-PORT-SCTP-HASH', 'NODE-PORT-LOCAL-SCTP-HASH'),
      ],
    ],
  ]);

  const sources = [
    `${match('LOAD-BALANCER-SOURCE-CIDR', 'dst,dst,src')} -j RETURN`,
    `${match('LOAD-BALANCER-SOURCE-IP', 'dst,dst,src')} -j RETURN`,
    '-j DROP',
  ];
  const reachesAll = rule(localTraffic?.local, to('NO-LOCAL-EXTERNAL'), '-j RETURN');
  const filter: Chains = new Map([
    [
      'KUBE-FORWARD',
      [
        `${comment('kubernetes forwarding rules')} -m mark --mark ${mark}/${mark} -j ACCEPT`,
        `${comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
      ],
    ],
    ['KUBE-NODE-PORT', [`${comment('health check node ports')} ${match('HEALTH-CHECK-NODE-PORT', 'dst')} -j ACCEPT`]],
    ['KUBE-PROXY-FIREWALL', [`${to('LOAD-BALANCER-FW')} -j KUBE-SOURCE-RANGES-FIREWALL`]],
    ['KUBE-SOURCE-RANGES-FIREWALL', sources],
    [
      'KUBE-IPVS-FILTER',
      [
        // A local policy without an endpoint here: inside the cluster nobody gets through, from outside only pods
        // and the node itself, whose packets may go to other nodes.
        `${fresh} ${to('NO-LOCAL-INTERNAL')} -j DROP`,
        ...(localTraffic === undefined ? [] : [reachesAll]),
        `${fresh} ${to('NO-LOCAL-EXTERNAL')} -m addrtype ! --src-type LOCAL -j DROP`,
        `${to('LOAD-BALANCER')} -j RETURN`,
        `${to('CLUSTER-IP')} -j RETURN`,
        `${to('EXTERNAL-IP')} -j RETURN`,
        `${to('EXTERNAL-IP-LOCAL')} -j RETURN`,
        `${match('HEALTH-CHECK-NODE-PORT', 'dst')} -j RETURN`,
        `${fresh} ${match('IPVS-IPS', 'dst')} -j REJECT --reject-with ${family === 'IPv6' ? 'icmp6-port-unreachable' : 'icmp-port-unreachable'}`,
      ],
    ],
  ]);
  const mangle: Chains = new Map([
    ['KUBE-SOURCE-RANGES-FIREWALL', sources],
    [
      'KUBE-IPVS-OUT-FILTER',
      [`${fresh} ${to('NO-LOCAL-INTERNAL')} -j DROP`, `${to('LOAD-BALANCER-FW')} -j KUBE-SOURCE-RANGES-FIREWALL`],
    ],
  ]);
  return { chains: { nat, filter, mangle }, entries: entries() };
}
