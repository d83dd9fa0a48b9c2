// The whole desired state of one family, kept by service port so that a change is found without
// planning everything again, and the difference between two states as iptables-restore input.
import { isServiceChain } from './chain-names.ts';
import { type BasePlan, type BasePlanOptions, nodePortRules, sharedChains } from './plan-base.ts';
import type { Chains, ServiceRules, Table } from './rules.ts';

export const tables: readonly Table[] = ['mangle', 'filter', 'nat'];

/** Lines for one table of iptables-restore, between `*table` and `COMMIT`. */
export interface TableChange {
  table: Table;
  /** Each holds a whole line, or several of one kind. */
  lines: string[];
  /** How many lines that is. */
  count: number;
}

/** Lines are joined in so large pieces: one string takes less memory than many. */
const linesInPiece = 500;

interface TableLines {
  declared: string[];
  pieces: string[];
  pending: string[];
  count: number;
}

function addLine(lines: TableLines, line: string): void {
  lines.count += 1;
  if (lines.pending.push(line) >= linesInPiece) endPiece(lines);
}

function endPiece(lines: TableLines): void {
  if (lines.pending.length > 0) lines.pieces.push(lines.pending.join('\n'));
  lines.pending = [];
}

function append(lines: string[], chain: string, rules: readonly string[]): void {
  for (const text of rules) lines.push(`-A ${chain} ${text}`);
}

/**
 * The complete content of our chains, declared (and so flushed) first. `stale` are service chains that
 * exist but are no longer wanted: they are flushed and deleted in the same transaction.
 */
export function planFull(
  base: BasePlan,
  options: BasePlanOptions,
  services: Iterable<ServiceRules>,
  stale: readonly string[],
): TableChange[] {
  const empty = (): TableLines => ({ declared: [], pieces: [], pending: [], count: 0 });
  const of: Record<Table, TableLines> = { mangle: empty(), filter: empty(), nat: empty() };
  const declare = (table: Table, chain: string): void => {
    of[table].declared.push(`:${chain} - [0:0]`);
    of[table].count += 1;
  };
  const fill = (table: Table, chain: string, rules: readonly string[]): void => {
    for (const text of rules) addLine(of[table], `-A ${chain} ${text}`);
  };
  for (const table of tables) {
    for (const [chain, rules] of base.chains[table]) {
      declare(table, chain);
      fill(table, chain, rules);
    }
    for (const chain of sharedChains[table]) declare(table, chain);
  }
  const wanted = new Set<string>();
  for (const { chains, shared } of services) {
    for (const [chain, rules] of chains) {
      wanted.add(chain);
      declare('nat', chain);
      fill('nat', chain, rules);
    }
    for (const { table, chain, rule } of shared) fill(table, chain, [rule]);
  }
  fill('nat', 'KUBE-SERVICES', nodePortRules(options));
  for (const table of tables) endPiece(of[table]);
  for (const chain of stale.filter((name) => isServiceChain(name) && !wanted.has(name))) {
    declare('nat', chain);
    of.nat.pieces.push(`-X ${chain}`);
    of.nat.count += 1;
  }
  return tables.map((table) => {
    const { declared, pieces, count } = of[table];
    return { table, lines: [...declared, ...pieces], count };
  });
}

function sameRules(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((text, i) => text === b[i]);
}

const none: ServiceRules = { chains: new Map(), shared: [] };

/** Chains that differ are declared again and filled; the others are not named. */
function changedChains(before: Chains, after: Chains): { declared: string[]; lines: string[]; deleted: string[] } {
  const declared: string[] = [];
  const lines: string[] = [];
  const deleted: string[] = [];
  for (const [chain, rules] of after) {
    if (sameRules(before.get(chain), rules)) continue;
    declared.push(`:${chain} - [0:0]`);
    append(lines, chain, rules);
  }
  for (const chain of before.keys()) {
    if (after.has(chain)) continue;
    declared.push(`:${chain} - [0:0]`);
    deleted.push(`-X ${chain}`);
  }
  return { declared, lines, deleted };
}

/**
 * The difference for the service ports that changed. New rules of shared chains are inserted at the top,
 * where their order does not matter; nothing unchanged is named. Empty when nothing differs.
 */
export function planDelta(changed: Iterable<{ before?: ServiceRules; after?: ServiceRules }>): TableChange[] {
  const inserts: Record<Table, string[]> = { mangle: [], filter: [], nat: [] };
  const removals: Record<Table, string[]> = { mangle: [], filter: [], nat: [] };
  const declared: string[] = [];
  const fills: string[] = [];
  const deleted: string[] = [];
  for (const { before = none, after = none } of changed) {
    const chains = changedChains(before.chains, after.chains);
    declared.push(...chains.declared);
    fills.push(...chains.lines);
    deleted.push(...chains.deleted);
    const line = ({ chain, rule }: ServiceRules['shared'][number]) => `${chain} ${rule}`;
    const old = new Set(before.shared.map((entry) => `${entry.table} ${line(entry)}`));
    const now = new Set(after.shared.map((entry) => `${entry.table} ${line(entry)}`));
    for (const entry of after.shared) {
      if (!old.has(`${entry.table} ${line(entry)}`)) inserts[entry.table].push(`-I ${line(entry)}`);
    }
    for (const entry of before.shared) {
      if (!now.has(`${entry.table} ${line(entry)}`)) removals[entry.table].push(`-D ${line(entry)}`);
    }
  }
  return tables
    .map((table) => ({
      table,
      lines: [
        ...(table === 'nat' ? [...declared, ...fills] : []),
        ...inserts[table],
        ...removals[table],
        ...(table === 'nat' ? deleted : []),
      ],
    }))
    .filter((change) => change.lines.length > 0)
    .map((change) => ({ ...change, count: change.lines.length }));
}

/** The text iptables-restore reads. */
export function formatRestore(changes: readonly Pick<TableChange, 'table' | 'lines'>[]): string {
  return changes.map(({ table, lines }) => `*${table}\n${lines.join('\n')}\nCOMMIT\n`).join('');
}
