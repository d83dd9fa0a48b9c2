// The table of policies as input of `nft -f`: whole, or the difference between two states of it. Pure.
import type { IpFamily } from '../model/service-port.ts';
import { comment, ipWord } from '../plan/nftables/rules.ts';
import { type Direction, directions } from './plan-policy.ts';
import { type PolicySet, type PolicyTable, wellKnown } from './policy-state.ts';

export const policyTable = 'inet berth-network-policy';
const families = ['IPv4', 'IPv6'] as const;

/** Chains on the way of forwarded packets, after addresses of services were translated and other filters have spoken. */
const hookPriority: Record<Direction, string> = { egress: 'filter + 10', ingress: 'filter + 11' };
const hookChain: Record<Direction, string> = { egress: 'egress-isolation', ingress: 'ingress-isolation' };

/** Something by which to see that the rules are still there. */
export const canary = { chain: hookChain.ingress, rule: `vmap @${wellKnown.verdicts('ingress', 'IPv4')}` };

/** What the table held before, of which nothing else is known. */
export interface PolicyLeftovers {
  chains: readonly string[];
  sets: readonly { name: string; kind: 'set' | 'map' }[];
}

function kindOf({ type }: PolicySet): 'set' | 'map' {
  return type.endsWith(': verdict') ? 'map' : 'set';
}

/** What rules take from the node. */
export interface PolicyPlace {
  /** The pod ranges of this node. */
  podCIDRs: readonly string[];
  /** That pods of this node hang on. */
  bridge: string;
}

/** Every interface has such an address, which no policy can name: by it pods of one bridge would reach each other. */
const linkLocal = 'fe80::/10';

/** Rules of the chains that packets come by. */
function planHooks({ isolated }: PolicyTable, { podCIDRs, bridge }: PolicyPlace): Map<string, string[]> {
  const rulesOf = (direction: Direction): string[] => {
    const side = direction === 'ingress' ? 'daddr' : 'saddr';
    const verdicts = families.map(
      (family) => `${ipWord(family)} ${side} vmap @${wellKnown.verdicts(direction, family)}`,
    );
    // A pod that nobody has told of yet may be one that is isolated: it waits until it is known.
    const unknown = (isolated.includes(direction) ? podCIDRs : []).map((cidr) => {
      const family: IpFamily = cidr.includes(':') ? 'IPv6' : 'IPv4';
      const address = `${ipWord(family)} ${side}`;
      return `${address} ${cidr} ${address} != @${wellKnown.known(family)} drop`;
    });
    return [
      'ct state established,related accept',
      // Pods of one bridge find each other, and join groups, by these.
      'icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept',
      'icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept',
      ...['saddr', 'daddr'].map((end) => `iifname "${bridge}" oifname "${bridge}" ip6 ${end} ${linkLocal} drop`),
      ...families.map((family) => {
        const ip = ipWord(family);
        return `${ip} saddr . ${ip} daddr @${wellKnown.self(family)} accept`;
      }),
      ...verdicts,
      ...unknown,
    ];
  };
  return new Map(directions.map((direction) => [hookChain[direction], rulesOf(direction)]));
}

function hookHeader(direction: Direction): string {
  return `{ type filter hook forward priority ${hookPriority[direction]}; policy accept; }`;
}

function formatElements(elements: Iterable<readonly [string, string]>): string {
  return [...elements].map(([key, value]) => (value === '' ? key : `${key} : ${value}`)).join(', ');
}

function addSet(name: string, set: PolicySet): string[] {
  const target = `${policyTable} ${name}`;
  return [
    `add ${kindOf(set)} ${target} { type ${set.type}; ${comment(set.comment)}; }`,
    `flush ${kindOf(set)} ${target}`,
  ];
}

function fill(name: string, elements: Iterable<readonly [string, string]>): string[] {
  const text = formatElements(elements);
  return text === '' ? [] : [`add element ${policyTable} ${name} { ${text} }`];
}

/** One transaction that makes the table what it should be, whatever it was. Returns what is left over, to be deleted. */
export function planWhole(
  table: PolicyTable,
  place: PolicyPlace,
  leftovers: PolicyLeftovers,
): { lines: string[]; stale: string[] } {
  const hooks = planHooks(table, place);
  const lines = [`add table ${policyTable}`, `flush table ${policyTable}`];
  const chains = [...table.chains, ...hooks];
  for (const { kind, name } of leftovers.sets) lines.push(`flush ${kind} ${policyTable} ${name}`);
  for (const [name, set] of table.sets) lines.push(...addSet(name, set));
  for (const [name] of table.chains) lines.push(`add chain ${policyTable} ${name}`);
  for (const direction of directions)
    lines.push(`add chain ${policyTable} ${hookChain[direction]} ${hookHeader(direction)}`);
  for (const [name, rules] of chains) for (const rule of rules) lines.push(`add rule ${policyTable} ${name} ${rule}`);
  for (const [name, { elements }] of table.sets) lines.push(...fill(name, elements));
  const kept = new Set([...chains.map(([name]) => name), ...table.sets.keys()]);
  const stale = [...leftovers.chains.map((name) => ({ kind: 'chain', name })), ...leftovers.sets].filter(
    ({ name }) => !kept.has(name),
  );
  return { lines, stale: stale.map(({ kind, name }) => `delete ${kind} ${policyTable} ${name}`) };
}

/** Elements that a set has to lose and to get. */
function compareElements(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>) {
  const gone = [...before].filter(([key, value]) => after.get(key) !== value).map(([key]) => key);
  const come = [...after].filter(([key, value]) => before.get(key) !== value);
  return { gone, come };
}

function sameRules(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((rule, i) => rule === b[i]);
}

/** The difference: sets and chains that did not change are not named. What is not wanted any more is to be deleted later. */
export function planDifference(before: PolicyTable, after: PolicyTable): { lines: string[]; stale: string[] } {
  const lines: string[] = [];
  const late: string[] = [];
  const stale: string[] = [];
  for (const [name, set] of after.sets) {
    const old = before.sets.get(name);
    if (old?.version === set.version) continue;
    if (old === undefined) {
      lines.push(...addSet(name, set), ...fill(name, set.elements));
      continue;
    }
    const { gone, come } = compareElements(old.elements, set.elements);
    // Verdicts name chains, which must be there first.
    const into = kindOf(set) === 'map' ? late : lines;
    if (gone.length > 0) into.push(`delete element ${policyTable} ${name} { ${gone.join(', ')} }`);
    into.push(...fill(name, come));
  }
  const filled = [...after.chains].filter(([name, rules]) => !sameRules(before.chains.get(name), rules));
  for (const [name] of filled) lines.push(`add chain ${policyTable} ${name}`, `flush chain ${policyTable} ${name}`);
  for (const [name, rules] of filled) for (const rule of rules) lines.push(`add rule ${policyTable} ${name} ${rule}`);
  lines.push(...late);
  for (const name of before.chains.keys()) {
    if (after.chains.has(name)) continue;
    lines.push(`flush chain ${policyTable} ${name}`);
    stale.push(`delete chain ${policyTable} ${name}`);
  }
  for (const [name, set] of before.sets) {
    if (!after.sets.has(name)) stale.push(`delete ${kindOf(set)} ${policyTable} ${name}`);
  }
  return { lines, stale };
}
