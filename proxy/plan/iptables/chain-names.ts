// kube-proxy's chain names: stable hashes, so that a node can change hands between proxies.
import { createHash } from 'node:crypto';
import type { ServicePort } from '../../model/service-port.ts';

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The first 16 base32 characters (80 bits) of a SHA-256. */
function shortHash(text: string): string {
  const bytes = createHash('sha256').update(text).digest();
  let out = '';
  let buffer = 0;
  let bits = 0;
  for (let i = 0; out.length < 16; i += 1) {
    buffer = (buffer << 8) | (bytes[i] ?? 0);
    bits += 8;
    while (bits >= 5 && out.length < 16) {
      out += alphabet[(buffer >> (bits - 5)) & 31];
      bits -= 5;
    }
    buffer &= (1 << bits) - 1;
  }
  return out;
}

/** The four chains a service port may have. */
export interface ServiceChains {
  cluster: string;
  local: string;
  external: string;
  firewall: string;
}

export function serviceChains(port: ServicePort): ServiceChains {
  const hash = shortHash(port.name + port.protocol.toLowerCase());
  return {
    cluster: `KUBE-SVC-${hash}`,
    local: `KUBE-SVL-${hash}`,
    external: `KUBE-EXT-${hash}`,
    firewall: `KUBE-FW-${hash}`,
  };
}

export function endpointChain(port: ServicePort, endpointAddress: string): string {
  return `KUBE-SEP-${shortHash(port.name + port.protocol.toLowerCase() + endpointAddress)}`;
}

const perService = /^KUBE-(SVC|SVL|EXT|FW|SEP)-/;

/** True for chains that belong to one service or endpoint. */
export function isServiceChain(chain: string): boolean {
  return perService.test(chain);
}
