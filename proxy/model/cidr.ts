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

function toNumber(address: string): bigint {
  if (isIP(address) === 4) return address.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  const [head = '', tail] = address.split('::');
  const words = (text: string | undefined) => (text ? text.split(':').map((word) => BigInt(`0x${word}`)) : []);
  const before = words(head);
  const after = words(tail);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0n);
  return [...before, ...zeros, ...after].reduce((sum, word) => sum * 65536n + word, 0n);
}

function fromNumber(value: bigint, family: number): string {
  const parts = (count: number, bits: bigint) =>
    Array.from({ length: count }, (_, i) => (value >> (bits * BigInt(count - 1 - i))) & ((1n << bits) - 1n));
  if (family === 4) return parts(4, 8n).join('.');
  return canonicalAddress(
    parts(8, 16n)
      .map((word) => word.toString(16))
      .join(':'),
  );
}

/** An address as the kernel prints it. */
export function canonicalAddress(address: string): string {
  return isIP(address) === 6 ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}

/** A range as the kernel prints it: without the bits of a host, and one address without a length. */
export function networkOf(cidr: string): string {
  const [address = '', length = ''] = cidr.split('/');
  const family = isIP(address);
  const bits = family === 4 ? 32 : 128;
  const hostBits = BigInt(bits - Number(length));
  const canonical = address.includes('.') && family === 6 ? canonicalAddress(address) : address;
  const network = fromNumber((toNumber(canonical) >> hostBits) << hostBits, family);
  return hostBits === 0n ? network : `${network}/${length}`;
}
