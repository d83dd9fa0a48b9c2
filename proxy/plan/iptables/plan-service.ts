// The iptables rules of one Service port, in kube-proxy's layout (recordings in test/data/proxy).
import { isInRanges } from '../../model/cidr.ts';
import type { SelectedEndpoints } from '../../model/select-endpoints.ts';
import {
  isExternallyAccessible,
  type ServicePort,
  usesClusterEndpoints,
  usesLocalEndpoints,
} from '../../model/service-port.ts';
import { endpointChain, type ServiceChains, serviceChains } from './chain-names.ts';
import type { LocalTraffic } from './local-traffic.ts';
import { comment, host, type Rule, rule, type ServiceRules, type SharedRule } from './rules.ts';

export interface ServicePlanOptions {
  localTraffic: LocalTraffic | undefined;
  masqueradeAll: boolean;
  /** Addresses of this node, to let it reach its own load balancer services through the firewall. */
  nodeIPs: readonly string[];
}

const markMasq = '-j KUBE-MARK-MASQ';

/** Everything the parts of the plan look at. */
interface Context {
  port: ServicePort;
  endpoints: SelectedEndpoints;
  chains: ServiceChains;
  options: ServicePlanOptions;
  protocol: string;
  hasInternal: boolean;
  hasExternal: boolean;
}

function createContext(port: ServicePort, endpoints: SelectedEndpoints, options: ServicePlanOptions): Context {
  const internal = port.internalLocal ? endpoints.local : endpoints.cluster;
  const external = port.externalLocal ? endpoints.local : endpoints.cluster;
  return {
    port,
    endpoints,
    chains: serviceChains(port),
    options,
    protocol: port.protocol.toLowerCase(),
    hasInternal: endpoints.any && internal.length > 0,
    hasExternal: endpoints.any && external.length > 0 && isExternallyAccessible(port),
  };
}

function destination({ protocol, port }: Context, address: string, text: string): string {
  const match = `-m ${protocol} --dport ${port.port}`;
  return `-d ${host(address)} -p ${protocol} ${comment(`${port.name} ${text}`)} ${match}`;
}

/** What happens to traffic that finds no endpoint: refused when there is none at all, dropped when there is none here. */
function noEndpointVerdict({ endpoints, port }: Context): { text: string; target: string } {
  return endpoints.any
    ? { text: `${port.name} has no local endpoints`, target: '-j DROP' }
    : { text: `${port.name} has no endpoints`, target: '-j REJECT --reject-with icmp-port-unreachable' };
}

function unreachable(context: Context, chain: string, address: string): SharedRule {
  const { text, target } = noEndpointVerdict(context);
  const { protocol, port } = context;
  const parts = rule(
    `-d ${host(address)} -p ${protocol}`,
    comment(text),
    `-m ${protocol} --dport ${port.port}`,
    target,
  );
  return { table: 'filter', chain, rule: icmpFor(context, parts) };
}

function icmpFor({ port }: Context, text: Rule): Rule {
  return port.family === 'IPv6' ? text.replace('icmp-port-unreachable', 'icmp6-port-unreachable') : text;
}

function planClusterIP(context: Context): SharedRule[] {
  const { port, chains, hasInternal } = context;
  if (!hasInternal) return [unreachable(context, 'KUBE-SERVICES', port.clusterIP)];
  const target = port.internalLocal ? chains.local : chains.cluster;
  return [
    {
      table: 'nat',
      chain: 'KUBE-SERVICES',
      rule: `${destination(context, port.clusterIP, 'cluster IP')} -j ${target}`,
    },
  ];
}

function hasFirewall({ port, endpoints }: Context): boolean {
  return endpoints.any && port.loadBalancerVIPs.length > 0 && port.sourceRanges.length > 0;
}

function planExternalAddresses(context: Context): SharedRule[] {
  const { port, chains, endpoints, hasExternal } = context;
  const shared: SharedRule[] = [];
  const entries = [
    ...port.externalIPs.map((ip) => ({ ip, text: 'external IP', target: chains.external, guarded: false })),
    ...port.loadBalancerVIPs.map((ip) => ({
      ip,
      text: 'loadbalancer IP',
      target: hasFirewall(context) ? chains.firewall : chains.external,
      guarded: hasFirewall(context),
    })),
  ];
  for (const { ip, text, target, guarded } of entries) {
    if (endpoints.any) {
      shared.push({ table: 'nat', chain: 'KUBE-SERVICES', rule: `${destination(context, ip, text)} -j ${target}` });
    }
    if (guarded) {
      const dropped = destination(context, ip, `traffic not accepted by ${chains.firewall}`);
      shared.push({ table: 'filter', chain: 'KUBE-PROXY-FIREWALL', rule: `${dropped} -j DROP` });
    }
    if (!hasExternal) shared.push(unreachable(context, 'KUBE-EXTERNAL-SERVICES', ip));
  }
  return shared;
}

function planNodePort(context: Context): SharedRule[] {
  const { port, chains, endpoints, protocol, hasExternal } = context;
  const shared: SharedRule[] = [];
  if (port.nodePort !== 0) {
    const match = `-m ${protocol} --dport ${port.nodePort}`;
    if (endpoints.any) {
      const text = `-p ${protocol} ${comment(port.name)} ${match} -j ${chains.external}`;
      shared.push({ table: 'nat', chain: 'KUBE-NODEPORTS', rule: text });
    }
    if (!hasExternal) {
      const verdict = noEndpointVerdict(context);
      const text = `-p ${protocol} ${comment(verdict.text)} -m addrtype --dst-type LOCAL ${match} ${verdict.target}`;
      shared.push({ table: 'filter', chain: 'KUBE-EXTERNAL-SERVICES', rule: icmpFor(context, text) });
    }
  }
  if (port.healthCheckNodePort !== 0) {
    const text = `-p tcp ${comment(`${port.name} health check node port`)} -m tcp --dport ${port.healthCheckNodePort} -j ACCEPT`;
    shared.push({ table: 'filter', chain: 'KUBE-NODEPORTS', rule: text });
  }
  return shared;
}

