// Hands out equal ranges of an address range: node pod ranges of the cluster's. Pure arithmetic on IPv4 and IPv6.
import { isIPv4, isIPv6 } from 'node:net';

interface Range {
  base: bigint;
  prefix: number;
  bits: 32 | 128;
}

function addressToNumber(address: string): bigint {
  if (isIPv4(address)) return address.split('.').reduce((sum, part) => (sum << 8n) + BigInt(part), 0n);
  const [head = '', tail] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const front = groups(head);
  const back = groups(tail ?? '');
  const zeros = tail === undefined ? 0 : 8 - front.length - back.length;
  const all = [...front, ...Array<string>(zeros).fill('0'), ...back];
  return all.reduce((sum, group) => (sum << 16n) + BigInt(`0x${group === '' ? '0' : group}`), 0n);
}

function numberToAddress(value: bigint, bits: 32 | 128): string {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16));
  // The URL parser writes IPv6 addresses in their canonical form.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** Parses `address/prefix`. Throws RangeError for anything else. */
function parseRange(cidr: string): Range {
  const [address = '', prefixText = ''] = cidr.split('/');
  const bits = isIPv4(address) ? 32 : isIPv6(address) ? 128 : undefined;
  const prefix = Number(prefixText);
  if (bits === undefined || !/^\d+$/.test(prefixText) || prefix > bits)
    throw new RangeError(`${cidr} is not an address range`);
  const mask = ((1n << BigInt(prefix)) - 1n) << BigInt(bits - prefix);
  return { base: addressToNumber(address) & mask, prefix, bits };
}

export interface CidrAllocator {
  /** The next free range; undefined when all are taken. */
  allocate(): string | undefined;
  /** Marks a range as taken; ranges outside are ignored. */
  occupy(cidr: string): void;
  release(cidr: string): void;
}

/** Divides `cidr` into ranges of `nodePrefix` bits (24 for IPv4 and 64 for IPv6 where absent). Throws RangeError. */
export function createCidrAllocator(cidr: string, nodePrefix?: number): CidrAllocator {
  const range = parseRange(cidr);
  const prefix = nodePrefix ?? (range.bits === 32 ? 24 : 64);
  if (prefix < range.prefix) throw new RangeError(`${cidr} is smaller than one node's range of /${prefix}`);
  const step = BigInt(range.bits - prefix);
  const total = 1n << BigInt(Math.min(prefix - range.prefix, 20));
  const taken = new Set<bigint>();
  let next = 0n;

  function indexOf(text: string): bigint | undefined {
    const other = parseRange(text);
    if (other.bits !== range.bits || other.prefix !== prefix) return undefined;
    const index = (other.base - range.base) >> step;
    return other.base >= range.base && index < total ? index : undefined;
  }

  return {
    allocate() {
      if (BigInt(taken.size) === total) return undefined;
      for (let tried = 0n; tried < total; tried += 1n) {
        const index = (next + tried) % total;
        if (taken.has(index)) continue;
        taken.add(index);
        next = (index + 1n) % total;
        return `${numberToAddress(range.base + (index << step), range.bits)}/${prefix}`;
      }
      return undefined;
    },
    occupy(text) {
      const index = indexOf(text);
      if (index !== undefined) taken.add(index);
    },
    release(text) {
      const index = indexOf(text);
      if (index !== undefined) taken.delete(index);
    },
  };
}
