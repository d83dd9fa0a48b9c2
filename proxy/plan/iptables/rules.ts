// Rules as data. Each rule is written exactly as iptables-save prints it, so that desired and actual
// rules can be compared as text.

export type Table = 'nat' | 'filter' | 'mangle';

/** One rule without its `-A CHAIN`. */
export type Rule = string;

/** Chains of one table and the rules in each, in order. */
export type Chains = Map<string, Rule[]>;

/** A rule in a chain that many services share; its place among its peers does not matter. */
export interface SharedRule {
  table: Table;
  chain: string;
  rule: Rule;
}

/** What one service port needs: chains of its own in nat, and rules in shared chains. */
export interface ServiceRules {
  chains: Chains;
  shared: SharedRule[];
}

export function comment(text: string): string {
  return `-m comment --comment ${JSON.stringify(text)}`;
}

/** Joins the parts that are there. */
export function rule(...parts: (string | false | undefined)[]): Rule {
  return parts.filter((part) => part !== false && part !== undefined && part !== '').join(' ');
}

/** An address with its full prefix length, as iptables prints it. */
export function host(address: string): string {
  return address.includes(':') ? `${address}/128` : `${address}/32`;
}