/** Traffic to the cluster IP from outside the pod network must come back through this node. */
function masqueradeInternal(context: Context): Rule[] {
  const { port, options } = context;
  const toClusterIP = destination(context, port.clusterIP, 'cluster IP');
  if (options.masqueradeAll) return [`${toClusterIP} ${markMasq}`];
  if (options.localTraffic === undefined) return [];
  return [rule(options.localTraffic.notLocal, toClusterIP, markMasq)];
}

function planExternalChain({ port, chains, options, hasExternal }: Context): Rule[] {
  const target = port.externalLocal ? chains.local : chains.cluster;
  const rules: Rule[] = [];
  if (!port.externalLocal) {
    rules.push(`${comment(`masquerade traffic for ${port.name} external destinations`)} ${markMasq}`);
  } else {
    const local = options.localTraffic?.local;
    if (local !== undefined) {
      rules.push(`${local} ${comment(`pod traffic for ${port.name} external destinations`)} -j ${chains.cluster}`);
    }
    const fromHere = '-m addrtype --src-type LOCAL';
    rules.push(`${comment(`masquerade LOCAL traffic for ${port.name} external destinations`)} ${fromHere} ${markMasq}`);
    rules.push(
      `${comment(`route LOCAL traffic for ${port.name} external destinations`)} ${fromHere} -j ${chains.cluster}`,
    );
  }
  if (hasExternal) rules.push(`-j ${target}`);
  return rules;
}

function planFirewallChain({ port, chains, options }: Context): Rule[] {
  const target = `-j ${chains.external}`;
  const text = comment(`${port.name} loadbalancer IP`);
  const rules = port.sourceRanges.map((range) =>
    range.endsWith('/0') ? `${text} ${target}` : `-s ${range} ${text} ${target}`,
  );
  const fromNode = port.sourceRanges.some((range) => options.nodeIPs.some((ip) => isInRanges(ip, [range])));
  if (fromNode) {
    for (const vip of port.loadBalancerVIPs) rules.push(`-s ${host(vip)} ${text} ${target}`);
  }
  rules.push(comment(`other traffic to ${port.name} will be dropped by KUBE-PROXY-FIREWALL`));
  return rules;
}

/** The chance of the first of `left` endpoints, rounded as the kernel stores it (31 bits). */
function probability(left: number): string {
  const scale = 2 ** 31;
  return (Math.round(scale / left) / scale).toFixed(11);
}

function planBalancing({ port }: Context, endpoints: SelectedEndpoints['cluster']): Rule[] {
  const rules: Rule[] = [];
  const mask = port.family === 'IPv6' ? 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' : '255.255.255.255';
  const entries = endpoints.map(({ address }) => ({
    chain: endpointChain(port, address),
    text: comment(`${port.name} -> ${address}`),
  }));
  if (port.affinitySeconds !== undefined) {
    for (const { chain, text } of entries) {
      const recent = `-m recent --rcheck --seconds ${port.affinitySeconds} --reap --name ${chain} --mask ${mask} --rsource`;
      rules.push(`${text} ${recent} -j ${chain}`);
    }
  }
  for (const [i, { chain, text }] of entries.entries()) {
    const left = entries.length - i;
    rules.push(rule(text, left > 1 && `-m statistic --mode random --probability ${probability(left)}`, `-j ${chain}`));
  }
  return rules;
}

function planEndpoint({ port, protocol }: Context, endpoint: SelectedEndpoints['cluster'][number]): [string, Rule[]] {
  const chain = endpointChain(port, endpoint.address);
  const mask = port.family === 'IPv6' ? 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' : '255.255.255.255';
  const recent = port.affinitySeconds !== undefined && `-m recent --set --name ${chain} --mask ${mask} --rsource`;
  return [
    chain,
    [
      `-s ${host(endpoint.ip)} ${comment(port.name)} ${markMasq}`,
      rule(
        `-p ${protocol} ${comment(port.name)}`,
        recent,
        `-m ${protocol} -j DNAT --to-destination ${endpoint.address}`,
      ),
    ],
  ];
}

/** Plans one port. The rules depend on nothing but the arguments, so a port is planned again only when they changed. */
export function planService(
  port: ServicePort,
  endpoints: SelectedEndpoints,
  options: ServicePlanOptions,
): ServiceRules {
  const context = createContext(port, endpoints, options);
  const { chains, hasInternal } = context;
  const shared = [...planClusterIP(context), ...planExternalAddresses(context), ...planNodePort(context)];
  const own: ServiceRules['chains'] = new Map();
  if (!endpoints.any) return { chains: own, shared };

  const masquerade = hasInternal ? masqueradeInternal(context) : [];
  if (usesClusterEndpoints(port) && endpoints.cluster.length > 0) {
    const before = port.internalLocal ? [] : masquerade;
    own.set(chains.cluster, [...before, ...planBalancing(context, endpoints.cluster)]);
  }
  if (usesLocalEndpoints(port) && endpoints.local.length > 0) {
    const before = port.internalLocal ? masquerade : [];
    own.set(chains.local, [...before, ...planBalancing(context, endpoints.local)]);
  }
  if (isExternallyAccessible(port)) own.set(chains.external, planExternalChain(context));
  if (hasFirewall(context)) own.set(chains.firewall, planFirewallChain(context));
  for (const endpoint of endpoints.reachable) own.set(...planEndpoint(context, endpoint));
  return { chains: own, shared };
}
