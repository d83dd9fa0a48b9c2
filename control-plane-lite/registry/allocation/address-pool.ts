// Addresses of the service network that are in use. Automatic ones come from the upper band of a range, so that the
// lower one stays free for those that users choose (KEP-3070).
import { randomInt } from 'node:crypto';

const minReserved = 16;
const maxReserved = 256;

function toNumber(address: string): number | undefined {
  const parts = address.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

const toAddress = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');

export type AddressRefusal = 'outside' | 'taken';

interface Range {
  cidr: string;
  first: number;
  count: number;
}

function parseRange(cidr: string): Range | undefined {
  const [address = '', bits = ''] = cidr.split('/');
  const base = toNumber(address);
  const length = Number(bits);
  if (base === undefined || !/^\d+$/.test(bits) || length < 8 || length > 30) return undefined;
  const size = 2 ** (32 - length);
  return { cidr, first: Math.floor(base / size) * size + 1, count: size - 2 };
}

const isWithin = ({ first, count }: Range, value: number): boolean => value >= first && value < first + count;

/** IPv4 networks in CIDR form, first of all the one that a cluster begins with. Throws when that is none. */
export class AddressPool {
  readonly cidr: string;
  readonly #primary: Range;
  #ranges: readonly Range[];
  readonly #taken = new Set<number>();
  readonly #reserved = new Set<number>();

  constructor(cidr: string) {
    const primary = parseRange(cidr);
    if (primary === undefined || primary.count < 14) {
      throw new Error(`${cidr} is not an IPv4 network with a prefix of 8 to 28 bits`);
    }
    this.cidr = cidr;
    this.#primary = primary;
    this.#ranges = [primary];
  }

  /** The n-th address of the first network, counted from 1. */
  nth(n: number): string {
    return toAddress(this.#primary.first + n - 1);
  }

  /** From now on addresses come from these networks, in this order; those of IPv6 and too small ones are left out. */
  setRanges(cidrs: readonly string[]): void {
    this.#ranges = cidrs.flatMap((cidr) => parseRange(cidr) ?? []);
  }

  /** Takes one address. Returns why not, or undefined. */
  take(address: string): AddressRefusal | undefined {
    const value = toNumber(address);
    if (value === undefined || !this.#ranges.some((range) => isWithin(range, value))) return 'outside';
    if (this.#isUsed(value)) return 'taken';
    this.#taken.add(value);
    return undefined;
  }

  /** Notes that a service has the address, from whatever range. */
  hold(address: string): void {
    const value = toNumber(address);
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
    const value = toNumber(address);
    if (value !== undefined) this.#taken.delete(value);
  }

  /** Keeps an address from services: somebody else has it. */
  reserve(address: string): void {
    const value = toNumber(address);
    if (value !== undefined) this.#reserved.add(value);
  }

  unreserve(address: string): void {
    const value = toNumber(address);
    if (value !== undefined) this.#reserved.delete(value);
  }

  get taken(): number {
    return this.#taken.size;
  }

  #isUsed(value: number): boolean {
    return this.#taken.has(value) || this.#reserved.has(value);
  }

  #takeWithin(range: Range, from: number, to: number): string | undefined {
    const span = to - from;
    if (span <= 0) return undefined;
    const offset = randomInt(span);
    for (let step = 0; step < span; step += 1) {
      const value = range.first + from + ((offset + step) % span);
      if (this.#isUsed(value)) continue;
      this.#taken.add(value);
      return toAddress(value);
    }
    return undefined;
  }
}
