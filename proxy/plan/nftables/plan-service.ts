// The chains, sets and elements of one Service port, in kube-proxy's layout (recordings in test/data/proxy).
import { isInRanges } from '../../model/cidr.ts';
import type { Endpoint } from '../../model/endpoint.ts';
import type { SelectedEndpoints } from '../../model/select-endpoints.ts';
import {
  isExternallyAccessible,
  type ServicePort,
  usesClusterEndpoints,
  usesLocalEndpoints,
} from '../../model/service-port.ts';
import type { LocalTraffic } from './local-traffic.ts';
import { endpointNames, type ServiceChains, serviceChains } from './object-names.ts';
import { masqueradeMark } from './plan-base.ts';
import { comment, type Element, ipWord, type Rule, type ServiceRules } from './rules.ts';

export interface ServicePlanOptions {
  localTraffic: LocalTraffic | undefined;
  masqueradeBit: number;
  /** Addresses of this node, to let it reach its own load balancer services through the firewall. */
  nodeIPs: readonly string[];
}

/** Everything the parts of the plan look at. */
interface Context {
  port: ServicePort;
  endpoints: SelectedEndpoints;
  chains: ServiceChains;
  options: ServicePlanOptions;
  protocol: string;
  ip: 'ip' | 'ip6';
  hasInternal: boolean;
  hasExternal: boolean;
  hasFirewall: boolean;
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
    ip: ipWord(port.family),
    hasInternal: endpoints.any && internal.length > 0,
    hasExternal: endpoints.any && external.length > 0 && isExternallyAccessible(port),
    hasFirewall: port.loadBalancerVIPs.length > 0 && port.sourceRanges.length > 0,
  };
}

/** What happens to traffic that finds no endpoint: refused when there is none at all, dropped when there is none here. */
function unreachable({ endpoints, port }: Context): Element['value'] {
  return { verdict: endpoints.any ? 'drop' : 'goto reject-chain', comment: port.name };
}

function planElements(context: Context): Element[] {
  const { port, endpoints, chains, protocol, hasInternal, hasExternal, hasFirewall } = context;
  const at = (address: string): string => `${address} . ${protocol} . ${port.port}`;
  const none = unreachable(context);
  const elements: Element[] = [{ container: 'cluster-ips', key: port.clusterIP, value: {} }];
  const clusterIP = at(port.clusterIP);
  if (hasInternal) {
    const verdict = `goto ${port.internalLocal ? chains.local : chains.service}`;
    elements.push({ container: 'service-ips', key: clusterIP, value: { verdict } });
  } else {
    elements.push({ container: 'no-endpoint-services', key: clusterIP, value: none });
  }
  const toExternal = { verdict: `goto ${chains.external}` };
  for (const address of new Set([...port.externalIPs, ...port.loadBalancerVIPs])) {
    const key = at(address);
    if (endpoints.any) elements.push({ container: 'service-ips', key, value: toExternal });
    if (!hasExternal) elements.push({ container: 'no-endpoint-services', key, value: none });
  }
  if (hasFirewall) {
    const value = { verdict: `goto ${chains.firewall}` };
    for (const vip of port.loadBalancerVIPs) elements.push({ container: 'firewall-ips', key: at(vip), value });
  }
  if (port.nodePort !== 0) {
    const key = `${protocol} . ${port.nodePort}`;
    if (endpoints.any) elements.push({ container: 'service-nodeports', key, value: toExternal });
    if (!hasExternal) elements.push({ container: 'no-endpoint-nodeports', key, value: none });
  }
  // A pod that reaches itself through its Service must see another source address than its own.
  for (const endpoint of endpoints.reachable) {
    if (!endpoint.isLocal) continue;
    const key = `${endpoint.ip} . ${endpoint.ip} . ${protocol} . ${endpoint.port}`;
    elements.push({ container: 'hairpin-connections', key, value: {} });
  }
  return elements;
}

function planFirewallChain({ port, options, ip }: Context): Rule[] {
  const fromNode = options.nodeIPs.some((address) => isInRanges(address, port.sourceRanges));
  // A load balancer's address may be one of this node's: then the node's own traffic comes from it.
  const sources = [...port.sourceRanges, ...(fromNode ? port.loadBalancerVIPs : [])];
  return [`${ip} saddr != { ${sources.join(', ')} } drop`];
}

