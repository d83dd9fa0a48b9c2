// kube-proxy's names of chains and sets in mode nftables: a hash to tell them apart, then words to read.
import type { Endpoint } from '../../model/endpoint.ts';
import type { ServicePort } from '../../model/service-port.ts';
import { shortHash } from '../short-hash.ts';

/** The kernel takes 256 characters with the prefix. */
const maxLength = 240;

/** The four chains a service port may have. */
export interface ServiceChains {
  service: string;
  local: string;
  external: string;
  firewall: string;
}

function baseName({ serviceKey, protocol, portName }: ServicePort): string {
  return `${serviceKey}/${protocol.toLowerCase()}/${portName}`;
}

function unique(name: string): string {
  const full = `${shortHash(name, 8)}-${name}`;
  return full.length > maxLength ? `${full.slice(0, maxLength - 3)}...` : full;
}

export function serviceChains(port: ServicePort): ServiceChains {
  const name = unique(baseName(port));
  return {
    service: `service-${name}`,
    local: `local-${name}`,
    external: `external-${name}`,
    firewall: `firewall-${name}`,
  };
}

/** The chain of an endpoint and the set of clients that stick to it; only for services with affinity. */
export function endpointNames(port: ServicePort, { ip, port: number }: Endpoint): { chain: string; affinity: string } {
  const name = unique(`${baseName(port)}__${ip.replaceAll(':', '.')}/${number}`);
  return { chain: `endpoint-${name}`, affinity: `affinity-${name}` };
}

// The hash is of fixed length, so that chains such as `service-endpoints-check` are not taken for a service's.
const perService = /^(service|local|external|firewall|endpoint)-[A-Z2-7]{8}-.*\//;
const perEndpoint = /^affinity-[A-Z2-7]{8}-.*\//;

/** True for chains that belong to one service or endpoint. */
export function isServiceChain(chain: string): boolean {
  return perService.test(chain);
}

export function isAffinitySet(set: string): boolean {
  return perEndpoint.test(set);
}
