// The chains, sets and maps every node has whatever its services (recordings in test/data/proxy).
import type { NodePortAddresses } from '../../model/node-port-addresses.ts';
import { type IpFamily, isOfFamily } from '../../model/service-port.ts';
import type { LocalTraffic } from './local-traffic.ts';
import { addressType, type Container, ipWord, type Rule } from './rules.ts';

export interface BasePlanOptions {
  family: IpFamily;
  masqueradeBit: number;
  masqueradeAll: boolean;
  localTraffic: LocalTraffic | undefined;
  nodePortAddresses: NodePortAddresses;
  /** Ranges cluster IPs come from, of any family: what is not allocated there is dropped. */
  serviceCIDRs: readonly string[];
}

export interface ContainerPlan {
  kind: 'set' | 'map';
  type: string;
  comment: string;
  elements: readonly string[];
}

export interface BasePlan {
  containers: Map<Container, ContainerPlan>;
  /** A chain with a hook begins with its declaration. */
  chains: Map<string, Rule[]>;
}

export const tableComment = 'rules for kube-proxy';

function planContainers({ family, nodePortAddresses }: BasePlanOptions): BasePlan['containers'] {
  const ip = addressType(family);
  const service = `${ip} . inet_proto . inet_service`;
  const set = (type: string, comment: string, elements: readonly string[] = []): ContainerPlan => {
    return { kind: 'set', type, comment, elements };
  };
  const map = (key: string, comment: string): ContainerPlan => {
    return { kind: 'map', type: `${key} : verdict`, comment, elements: [] };
  };
  const containers: BasePlan['containers'] = new Map();
  containers.set('hairpin-connections', set(`${ip} . ${service}`, 'service hairpin connections'));
  containers.set('cluster-ips', set(ip, 'Active ClusterIPs'));
  if (nodePortAddresses !== 'all') {
    containers.set('nodeport-ips', set(ip, 'IPs that accept NodePort traffic', nodePortAddresses));
  }
  const noEndpoints = (what: string): string => `vmap to drop or reject packets to ${what} with no endpoints`;
  containers.set('no-endpoint-services', map(service, noEndpoints('services')));
  containers.set('no-endpoint-nodeports', map('inet_proto . inet_service', noEndpoints('service nodeports')));
  containers.set('firewall-ips', map(service, 'destinations that are subject to LoadBalancerSourceRanges'));
  containers.set('service-ips', map(service, 'ClusterIP, ExternalIP and LoadBalancer IP traffic'));
  containers.set('service-nodeports', map('inet_proto . inet_service', 'NodePort traffic'));
  return containers;
}

/** Connections to the addresses that take node ports. Loopback is never one of them: nftables cannot route it. */
function nodePortMatches({ family, nodePortAddresses }: BasePlanOptions): { services: string; endpoints: string } {
  const ip = ipWord(family);
  if (nodePortAddresses !== 'all') {
    const match = `${ip} daddr @nodeport-ips`;
    return { services: match, endpoints: match };
  }
  const notLoopback = `${ip} daddr != ${family === 'IPv6' ? '::1' : '127.0.0.0/8'}`;
  return { services: `fib daddr type local ${notLoopback}`, endpoints: notLoopback };
}

function planMasquerading({ family, masqueradeBit }: BasePlanOptions): Rule[] {
  const ip = ipWord(family);
  const mark = masqueradeMark(masqueradeBit);
  const hairpin = `${ip} saddr . ${ip} daddr . meta l4proto . th dport @hairpin-connections`;
  return [
    `meta mark & ${mark} != 0x00000000 meta mark set meta mark ^ ${mark} masquerade fully-random`,
    `ct status dnat ${hairpin} masquerade fully-random`,
  ];
}

/** The mark that asks for masquerading, as nft prints it. */
export function masqueradeMark(bit: number): string {
  return `0x${(2 ** bit).toString(16).padStart(8, '0')}`;
}

function planServices(options: BasePlanOptions, nodePorts: string): Rule[] {
  const ip = ipWord(options.family);
  const mark = masqueradeMark(options.masqueradeBit);
  const setMark = `meta mark set meta mark | ${mark}`;
  const rules: Rule[] = [];
  if (options.masqueradeAll) {
    rules.push(`${ip} daddr @cluster-ips ${setMark} comment "masquerade clusterIP traffic"`);
  } else if (options.localTraffic !== undefined) {
    const outside = 'comment "masquerade clusterIP traffic from outside cluster"';
    rules.push(`${ip} daddr @cluster-ips ${options.localTraffic.notLocal} ${setMark} ${outside}`);
  }
  rules.push(`${ip} daddr . meta l4proto . th dport vmap @service-ips`);
  rules.push(`${nodePorts} meta l4proto . th dport vmap @service-nodeports`);
  return rules;
}

function planClusterIPsCheck({ family, serviceCIDRs }: BasePlanOptions): Rule[] {
  const ip = ipWord(family);
  const rules = [`${ip} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"`];
  const ranges = serviceCIDRs.filter((range) => isOfFamily(range, family));
  if (ranges.length > 0) {
    const match = ranges.length === 1 ? ranges[0] : `{ ${ranges.join(', ')} }`;
    rules.push(`${ip} daddr ${match} drop comment "Drop traffic to unallocated ClusterIPs"`);
  }
  return rules;
}

/** The fixed part of a family's table. */
export function planBase(options: BasePlanOptions): BasePlan {
  const ip = ipWord(options.family);
  const nodePorts = nodePortMatches(options);
  const hook = (type: string, name: string, priority: string): string =>
    `type ${type} hook ${name} priority ${priority}; policy accept;`;
  const fresh = (chain: string): string => `ct state new jump ${chain}`;
  const byService = `${ip} daddr . meta l4proto . th dport vmap`;
  const chains: [string, Rule[]][] = [
    ['filter-prerouting-pre-dnat', [hook('filter', 'prerouting', 'dstnat - 10'), fresh('firewall-check')]],
    ['filter-output-pre-dnat', [hook('filter', 'output', '-110'), fresh('firewall-check')]],
    [
      'filter-input',
      [hook('filter', 'input', 'filter'), fresh('nodeport-endpoints-check'), fresh('service-endpoints-check')],
    ],
    [
      'filter-forward',
      [hook('filter', 'forward', 'filter'), fresh('service-endpoints-check'), fresh('cluster-ips-check')],
    ],
    [
      'filter-output',
      [hook('filter', 'output', 'filter'), fresh('service-endpoints-check'), fresh('cluster-ips-check')],
    ],
    ['nat-prerouting', [hook('nat', 'prerouting', 'dstnat'), 'jump services']],
    ['nat-output', [hook('nat', 'output', '-100'), 'jump services']],
    ['nat-postrouting', [hook('nat', 'postrouting', 'srcnat'), 'jump masquerading']],
    ['nodeport-endpoints-check', [`${nodePorts.endpoints} meta l4proto . th dport vmap @no-endpoint-nodeports`]],
    ['service-endpoints-check', [`${byService} @no-endpoint-services`]],
    ['firewall-check', [`${byService} @firewall-ips`]],
    ['services', planServices(options, nodePorts.services)],
    ['masquerading', planMasquerading(options)],
    ['cluster-ips-check', planClusterIPsCheck(options)],
    ['reject-chain', ['comment "helper for @no-endpoint-services / @no-endpoint-nodeports"', 'reject']],
  ];
  return { containers: planContainers(options), chains: new Map(chains) };
}
