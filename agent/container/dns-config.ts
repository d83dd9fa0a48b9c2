// The resolver configuration of a pod: cluster, node and the pod's own, by DNS policy (pkg/kubelet/network/dns).
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { DNSConfig } from '#proto/generated/cri/runtime/v1/DNSConfig.ts';
import { usesHostNetwork } from './pod-containers.ts';

const maxNameservers = 3;
const maxSearchPaths = 32;
const maxSearchLength = 2048;

/** Resolver settings: name servers, search domains, options. */
export interface ResolverConfig {
  servers: string[];
  searches: string[];
  options: string[];
}

/** Cluster DNS as configured on the node, and the node's own resolver. */
export interface DnsSettings {
  clusterDns: string[];
  clusterDomain: string;
  host: ResolverConfig;
}

/** A pod's resolver, and what an event should warn about. */
export interface DnsResult {
  config: DNSConfig;
  warnings: { reason: 'MissingClusterDNS' | 'DNSConfigForming'; message: string }[];
}

/** Reads the text of a resolv.conf. */
export function parseResolvConf(text: string): ResolverConfig {
  const result: ResolverConfig = { servers: [], searches: [], options: [] };
  for (const line of text.split('\n')) {
    const [keyword, ...fields] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && fields[0] !== undefined) result.servers.push(fields[0]);
    else if (keyword === 'search')
      result.searches = fields.map((field) => (field === '.' ? field : field.replace(/\.$/, '')));
    else if (keyword === 'options') result.options = fields;
  }
  return result;
}

function clusterResolver(pod: Pod, settings: DnsSettings): ResolverConfig {
  const { clusterDns, clusterDomain, host } = settings;
  const own =
    clusterDomain === ''
      ? []
      : [`${pod.metadata.namespace ?? 'default'}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
  return { servers: clusterDns, searches: [...new Set([...own, ...host.searches])], options: ['ndots:5'] };
}

function mergeOptions(base: string[], pod: Pod): string[] {
  const merged = new Map(base.map((option) => [option.split(':')[0] ?? '', option]));
  for (const { name, value } of pod.spec.dnsConfig?.options ?? []) {
    if (name === undefined) continue;
    merged.set(name, value === undefined || value === '' ? name : `${name}:${value}`);
  }
  return [...merged.values()];
}

/** Computes the resolver of a pod's sandbox. */
export function computeDnsConfig(pod: Pod, settings: DnsSettings): DnsResult {
  const warnings: DnsResult['warnings'] = [];
  const policy = pod.spec.dnsPolicy ?? 'ClusterFirst';
  let base: ResolverConfig;
  const wantsCluster = policy === 'ClusterFirstWithHostNet' || (policy === 'ClusterFirst' && !usesHostNetwork(pod));
  if (policy === 'None') base = { servers: [], searches: [], options: [] };
  else if (wantsCluster && settings.clusterDns.length > 0) base = clusterResolver(pod, settings);
  else {
    if (wantsCluster) {
      const message = `kubelet does not have ClusterDNS IP configured and cannot create Pod using "${policy}" policy. Falling back to "Default" policy.`;
      warnings.push({
        reason: 'MissingClusterDNS',
        message: `pod: "${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})". ${message}`,
      });
    }
    base = settings.host;
  }
  const wanted: ResolverConfig = {
    servers: [...new Set([...base.servers, ...(pod.spec.dnsConfig?.nameservers ?? [])])],
    searches: [...new Set([...base.searches, ...(pod.spec.dnsConfig?.searches ?? [])])],
    options: mergeOptions(base.options, pod),
  };
  const servers = wanted.servers.slice(0, maxNameservers);
  if (servers.length < wanted.servers.length) {
    const message = `Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${servers.join(' ')}`;
    warnings.push({ reason: 'DNSConfigForming', message });
  }
  let searches = wanted.searches.slice(0, maxSearchPaths);
  while (searches.join(' ').length > maxSearchLength) searches = searches.slice(0, -1);
  if (searches.length < wanted.searches.length) {
    const message = `Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${searches.join(' ')}`;
    warnings.push({ reason: 'DNSConfigForming', message });
  }
  return { config: { servers, searches, options: wanted.options }, warnings };
}
