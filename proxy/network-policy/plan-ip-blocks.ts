// Blocks of addresses with exceptions, as ranges that do not overlap. Pure.
import type { IPBlock } from '#kube/api/generated/networking-v1.ts';
import { bitsOf, numberToAddress, parseNetwork } from '#kube/api/ip-address.ts';
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

/** The addresses of a range of one family; none for what is no range, or of the other family. */
function boundsOf(cidr: string, family: 4 | 6): Bounds[] {
  const network = parseNetwork(cidr);
  if (network === undefined || network.family !== family) return [];
  const count = 1n << BigInt(bitsOf(family) - network.prefix);
  return [{ first: network.base, last: network.base + count - 1n }];
}

/** The addresses of one family in the blocks, as nft writes them: `FIRST-LAST`, or one address. */
export function planIpBlocks(blocks: readonly IPBlock[], family: IpFamily): string[] {
  const version = family === 'IPv4' ? 4 : 6;
  const ranges = blocks.flatMap(({ cidr, except = [] }) =>
    except.flatMap((range) => boundsOf(range, version)).reduce(without, boundsOf(cidr, version)),
  );
  return merged(ranges).map(({ first, last }) => {
    const from = numberToAddress(first, version);
    return first === last ? from : `${from}-${numberToAddress(last, version)}`;
  });
}
