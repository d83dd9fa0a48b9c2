// The ranges of an address pool: `192.0.2.10-192.0.2.20`, `192.0.2.32/28`, `2001:db8::10-2001:db8::ff`, one address.
import {
  addressToNumber,
  bitsOf,
  familyOf,
  type IpFamily,
  numberToAddress,
  parseNetwork,
} from '#kube/api/ip-address.ts';
import { UsageError } from '#kube/process/flags.ts';

export interface AddressRange {
  family: IpFamily;
  first: bigint;
  last: bigint;
}

/** Of a network of IPv4 the first and last address are the network's own, unless there are only two. */
function networkRange(text: string): AddressRange | undefined {
  const network = parseNetwork(text);
  if (network === undefined) return undefined;
  const { family, base, prefix } = network;
  const last = base + (1n << BigInt(bitsOf(family) - prefix)) - 1n;
  return family === 4 && prefix < 31 ? { family, first: base + 1n, last: last - 1n } : { family, first: base, last };
}

function plainRange(text: string): AddressRange | undefined {
  const [from = '', to = from, ...more] = text.split('-').map((part) => part.trim());
  const family = familyOf(from);
  const [first, last] = [addressToNumber(from), addressToNumber(to)];
  if (family === undefined || familyOf(to) !== family || more.length > 0) return undefined;
  if (first === undefined || last === undefined || first > last) return undefined;
  return { family, first, last };
}

/** Throws UsageError for what is no range, and for ranges that overlap. */
export function parseAddressRanges(texts: readonly string[]): AddressRange[] {
  const ranges = texts.map((text) => {
    const range = text.includes('/') ? networkRange(text.trim()) : plainRange(text);
    if (range !== undefined) return range;
    throw new UsageError(
      `--load-balancer-pool takes ranges such as 192.0.2.10-192.0.2.20 or 192.0.2.32/28, not "${text}"`,
    );
  });
  for (const [index, range] of ranges.entries()) {
    const other = ranges.findIndex(
      ({ family, first, last }) => family === range.family && first <= range.last && last >= range.first,
    );
    if (other !== index) {
      throw new UsageError(`--load-balancer-pool: ${texts[other]} and ${texts[index]} have addresses in common`);
    }
  }
  return ranges;
}

/** Whether an address is in one of the ranges. */
export function rangesContain(ranges: readonly AddressRange[], address: string): boolean {
  const value = addressToNumber(address);
  if (value === undefined) return false;
  return ranges.some(({ family, first, last }) => family === familyOf(address) && value >= first && value <= last);
}

/** The addresses of a family in their order. */
export function* addressesOf(ranges: readonly AddressRange[], wanted: IpFamily): Generator<string> {
  for (const { family, first, last } of ranges) {
    if (family !== wanted) continue;
    for (let value = first; value <= last; value += 1n) yield numberToAddress(value, family);
  }
}

/** The pool in words, for messages: `192.0.2.10-192.0.2.20`. */
export function describeRanges(ranges: readonly AddressRange[], wanted: IpFamily): string {
  return ranges
    .filter(({ family }) => family === wanted)
    .map(({ family, first, last }) => `${numberToAddress(first, family)}-${numberToAddress(last, family)}`)
    .join(', ');
}
