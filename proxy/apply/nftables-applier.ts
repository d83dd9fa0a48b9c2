// Keeps the kernel's nftables table of one family equal to the planned one: remembers what it last applied and
// sends only the difference. Chains that are no longer wanted are emptied first and deleted by a later sync.
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import { createClaimLedger } from '../plan/claim-ledger.ts';
import { type BasePlanOptions, planBase } from '../plan/nftables/plan-base.ts';
import { planService, type ServicePlanOptions } from '../plan/nftables/plan-service.ts';
import { type NftChange, planChainDeletion, planDelta, planFull } from '../plan/nftables/rule-set.ts';
import { elementClaims, type ServiceRules } from '../plan/nftables/rules.ts';
import { createAppliedPorts, isSafeAtStart, type PlannedChanges } from './applied-ports.ts';
import { createFullSyncs } from './full-syncs.ts';
import type { Nft } from './nft.ts';
import type { RuleApplier, ServiceState, SyncResult } from './rule-applier.ts';

/** How long an emptied chain stays: kernels before 6.2 count references for a moment after they are gone. */
const chainGraceMs = 1000;

export interface NftablesApplierOptions {
  /** Asked again for each full sync. */
  base(): BasePlanOptions;
  services: ServicePlanOptions;
}

/** Rules without which nothing works: the way in, and the map of services. */
const canaries = [
  ['nat-prerouting', 'jump services'],
  ['services', 'vmap @service-ips'],
] as const;

/** One applier per family. */
export function createNftablesApplier(
  nft: Nft,
  options: NftablesApplierOptions,
  clock: Clock,
  logger: Logger,
): RuleApplier {
  const applied = createAppliedPorts(({ port, endpoints }) => planService(port, endpoints, options.services), size);
  let ledger = createClaimLedger(elementClaims);
  /** Emptied chains by the time they were emptied. */
  const emptied = new Map<string, number>();
  const { family } = options.base();
  let mustRecreate = false;

  function expiredChains(): string[] {
    const nowMs = clock.monotonicMs();
    return [...emptied].filter(([, atMs]) => nowMs - atMs >= chainGraceMs).map(([chain]) => chain);
  }

  async function planFullChange(planned: PlannedChanges<ServiceRules>): Promise<NftChange> {
    ledger = createClaimLedger(elementClaims);
    const rules = [...planned.all()];
    const { added } = ledger.change(rules.map((after) => ({ after })));
    return planFull(family, planBase(options.base()), rules, added, await nft.leftovers(), mustRecreate);
  }

  async function syncAs(full: boolean, changed: ReadonlyMap<string, ServiceState>): Promise<SyncResult> {
    const planned = applied.plan(changed);
    const pairs = full ? [] : planned.pairs();
    const change = full ? await planFullChange(planned) : planDelta(family, pairs, ledger.change(pairs));
    // Until it is there: a full sync that failed may have met something that only a new table gets rid of.
    mustRecreate = full;
    const { conntrack } = planned;
    const back = new Set(pairs.flatMap(({ after }) => [...(after?.chains.keys() ?? [])]));
    const deleted = full ? [] : expiredChains().filter((chain) => !back.has(chain));
    const lines = change.lines.length === 0 ? [] : [...planChainDeletion(family, deleted), ...change.lines];
    if (lines.length > 0) {
      await nft.apply(lines);
      for (const chain of deleted) emptied.delete(chain);
    }
    if (full) emptied.clear();
    for (const chain of back) emptied.delete(chain);
    for (const chain of change.emptied) emptied.set(chain, clock.monotonicMs());
    planned.commit();
    mustRecreate = false;
    logger.debug({ family, full, lines: lines.length }, 'applied rules');
    return { full, lines: lines.length, conntrack: full ? conntrack.filter(isSafeAtStart) : conntrack };
  }

  return {
    ...createFullSyncs(syncAs),
    isIntact: async () => {
      for (const [chain, rule] of canaries) if (!(await nft.hasRule(chain, rule))) return false;
      const deleted = expiredChains();
      if (deleted.length === 0) return true;
      try {
        await nft.apply(planChainDeletion(family, deleted));
      } catch (error) {
        logger.warn({ err: error, family }, 'cannot delete chains that were emptied');
        return false;
      }
      for (const chain of deleted) emptied.delete(chain);
      return true;
    },
    get ruleCount() {
      return applied.total;
    },
  };
}

function size({ chains, items }: ServiceRules): number {
  return [...chains.values()].reduce((sum, rules) => sum + rules.length, items.length);
}
