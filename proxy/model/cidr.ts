// Address ranges as rules name them.
import { BlockList, isIP } from 'node:net';
import { bitsOf, formatNetwork, numberToAddress, parseNetwork } from '#kube/api/ip-address.ts';

/** True when `address` lies in one of the ranges. */
export function isInRanges(address: string, cidrs: readonly string[]): boolean {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [base = '', length = ''] = cidr.split('/');
    list.addSubnet(base, Number(length), isIP(base) === 6 ? 'ipv6' : 'ipv4');
  }
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

/** A range as the kernel prints it: without the bits of a host, and one address without a length. */
export function networkOf(cidr: string): string {
  const network = parseNetwork(cidr);
  if (network === undefined) return cidr;
  const { base, family, prefix } = network;
  return prefix === bitsOf(family) ? numberToAddress(base, family) : formatNetwork(network);
}
