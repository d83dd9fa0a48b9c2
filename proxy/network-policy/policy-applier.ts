// Keeps the kernel's table of policies equal to the wanted one: remembers what it applied and sends the difference, as
// one transaction. The table is ours alone.
import { type Exec, ExecError, execOrThrow } from '#kube/process/exec.ts';
import {
  canary,
  type PolicyLeftovers,
  type PolicyPlace,
  planDifference,
  planWhole,
  policyTable,
} from './plan-table.ts';
import type { PolicySet, PolicyTable } from './policy-state.ts';

export interface PolicyApplier {
  /** Throws ExecError when the kernel refuses; the next is whole then. */
  apply(table: PolicyTable, place: PolicyPlace): Promise<{ lines: number }>;
  /** Deletes what was emptied by an earlier change: kernels count references for a moment after they are gone. */
  tidy(): Promise<void>;
  /** False when somebody removed our rules: the next change is whole then. */
  isIntact(): Promise<boolean>;
  /** Removes the table; safe where there is none. */
  remove(): Promise<void>;
}

const nothing: PolicyLeftovers = { chains: [], sets: [] };

interface ListedObject {
  table?: string;
  family?: string;
  name?: string;
}

/** Decodes `nft -j -t list table`. */
export function parseLeftovers(text: string): PolicyLeftovers {
  const { nftables } = JSON.parse(text) as { nftables?: Record<string, ListedObject>[] };
  const named = (kind: string): string[] =>
    (nftables ?? []).flatMap((entry) => (entry[kind]?.name === undefined ? [] : [entry[kind].name]));
  const sets = (['set', 'map'] as const).flatMap((kind) => named(kind).map((name) => ({ kind, name })));
  return { chains: named('chain'), sets };
}

function isMissing(stderr: string): boolean {
  return stderr.includes('No such file or directory');
}

/** What was applied must not change with what is known. */
function copyOf(before: PolicyTable | undefined, { isolated, chains, sets }: PolicyTable): PolicyTable {
  const copied = [...sets].map(([name, set]): [string, PolicySet] => {
    const old = before?.sets.get(name);
    return [name, old?.version === set.version ? old : { ...set, elements: new Map(set.elements) }];
  });
  return { isolated, chains, sets: new Map(copied) };
}

export function createPolicyApplier(exec: Exec): PolicyApplier {
  let applied: PolicyTable | undefined;
  /** What the rules that all packets come by were made of. */
  let hooks = '';
  let stale: string[] = [];
  let mustRecreate = false;

  async function leftovers(): Promise<PolicyLeftovers> {
    const args = ['-j', '-t', 'list', 'table', ...policyTable.split(' ')];
    const result = await exec('nft', args);
    if (result.exitCode === 0) return parseLeftovers(result.stdout);
    if (isMissing(result.stderr)) return nothing;
    throw new ExecError('nft', args, result);
  }

  async function run(lines: readonly string[]): Promise<void> {
    if (lines.length > 0) await execOrThrow(exec, 'nft', ['-f', '-'], { input: `${lines.join('\n')}\n` });
  }

  return {
    apply: async (table, place) => {
      const wantedHooks = JSON.stringify([place, table.isolated]);
      const known = wantedHooks === hooks ? applied : undefined;
      const change = known === undefined ? planWhole(table, place, await leftovers()) : planDifference(known, table);
      // A whole change that was refused may have met something that only a new table gets rid of.
      const anew =
        known === undefined && mustRecreate ? [`add table ${policyTable}`, `delete table ${policyTable}`] : [];
      applied = undefined;
      mustRecreate = known === undefined;
      await run([...anew, ...(anew.length > 0 ? planWhole(table, place, nothing).lines : change.lines)]);
      mustRecreate = false;
      applied = copyOf(known, table);
      hooks = wantedHooks;
      const wanted = new Set([...table.chains.keys(), ...table.sets.keys()]);
      const old = known === undefined ? [] : stale;
      stale = [...new Set([...old, ...change.stale])].filter((line) => !wanted.has(line.split(' ').at(-1) ?? ''));
      return { lines: change.lines.length };
    },
    tidy: async () => {
      if (stale.length === 0) return;
      await run(stale);
      stale = [];
    },
    isIntact: async () => {
      const result = await exec('nft', ['-t', 'list', 'chain', ...policyTable.split(' '), canary.chain]);
      const isThere = result.exitCode === 0 && result.stdout.includes(canary.rule);
      if (!isThere) applied = undefined;
      return isThere;
    },
    remove: async () => {
      applied = undefined;
      stale = [];
      await removePolicyTable(exec);
    },
  };
}

/** Removes the table and nothing else. Safe where there is none, and where nft is missing. */
export async function removePolicyTable(exec: Exec): Promise<void> {
  const args = ['delete', 'table', ...policyTable.split(' ')];
  const { exitCode } = await exec('nft', ['--version']).catch(() => ({ exitCode: 1 }));
  if (exitCode !== 0) return;
  const result = await exec('nft', args);
  if (result.exitCode !== 0 && !isMissing(result.stderr)) throw new ExecError('nft', args, result);
}
