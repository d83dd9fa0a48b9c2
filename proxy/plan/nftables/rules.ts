// Rules, sets and map elements as data, written as nft prints them, so that desired and actual can be compared.
import type { IpFamily } from '../../model/service-port.ts';
import type { ClaimTraits } from '../claim-ledger.ts';

export const tableName = 'kube-proxy';

/** One rule without the chain it is in. */
export type Rule = string;

/** The sets and maps that services share. */
export type Container =
  | 'cluster-ips'
  | 'nodeport-ips'
  | 'hairpin-connections'
  | 'no-endpoint-services'
  | 'no-endpoint-nodeports'
  | 'firewall-ips'
  | 'service-ips'
  | 'service-nodeports';

/** What an element carries besides its key; nothing in a set. */
export interface ElementValue {
  verdict?: string;
  comment?: string;
}

/** One element of a set or map. */
export interface Element {
  container: Container;
  key: string;
  value: ElementValue;
}

/** What one service port needs. */
export interface ServiceRules {
  /** Names the port among those that may claim the same element. */
  owner: string;
  chains: Map<string, Rule[]>;
  /** Sets of clients by endpoint, with the seconds a client stays in them. */
  affinitySets: Map<string, number>;
  items: Element[];
}

/** By what two ports may want the same element. */
export const elementClaims: ClaimTraits<Element> = {
  identity: ({ container, key }) => `${container} ${key}`,
  isSame: (a, b) => a.value.verdict === b.value.verdict && a.value.comment === b.value.comment,
};

/** The family as nft writes it, in tables and in matches. */
export function ipWord(family: IpFamily): 'ip' | 'ip6' {
  return family === 'IPv6' ? 'ip6' : 'ip';
}

export function addressType(family: IpFamily): 'ipv4_addr' | 'ipv6_addr' {
  return family === 'IPv6' ? 'ipv6_addr' : 'ipv4_addr';
}

/** nft takes comments of 128 bytes. */
export function comment(text: string): string {
  return `comment "${text.slice(0, 127)}"`;
}

export function formatElement({ key, value }: Element): string {
  const text = value.comment === undefined ? key : `${key} ${comment(value.comment)}`;
  return value.verdict === undefined ? text : `${text} : ${value.verdict}`;
}
