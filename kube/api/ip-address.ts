// IP addresses and networks as numbers: both families, with the forms that Kubernetes takes and writes.
import { isIP } from 'node:net';

export type IpFamily = 4 | 6;

export interface IpNetwork {
  family: IpFamily;
  /** The first address: bits of a host are cleared. */
  base: bigint;
  /** Length of the prefix in bits. */
  prefix: number;
}

/** Bits of an address. */
export const bitsOf = (family: IpFamily): 32 | 128 => (family === 4 ? 32 : 128);

export function familyOf(address: string): IpFamily | undefined {
  const family = isIP(address);
  return family === 4 || family === 6 ? family : undefined;
}

/** An address as it is written everywhere: IPv6 in lower case and at its shortest (RFC 5952); others stay as they are. */
export function canonicalAddress(address: string): string {
  // The URL parser writes IPv6 addresses in their canonical form.
  return isIP(address) === 6 && !address.includes('%') ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}

/** The number of a valid address without a zone; undefined for anything else. */
export function addressToNumber(address: string): bigint | undefined {
  if (isIP(address) === 4) return address.split('.').reduce((sum, part) => (sum << 8n) + BigInt(part), 0n);
  if (isIP(address) !== 6 || address.includes('%')) return undefined;
  const [head = '', tail] = canonicalAddress(address).split('::');
  const words = (text: string | undefined) => (text ? text.split(':').map((word) => BigInt(`0x${word}`)) : []);
  const before = words(head);
  const after = words(tail);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0n);
  return [...before, ...zeros, ...after].reduce((sum, word) => (sum << 16n) + word, 0n);
}

export function numberToAddress(value: bigint, family: IpFamily): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  const words = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16));
  return canonicalAddress(words.join(':'));
}

/** Parses `ADDRESS/LENGTH`; undefined for anything else. */
export function parseNetwork(cidr: string): IpNetwork | undefined {
  const [address = '', length = '', ...more] = cidr.split('/');
  const family = familyOf(address);
  const value = addressToNumber(address);
  if (family === undefined || value === undefined || more.length > 0 || !/^\d{1,3}$/.test(length)) return undefined;
  const prefix = Number(length);
  if (prefix > bitsOf(family)) return undefined;
  const hostBits = BigInt(bitsOf(family) - prefix);
  return { family, base: (value >> hostBits) << hostBits, prefix };
}

/** True for `ADDRESS/LENGTH` of either family. */
export const isCidr = (text: string): boolean => parseNetwork(text) !== undefined;

/** A network in its canonical form. */
export function formatNetwork({ family, base, prefix }: IpNetwork): string {
  return `${numberToAddress(base, family)}/${prefix}`;
}

/** Whether the whole of `inner` lies in `outer`. */
export function networkContains(outer: IpNetwork, inner: IpNetwork): boolean {
  if (outer.family !== inner.family || inner.prefix < outer.prefix) return false;
  const hostBits = BigInt(bitsOf(outer.family) - outer.prefix);
  return outer.base >> hostBits === inner.base >> hostBits;
}
