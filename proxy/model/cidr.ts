// Address ranges.
import { BlockList, isIP } from 'node:net';

/** True for `ADDRESS/LENGTH` of either family. */
export function isCidr(text: string): boolean {
  const [address = '', length = '', ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0 || !/^\d{1,3}$/.test(length)) return false;
  return Number(length) <= (family === 4 ? 32 : 128);
}

/** True when `address` lies in one of the ranges. */
export function isInRanges(address: string, cidrs: readonly string[]): boolean {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [base = '', length = ''] = cidr.split('/');
    list.addSubnet(base, Number(length), isIP(base) === 6 ? 'ipv6' : 'ipv4');
  }
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}
