// Addresses of the service network that are in use. Automatic ones come from the upper band, so that the lower one
// stays free for those that users choose (KEP-3070).
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

/** One IPv4 network in CIDR form. Throws for anything else. */
export class AddressPool {
  readonly cidr: string;
  readonly #first: number;
  readonly #count: number;
  readonly #taken = new Set<number>();

  constructor(cidr: string) {
    const [address = '', bits = ''] = cidr.split('/');
    const base = toNumber(address);
    const length = Number(bits);
    if (base === undefined || !/^\d+$/.test(bits) || length < 8 || length > 28) {
      throw new Error(`${cidr} is not an IPv4 network with a prefix of 8 to 28 bits`);
    }
    this.cidr = cidr;
    const size = 2 ** (32 - length);
    this.#first = Math.floor(base / size) * size + 1;
    this.#count = size - 2;
  }

  /** The n-th address of the network, counted from 1. */
  nth(n: number): string {
    return toAddress(this.#first + n - 1);
  }

  /** Takes one address. Returns why not, or undefined. */
  take(address: string): AddressRefusal | undefined {
    const value = toNumber(address);
    if (value === undefined || value < this.#first || value >= this.#first + this.#count) return 'outside';
    if (this.#taken.has(value)) return 'taken';
    this.#taken.add(value);
    return undefined;
  }

  /** Takes any free address, or returns undefined when there is none. */
  takeAny(): string | undefined {
    const reserved = Math.min(Math.max(minReserved, Math.floor(this.#count / 16)), maxReserved);
    const start = reserved < this.#count ? reserved : 0;
    return this.#takeWithin(start, this.#count) ?? this.#takeWithin(0, start);
  }

  release(address: string): void {
    const value = toNumber(address);
    if (value !== undefined) this.#taken.delete(value);
  }

  get taken(): number {
    return this.#taken.size;
  }

  #takeWithin(from: number, to: number): string | undefined {
    const span = to - from;
    if (span <= 0) return undefined;
    const offset = randomInt(span);
    for (let step = 0; step < span; step += 1) {
      const value = this.#first + from + ((offset + step) % span);
      if (this.#taken.has(value)) continue;
      this.#taken.add(value);
      return toAddress(value);
    }
    return undefined;
  }
}
