// Blocks of addresses with exceptions, as ranges that do not overlap. Pure.
import type { IPBlock } from '#kube/api/generated/networking-v1.ts';
import { cidrBounds, isCidr, numberToAddress } from '../model/cidr.ts';
import type { IpFamily } from '../model/service-port.ts';

interface Bounds {
  first: bigint;
  last: bigint;
}

/** What is left of ranges without one other range. */
function without(ranges: readonly Bounds[], { first, last }: Bounds): Bounds[] {
  return ranges.flatMap((range) => {
    if (last < range.first || first > range.last) return [range];
    const left = range.first < first ? [{ first: range.first, last: first - 1n }] : [];
    const right = range.last > last ? [{ first: last + 1n, last: range.last }] : [];
    return [...left, ...right];
  });
}

/** Ranges that touch or overlap become one. */
function merged(ranges: readonly Bounds[]): Bounds[] {
  const sorted = [...ranges].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const result: Bounds[] = [];
  for (const { first, last } of sorted) {
    const previous = result.at(-1);
    if (previous !== undefined && first <= previous.last + 1n) {
      if (last > previous.last) previous.last = last;
    } else result.push({ first, last });
  }
  return result;
}

const familyOf = (cidr: string): IpFamily => (cidr.includes(':') ? 'IPv6' : 'IPv4');

/** The addresses of one family in the blocks, as nft writes them: `FIRST-LAST`, or one address. */
export function planIpBlocks(blocks: readonly IPBlock[], family: IpFamily): string[] {
  const ranges = blocks
    .filter(({ cidr }) => isCidr(cidr) && familyOf(cidr) === family)
    .flatMap(({ cidr, except = [] }) => {
      const excepted = except.filter((range) => isCidr(range) && familyOf(range) === family).map(cidrBounds);
      return excepted.reduce<Bounds[]>(without, [cidrBounds(cidr)]);
    });
  return merged(ranges).map(({ first, last }) => {
    const from = numberToAddress(first, family);
    return first === last ? from : `${from}-${numberToAddress(last, family)}`;
  });
}
