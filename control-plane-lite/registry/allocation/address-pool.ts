// Addresses of the service network that are in use, of one family. Automatic ones come from the upper band of a range,
// so that the lower one stays free for those that users choose (KEP-3070).
import { randomInt } from 'node:crypto';
import {
  addressToNumber,
  bitsOf,
  familyOf,
  type IpFamily,
  numberToAddress,
  parseNetwork,
} from '#kube/api/ip-address.ts';

const minReserved = 16;
const maxReserved = 256;
/** Of a larger network only so many addresses are handed out. */
const maxCount = 2 ** 40;

export type AddressRefusal = 'outside' | 'taken';

interface Range {
  first: bigint;
  count: number;
}

/** The usable addresses: the first is the network's, and the last of IPv4 is for broadcasts. */
function parseRange(cidr: string, family: IpFamily): Range | undefined {
  const network = parseNetwork(cidr);
  if (network?.family !== family) return undefined;
  const size = 2 ** (bitsOf(family) - network.prefix);
  const count = Math.min(size - (family === 4 ? 2 : 1), maxCount);
  return count < 1 ? undefined : { first: network.base + 1n, count };
}

const isWithin = ({ first, count }: Range, value: bigint): boolean => value >= first && value < first + BigInt(count);

/** Networks of one family in CIDR form, first of all the one that a cluster begins with. */
export class AddressPool {
  readonly family: IpFamily;
  readonly cidr: string;
  readonly #primary: Range;
  #ranges: readonly Range[];
  readonly #taken = new Set<bigint>();
  readonly #reserved = new Set<bigint>();

  /** Throws RangeError for what is no network, or one of fewer than 14 addresses. */
  constructor(cidr: string) {
    const family = familyOf(cidr.split('/')[0] ?? '');
    const primary = family === undefined ? undefined : parseRange(cidr, family);
    if (family === undefined || primary === undefined || primary.count < 14) {
      throw new RangeError(`${cidr} is not a network of at least 14 addresses`);
    }
    this.family = family;
    this.cidr = cidr;
    this.#primary = primary;
    this.#ranges = [primary];
  }

  /** The n-th address of the first network, counted from 1. */
  nth(n: number): string {
    return this.#format(this.#primary.first + BigInt(n - 1));
  }

  /** From now on addresses come from these networks, in this order; those of the other family are left out. */
  setRanges(cidrs: readonly string[]): void {
    this.#ranges = cidrs.flatMap((cidr) => parseRange(cidr, this.family) ?? []);
  }

  /** Takes one address. Returns why not, or undefined. */
  take(address: string): AddressRefusal | undefined {
    const value = this.#parse(address);
    if (value === undefined || !this.#ranges.some((range) => isWithin(range, value))) return 'outside';
    if (this.#isUsed(value)) return 'taken';
    this.#taken.add(value);
    return undefined;
  }

  /** Notes that a service has the address, from whatever range. */
  hold(address: string): void {
    const value = this.#parse(address);
    if (value !== undefined) this.#taken.add(value);
  }

  /** Takes any free address, or returns undefined when there is none. */
  takeAny(): string | undefined {
    for (const range of this.#ranges) {
      const reserved = Math.min(Math.max(minReserved, Math.floor(range.count / 16)), maxReserved);
      const start = reserved < range.count ? reserved : 0;
      const found = this.#takeWithin(range, start, range.count) ?? this.#takeWithin(range, 0, start);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  release(address: string): void {
    const value = this.#parse(address);
    if (value !== undefined) this.#taken.delete(value);
  }

  /** Keeps an address from services: somebody else has it. */
  reserve(address: string): void {
    const value = this.#parse(address);
    if (value !== undefined) this.#reserved.add(value);
  }

  unreserve(address: string): void {
    const value = this.#parse(address);
    if (value !== undefined) this.#reserved.delete(value);
  }

  get taken(): number {
    return this.#taken.size;
  }

  #parse(address: string): bigint | undefined {
    return familyOf(address) === this.family ? addressToNumber(address) : undefined;
  }

  #format(value: bigint): string {
    return numberToAddress(value, this.family);
  }

  #isUsed(value: bigint): boolean {
    return this.#taken.has(value) || this.#reserved.has(value);
  }

  #takeWithin(range: Range, from: number, to: number): string | undefined {
    const span = to - from;
    if (span <= 0) return undefined;
    const offset = randomInt(span);
    for (let step = 0; step < span; step += 1) {
      const value = range.first + BigInt(from + ((offset + step) % span));
      if (this.#isUsed(value)) continue;
      this.#taken.add(value);
      return this.#format(value);
    }
    return undefined;
  }
}
