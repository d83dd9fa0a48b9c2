// The whole table of one family, and the difference between two states of services, as input of `nft -f`.
import type { IpFamily } from '../../model/service-port.ts';
import type { ClaimChanges } from '../claim-ledger.ts';
import { type BasePlan, tableComment } from './plan-base.ts';
import { addressType, comment, type Element, formatElement, ipWord, type ServiceRules, tableName } from './rules.ts';

/** What the kernel has of an earlier proxy that must go or be fitted. */
export interface Leftovers {
  /** True when the table is there at all. */
  exists: boolean;
  chains: readonly string[];
  /** Sets of clients with the seconds a client stays in them. */
  affinitySets: ReadonlyMap<string, number>;
  containers: readonly string[];
}

export interface NftChange {
  /** Lines for `nft -f`; none when nothing differs. */
  lines: string[];
  /** Chains that are empty now and unreferenced: to be deleted a moment later (older kernels refuse it at once). */
  emptied: string[];
}

function byContainer(elements: readonly Element[]): Map<string, Element[]> {
  const groups = new Map<string, Element[]>();
  for (const element of elements) {
    const group = groups.get(element.container);
    if (group === undefined) groups.set(element.container, [element]);
    else group.push(element);
  }
  return groups;
}

function affinitySet(family: IpFamily, seconds: number): string {
  return `{ type ${addressType(family)}; size 65535; flags dynamic,timeout; timeout ${seconds}s; }`;
}

/** The complete table as a block. What is in it must have been flushed before. */
function formatTable(
  family: IpFamily,
  base: BasePlan,
  services: readonly ServiceRules[],
  elements: readonly Element[],
): string[] {
  const lines = [`table ${ipWord(family)} ${tableName} {`, ` ${comment(tableComment)}`];
  const groups = byContainer(elements);
  for (const [name, container] of base.containers) {
    const content = [...container.elements, ...(groups.get(name) ?? []).map(formatElement)];
    lines.push(` ${container.kind} ${name} {`, `  type ${container.type}`, `  ${comment(container.comment)}`);
    if (content.length > 0) lines.push(`  elements = { ${content.join(', ')} }`);
    lines.push(' }');
  }
  for (const { affinitySets } of services) {
    for (const [name, seconds] of affinitySets) lines.push(` set ${name} ${affinitySet(family, seconds)}`);
  }
  const chain = (name: string, rules: readonly string[]): void => {
    lines.push(` chain ${name} {`, ...rules.map((rule) => `  ${rule}`), ' }');
  };
  for (const [name, rules] of base.chains) chain(name, rules);
  for (const { chains } of services) for (const [name, rules] of chains) chain(name, rules);
  lines.push('}');
  return lines;
}

/**
 * One transaction that makes the table what it should be. What clients stick to survives; with `recreate` the table
 * is deleted first, for one that was made in a way that cannot be fitted.
 */
export function planFull(
  family: IpFamily,
  base: BasePlan,
  services: readonly ServiceRules[],
  elements: readonly Element[],
  leftovers: Leftovers,
  recreate: boolean,
): NftChange {
  const table = `${ipWord(family)} ${tableName}`;
  const block = formatTable(family, base, services, elements);
  if (!leftovers.exists) return { lines: block, emptied: [] };
  if (recreate) return { lines: [`delete table ${table}`, ...block], emptied: [] };
  const lines = [`flush table ${table}`];
  for (const [name, { kind }] of base.containers) {
    if (leftovers.containers.includes(name)) lines.push(`flush ${kind} ${table} ${name}`);
  }
  const wantedSets = new Map(services.flatMap(({ affinitySets }) => [...affinitySets]));
  for (const [name, seconds] of leftovers.affinitySets) {
    if (wantedSets.get(name) !== seconds) lines.push(`delete set ${table} ${name}`);
  }
  const wanted = new Set(services.flatMap(({ chains }) => [...chains.keys()]));
  return { lines: [...lines, ...block], emptied: leftovers.chains.filter((chain) => !wanted.has(chain)) };
}

function sameRules(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((text, i) => text === b[i]);
}

/** The difference for the service ports that changed; nothing unchanged is named. */
export function planDelta(
  family: IpFamily,
  changed: readonly { before?: ServiceRules; after?: ServiceRules }[],
  elements: ClaimChanges<Element>,
): NftChange {
  const table = `${ipWord(family)} ${tableName}`;
  // A chain may change hands between two ports of a renamed service: what counts is what all ports have together.
  const before = new Map(changed.flatMap((pair) => [...(pair.before?.chains ?? [])]));
  const after = new Map(changed.flatMap((pair) => [...(pair.after?.chains ?? [])]));
  const setsBefore = new Map(changed.flatMap((pair) => [...(pair.before?.affinitySets ?? [])]));
  const setsAfter = new Map(changed.flatMap((pair) => [...(pair.after?.affinitySets ?? [])]));
  const lines: string[] = [];
  const emptied: string[] = [];
  for (const [container, group] of byContainer(elements.removed)) {
    lines.push(`delete element ${table} ${container} { ${group.map(({ key }) => key).join(', ')} }`);
  }
  const filled = [...after].filter(([name, rules]) => !sameRules(before.get(name), rules));
  for (const [name] of filled) lines.push(`add chain ${table} ${name}`, `flush chain ${table} ${name}`);
  for (const name of before.keys()) {
    if (after.has(name)) continue;
    lines.push(`flush chain ${table} ${name}`);
    emptied.push(name);
  }
  const staleSets = [...setsBefore].filter(([name, seconds]) => setsAfter.get(name) !== seconds);
  if (staleSets.some(([name]) => setsAfter.has(name))) {
    // A set whose time changed is made anew, so that rules which name it must be, too.
    for (const [name, rules] of after) {
      if (!sameRules(before.get(name), rules) || !usesAny(rules, staleSets)) continue;
      lines.push(`flush chain ${table} ${name}`);
      filled.push([name, rules]);
    }
  }
  for (const [name] of staleSets) lines.push(`delete set ${table} ${name}`);
  for (const [name, seconds] of setsAfter) {
    if (setsBefore.get(name) !== seconds) lines.push(`add set ${table} ${name} ${affinitySet(family, seconds)}`);
  }
  for (const [name, rules] of filled) for (const rule of rules) lines.push(`add rule ${table} ${name} ${rule}`);
  for (const [container, group] of byContainer(elements.added)) {
    lines.push(`add element ${table} ${container} { ${group.map(formatElement).join(', ')} }`);
  }
  return { lines, emptied };
}

function usesAny(rules: readonly string[], sets: readonly [string, number][]): boolean {
  return rules.some((rule) => sets.some(([name]) => rule.includes(`@${name} `)));
}

/** Deletes chains that were emptied before. */
export function planChainDeletion(family: IpFamily, chains: Iterable<string>): string[] {
  return [...chains].map((chain) => `delete chain ${ipWord(family)} ${tableName} ${chain}`);
}
