// Keeps the kernel's iptables rules of one family equal to the planned ones: remembers what it last
// applied and sends only the difference; a full transaction runs at start and after reality differed.
import type { Logger } from 'pino';
import { isServiceChain } from '../plan/iptables/chain-names.ts';
import { type BasePlanOptions, canaryChain, planBase } from '../plan/iptables/plan-base.ts';
import { planService, type ServicePlanOptions } from '../plan/iptables/plan-service.ts';
import { formatRestore, planDelta, planFull, type TableChange, tables } from '../plan/iptables/rule-set.ts';
import type { ServiceRules, Table } from '../plan/iptables/rules.ts';
import { isIncompatible, planWholeTable } from '../plan/iptables/whole-table.ts';
import { createAppliedPorts, isSafeAtStart } from './applied-ports.ts';
import { createFullSyncs } from './full-syncs.ts';
import type { Iptables, SavedTable } from './iptables.ts';
import type { RuleApplier, ServiceState, SyncResult } from './rule-applier.ts';

/** Above this many lines a full sync of the nat table is written as a whole. */
const wholeTableLines = 2000;

export interface ApplierOptions {
  base: BasePlanOptions;
  services: ServicePlanOptions;
}

/** Entry rules that the kernel does not have yet, inserted in front of the rules of others. */
function missingEntries(base: ReturnType<typeof planBase>, saved: Record<Table, SavedTable>): Record<Table, string[]> {
  const lines: Record<Table, string[]> = { mangle: [], filter: [], nat: [] };
  for (const { table, chain, rule, place } of base.entries) {
    if (saved[table].chains.get(chain)?.includes(rule)) continue;
    lines[table].push(place === 'first' ? `-I ${chain} ${rule}` : `-A ${chain} ${rule}`);
  }
  return lines;
}

/** One applier per family. */
export function createIptablesApplier(iptables: Iptables, options: ApplierOptions, logger: Logger): RuleApplier {
  const base = planBase(options.base);
  const applied = createAppliedPorts(({ port, endpoints }) => planService(port, endpoints, options.services), size);

  async function planFullChanges(rules: Iterable<ServiceRules>): Promise<TableChange[]> {
    const saved = await iptables.save();
    const stale = [...saved.nat.chains.keys()].filter(isServiceChain);
    const entries = missingEntries(base, saved);
    const changes = planFull(base, options.base, rules, stale);
    const nat = changes.find(({ table }) => table === 'nat');
    if (nat !== undefined && nat.count > wholeTableLines && (await replaceWhole(nat, saved.nat.text))) {
      changes.splice(changes.indexOf(nat), 1);
    }
    return changes.map(({ table, lines, count }) => {
      // Entry rules come behind the chains they jump to.
      return { table, lines: [...lines, ...entries[table]], count: count + entries[table].length };
    });
  }

  /** False when the table cannot be written as a whole. */
  async function replaceWhole({ table, lines }: TableChange, saved: string): Promise<boolean> {
    if (isIncompatible(saved)) return false;
    await iptables.restoreWhole(planWholeTable(table, saved, lines, base.entries));
    return true;
  }

  async function syncAs(full: boolean, changed: ReadonlyMap<string, ServiceState>): Promise<SyncResult> {
    const planned = applied.plan(changed);
    const changes = full ? await planFullChanges(planned.all()) : planDelta(planned.pairs());
    const lines = changes.reduce((sum, { count }) => sum + count, 0);
    if (lines > 0) await iptables.restore(formatRestore(changes));
    planned.commit();
    logger.debug({ family: options.base.family, full, lines }, 'applied rules');
    const { conntrack } = planned;
    return { full, lines, conntrack: full ? conntrack.filter(isSafeAtStart) : conntrack };
  }

  return {
    ...createFullSyncs(syncAs),
    isIntact: async () => {
      for (const table of tables) if (!(await iptables.hasChain(table, canaryChain))) return false;
      return true;
    },
    get ruleCount() {
      return applied.total;
    },
  };
}

function size({ chains, shared }: ServiceRules): number {
  return [...chains.values()].reduce((sum, rules) => sum + rules.length, shared.length);
}
