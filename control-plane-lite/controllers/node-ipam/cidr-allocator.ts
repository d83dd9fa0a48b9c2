// Hands out equal ranges of an address range: node pod ranges of the cluster's. Pure arithmetic on IPv4 and IPv6.
import { bitsOf, formatNetwork, type IpNetwork, parseNetwork } from '#kube/api/ip-address.ts';

/** Throws RangeError for what is no network. */
function networkOf(cidr: string): IpNetwork {
  const network = parseNetwork(cidr);
  if (network === undefined) throw new RangeError(`${cidr} is not an address range`);
  return network;
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
  const range = networkOf(cidr);
  const { family } = range;
  const prefix = nodePrefix ?? (family === 4 ? 24 : 64);
  if (prefix < range.prefix) throw new RangeError(`${cidr} is smaller than one node's range of /${prefix}`);
  const step = BigInt(bitsOf(family) - prefix);
  const total = 1n << BigInt(Math.min(prefix - range.prefix, 20));
  const taken = new Set<bigint>();
  let next = 0n;

  function indexOf(text: string): bigint | undefined {
    const other = networkOf(text);
    if (other.family !== family || other.prefix !== prefix) return undefined;
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
        return formatNetwork({ family, base: range.base + (index << step), prefix });
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
