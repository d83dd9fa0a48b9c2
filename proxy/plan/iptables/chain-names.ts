// kube-proxy's chain names: stable hashes, so that a node can change hands between proxies.
import type { ServicePort } from '../../model/service-port.ts';
import { shortHash } from '../short-hash.ts';

const hashLength = 16;

/** The four chains a service port may have. */
export interface ServiceChains {
  cluster: string;
  local: string;
  external: string;
  firewall: string;
}

export function serviceChains(port: ServicePort): ServiceChains {
  const hash = shortHash(port.name + port.protocol.toLowerCase(), hashLength);
  return {
    cluster: `KUBE-SVC-${hash}`,
    local: `KUBE-SVL-${hash}`,
    external: `KUBE-EXT-${hash}`,
    firewall: `KUBE-FW-${hash}`,
  };
}

export function endpointChain(port: ServicePort, endpointAddress: string): string {
  return `KUBE-SEP-${shortHash(port.name + port.protocol.toLowerCase() + endpointAddress, hashLength)}`;
}

const perService = /^KUBE-(SVC|SVL|EXT|FW|SEP)-/;

/** True for chains that belong to one service or endpoint. */
export function isServiceChain(chain: string): boolean {
  return perService.test(chain);
}
