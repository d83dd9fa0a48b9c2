// Removes the iptables chains of a mode and the jumps to them. Two modes share names of chains: those that another mode
// has filled by now are left to it.
import { isServiceChain } from '../plan/iptables/chain-names.ts';
import { type BasePlan, canaryChain, sharedChains } from '../plan/iptables/plan-base.ts';
import { formatRestore, tables } from '../plan/iptables/rule-set.ts';
import type { Table } from '../plan/iptables/rules.ts';
import type { Iptables } from './iptables.ts';

/** Chains and jumps of the mode that stays. */
export interface KeptChains {
  chains: Record<Table, ReadonlySet<string>>;
  /** `CHAIN RULE` of each jump from a chain of the kernel's. */
  entries: Record<Table, ReadonlySet<string>>;
}

/** What a mode with this plan wants to keep. */
export function computeKeptChains({ chains, entries }: BasePlan, shared: typeof sharedChains | undefined): KeptChains {
  const namesOf = (table: Table) => new Set([...chains[table].keys(), ...(shared?.[table] ?? [])]);
  const jumpsOf = (table: Table) =>
    new Set(entries.filter((entry) => entry.table === table).map(({ chain, rule }) => `${chain} ${rule}`));
  return {
    chains: { mangle: namesOf('mangle'), filter: namesOf('filter'), nat: namesOf('nat') },
    entries: { mangle: jumpsOf('mangle'), filter: jumpsOf('filter'), nat: jumpsOf('nat') },
  };
}

const namesOfIptablesMode = new Set([
  ...sharedChains.nat,
  ...sharedChains.filter,
  canaryChain,
  'KUBE-MARK-MASQ',
  'KUBE-POSTROUTING',
  'KUBE-FORWARD',
  'KUBE-FIREWALL',
]);

/** True for the chains of mode iptables. */
export function isChainOfIptablesMode(chain: string): boolean {
  return namesOfIptablesMode.has(chain) || isServiceChain(chain);
}

/** Removes every chain and rule of a mode, iptables where none is given, and nothing else. Safe to run when there is nothing. */
export async function cleanupIptables(
  iptables: Pick<Iptables, 'save' | 'restore'>,
  isOurs: (chain: string) => boolean = isChainOfIptablesMode,
  kept?: KeptChains,
): Promise<void> {
  const saved = await iptables.save();
  for (const table of tables) {
    const { chains } = saved[table];
    const ours = [...chains.keys()].filter(isOurs);
    if (ours.length === 0) continue;
    const gone = ours.filter((chain) => kept?.chains[table].has(chain) !== true);
    const jumps = [...chains].flatMap(([chain, rules]) => {
      // What the mode that stays has filled is its own, jumps and all.
      if (ours.includes(chain) || kept?.chains[table].has(chain) === true) return [];
      return rules
        .filter((rule) => ours.some((target) => rule.endsWith(`-j ${target}`)))
        .filter((rule) => kept?.entries[table].has(`${chain} ${rule}`) !== true)
        .map((rule) => `-D ${chain} ${rule}`);
    });
    const lines = [...gone.map((chain) => `:${chain} - [0:0]`), ...jumps, ...gone.map((chain) => `-X ${chain}`)];
    if (lines.length > 0) await iptables.restore(formatRestore([{ table, lines }]));
  }
}
