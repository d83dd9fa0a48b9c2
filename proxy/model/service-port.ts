// One port of a Service in one IP family: the unit that rules are planned for.
import { isIP } from 'node:net';
import type { ServicePort as ApiServicePort, Service } from '#kube/api/generated/core-v1.ts';

export type IpFamily = 'IPv4' | 'IPv6';
export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** Everything rules need to know of a Service port. */
export interface ServicePort {
  /** `namespace/name:port`, without the colon for an unnamed port. */
  name: string;
  serviceKey: string;
  portName: string;
  family: IpFamily;
  protocol: Protocol;
  clusterIP: string;
  port: number;
  /** 0 for none. */
  nodePort: number;
  externalIPs: string[];
  loadBalancerVIPs: string[];
  sourceRanges: string[];
  /** Seconds a client sticks to its endpoint; undefined for no affinity. */
  affinitySeconds: number | undefined;
  internalLocal: boolean;
  externalLocal: boolean;
  /** 0 for none. */
  healthCheckNodePort: number;
}

const familyNumber: Record<IpFamily, number> = { IPv4: 4, IPv6: 6 };

export function isOfFamily(address: string, family: IpFamily): boolean {
  return isIP(address.split('/')[0] ?? '') === familyNumber[family];
}

/** Reached by node port, load balancer address or external IP. */
export function isExternallyAccessible(port: ServicePort): boolean {
  return port.nodePort !== 0 || port.loadBalancerVIPs.length > 0 || port.externalIPs.length > 0;
}

/** Internal traffic goes to all endpoints, and so does external traffic that comes from this node. */
export function usesClusterEndpoints(port: ServicePort): boolean {
  return !port.internalLocal || isExternallyAccessible(port);
}

export function usesLocalEndpoints(port: ServicePort): boolean {
  return port.internalLocal || (port.externalLocal && isExternallyAccessible(port));
}

/** True for services that another proxy handles or that have no address of their own. */
export function isIgnored(service: Service): boolean {
  const { spec, metadata } = service;
  if (metadata.labels?.['service.kubernetes.io/service-proxy-name'] !== undefined) return true;
  return spec.type === 'ExternalName' || spec.clusterIP === 'None' || !spec.clusterIP;
}

function computePort(service: Service, port: ApiServicePort, clusterIP: string, family: IpFamily): ServicePort {
  const { spec, status, metadata } = service;
  const serviceKey = `${metadata.namespace}/${metadata.name}`;
  const ingress = status?.loadBalancer?.ingress ?? [];
  const vips = ingress.filter((entry) => entry.ip && (entry.ipMode ?? 'VIP') === 'VIP').map((entry) => entry.ip ?? '');
  const ofFamily = (addresses: readonly string[] | undefined) =>
    (addresses ?? []).map((address) => address.trim()).filter((address) => isOfFamily(address, family));
  const local = spec.externalTrafficPolicy === 'Local';
  return {
    name: port.name ? `${serviceKey}:${port.name}` : serviceKey,
    serviceKey,
    portName: port.name ?? '',
    family,
    protocol: (port.protocol ?? 'TCP') as Protocol,
    clusterIP,
    port: port.port,
    nodePort: port.nodePort ?? 0,
    externalIPs: ofFamily(spec.externalIPs),
    loadBalancerVIPs: ofFamily(vips),
    sourceRanges: ofFamily(spec.loadBalancerSourceRanges),
    affinitySeconds:
      spec.sessionAffinity === 'ClientIP' ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10800) : undefined,
    internalLocal: spec.internalTrafficPolicy === 'Local',
    externalLocal: local,
    healthCheckNodePort: local && spec.type === 'LoadBalancer' ? (spec.healthCheckNodePort ?? 0) : 0,
  };
}

/** The ports of a Service in one family; none when the Service is ignored or has no address of the family. */
export function computeServicePorts(service: Service, family: IpFamily): ServicePort[] {
  if (isIgnored(service)) return [];
  const { clusterIP, clusterIPs = [], ports = [] } = service.spec;
  const addresses = clusterIPs.length > 0 ? clusterIPs : [clusterIP ?? ''];
  const address = addresses.find((candidate) => isOfFamily(candidate, family));
  if (address === undefined) return [];
  return ports.map((port) => computePort(service, port, address, family));
}