function planExternalChain({ port, endpoints, chains, options, hasExternal }: Context): Rule[] {
  const mark = `meta mark set meta mark | ${masqueradeMark(options.masqueradeBit)}`;
  const rules: Rule[] = [];
  if (!port.externalLocal) {
    rules.push(`${mark} ${comment('masquerade')}`);
  } else {
    const local = options.localTraffic?.local;
    const toAll = `goto ${chains.service}`;
    const reachesAll = endpoints.cluster.length > 0;
    if (local !== undefined && reachesAll) rules.push(`${local} ${toAll} ${comment('short-circuit pod traffic')}`);
    rules.push(`fib saddr type local ${mark} ${comment('masquerade local traffic')}`);
    if (reachesAll) rules.push(`fib saddr type local ${toAll} ${comment('short-circuit local traffic')}`);
  }
  if (hasExternal) rules.push(`goto ${port.externalLocal ? chains.local : chains.service}`);
  return rules;
}

/**
 * Up to so many endpoints are chosen among by rules, one after the other; more by a map. The kernel looks through all
 * maps of a table for each new one, so that a map for each service would cost the square of their number.
 */
const maxChoicesByRule = 8;

/** Rules of which each takes its share of what those before it have left. */
function planChoices(prefix: string, targets: readonly string[]): Rule[] {
  return targets.map((target, i) => {
    const left = targets.length - i;
    return `${prefix}${left > 1 ? `numgen random mod ${left} < 1 ` : ''}${target}`;
  });
}

/** A random choice among endpoints; with affinity, what the client chose before comes first. */
function planBalancing({ port, protocol, ip }: Context, endpoints: readonly Endpoint[]): Rule[] {
  const count = endpoints.length;
  if (port.affinitySeconds === undefined) {
    if (count <= maxChoicesByRule) {
      const targets = endpoints.map(({ address }) => `dnat to ${address}`);
      return planChoices(`meta l4proto ${protocol} `, targets);
    }
    const choices = endpoints.map((endpoint, i) => `${i} : ${endpoint.ip} . ${endpoint.port}`);
    return [`meta l4proto ${protocol} dnat ${ip} to numgen random mod ${count} map { ${choices.join(', ')} }`];
  }
  const names = endpoints.map((endpoint) => endpointNames(port, endpoint));
  const stuck = names.map(({ chain, affinity }) => `${ip} saddr @${affinity} goto ${chain}`);
  if (count <= maxChoicesByRule) {
    const targets = names.map(({ chain }) => `goto ${chain}`);
    return [...stuck, ...planChoices('', targets)];
  }
  const choices = names.map(({ chain }, i) => `${i} : goto ${chain}`);
  return [...stuck, `numgen random mod ${count} vmap { ${choices.join(', ')} }`];
}

/** Plans one port. The rules depend on nothing but the arguments, so a port is planned again only when they changed. */
export function planService(
  port: ServicePort,
  endpoints: SelectedEndpoints,
  options: ServicePlanOptions,
): ServiceRules {
  const context = createContext(port, endpoints, options);
  const { chains: names, protocol, ip } = context;
  const chains: ServiceRules['chains'] = new Map();
  const affinitySets: ServiceRules['affinitySets'] = new Map();
  if (port.affinitySeconds !== undefined) {
    for (const endpoint of endpoints.reachable) {
      const { chain, affinity } = endpointNames(port, endpoint);
      affinitySets.set(affinity, port.affinitySeconds);
      chains.set(chain, [
        `update @${affinity} { ${ip} saddr }`,
        `meta l4proto ${protocol} dnat to ${endpoint.address}`,
      ]);
    }
  }
  if (endpoints.any) {
    if (usesClusterEndpoints(port) && endpoints.cluster.length > 0) {
      chains.set(names.service, planBalancing(context, endpoints.cluster));
    }
    if (usesLocalEndpoints(port) && endpoints.local.length > 0) {
      chains.set(names.local, planBalancing(context, endpoints.local));
    }
    if (isExternallyAccessible(port)) chains.set(names.external, planExternalChain(context));
  }
  if (context.hasFirewall) chains.set(names.firewall, planFirewallChain(context));
  return { owner: `${port.name}/${port.protocol}`, chains, affinitySets, items: planElements(context) };
}
