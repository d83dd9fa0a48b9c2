// A whole table as one transaction: our chains as planned, everybody else's as they are. iptables-restore without
// --noflush takes seconds for what takes it minutes chain by chain, because it does not look up what exists.
import { isServiceChain } from './chain-names.ts';
import type { EntryRule } from './plan-base.ts';

/** True when the table holds rules that iptables cannot express: then it must not be written as a whole. */
export function isIncompatible(savedText: string): boolean {
  return /incompatible/.test(savedText);
}

/**
 * Restore input for a table saved with counters. `lines` are our declarations and rules as for a restore that
 * keeps other chains; deletions in them are left out, because what is not named is gone anyway.
 */
export function planWholeTable(
  table: string,
  savedText: string,
  lines: readonly string[],
  entries: readonly EntryRule[],
): string {
  const ours = new Set(lines.flatMap((line) => (line.startsWith(':') ? [line.slice(1, line.indexOf(' '))] : [])));
  const isOurs = (chain: string): boolean => ours.has(chain) || isServiceChain(chain);
  const foreignChains: string[] = [];
  const foreignRules = new Map<string, string[]>();
  for (const line of savedText.split('\n')) {
    const declared = /^:(\S+)/.exec(line)?.[1];
    if (declared !== undefined && !isOurs(declared)) {
      foreignChains.push(line);
      foreignRules.set(declared, []);
    }
    const rule = /^(?:\[\d+:\d+\] )?-A (\S+) (.*)$/.exec(line);
    if (rule === null) continue;
    const target = / -[jg] (\S+)$/.exec(line)?.[1];
    if (target !== undefined && isOurs(target)) continue;
    foreignRules.get(rule[1] ?? '')?.push(line);
  }
  const own = entries.filter((entry) => entry.table === table);
  const wanted = (place: EntryRule['place'], chain: string) =>
    own.filter((entry) => entry.chain === chain && entry.place === place).map(({ rule }) => `-A ${chain} ${rule}`);
  const rules = [...foreignRules].flatMap(([chain, existing]) => [
    // A later entry is put in front of an earlier one, as repeated insertion would.
    ...wanted('first', chain).reverse(),
    ...existing,
    ...wanted('last', chain),
  ]);
  const declarations = lines.filter((line) => line.startsWith(':'));
  const fills = lines.filter((line) => line.startsWith('-A '));
  const wholeLines = [...foreignChains, ...declarations, ...rules, ...fills];
  return `*${table}\n${wholeLines.join('\n')}\nCOMMIT\n`;
}
