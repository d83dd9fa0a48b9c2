// Keeps the kernel's virtual servers, sets and addresses of one family equal to the planned ones: remembers what it
// last applied and sends only the difference. A full sync compares with what the kernel has; the iptables chains are
// written by it alone, last, so that the rules of another mode serve until ipvs can.
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import { type ClaimLedger, createClaimLedger } from '../plan/claim-ledger.ts';
import { formatRestore, type TableChange, tables } from '../plan/iptables/rule-set.ts';
import { compareWithKernel, ownItems } from '../plan/ipvs/ownership.ts';
import { type BasePlanOptions, planBase } from '../plan/ipvs/plan-base.ts';
import { type DrainingServer, type IpvsChange, planChange } from '../plan/ipvs/plan-change.ts';
import { planService, type ServicePlanOptions } from '../plan/ipvs/plan-service.ts';
import { type IpvsItem, ipvsClaims } from '../plan/ipvs/rules.ts';
import { createAppliedPorts, isSafeAtStart } from './applied-ports.ts';
import { createFullSyncs } from './full-syncs.ts';
import type { Iptables } from './iptables.ts';
import { cleanupIptables, type KeptChains } from './iptables-cleanup.ts';
import type { Ipvs, IpvsTimeouts } from './ipvs.ts';
import type { RuleApplier, ServiceState, SyncResult } from './rule-applier.ts';

/** How long a real server without new connections is kept for its old ones. */
const drainLimitMs = 15 * 60_000;

export interface IpvsApplierOptions {
  base: BasePlanOptions;
  services: ServicePlanOptions;
  strictArp: boolean;
  timeouts: IpvsTimeouts;
  /** Virtual servers at these addresses are somebody else's. */
  excludeCIDRs: readonly string[];
}

/** Chains without which nothing works. */
const canaries = [
  ['nat', 'KUBE-SERVICES'],
  ['nat', 'KUBE-POSTROUTING'],
  ['filter', 'KUBE-IPVS-FILTER'],
] as const;

const noChange = (): IpvsChange => ({
  entriesAdded: [],
  servers: [],
  addresses: [],
  entriesRemoved: [],
  draining: [],
});

function keyOf({ service, realServer }: DrainingServer): string {
  return `${service} ${realServer}`;
}

/** One applier per family. */
export function createIpvsApplier(
  ipvs: Ipvs,
  iptables: Iptables,
  options: IpvsApplierOptions,
  clock: Clock,
  logger: Logger,
): RuleApplier {
  const { family } = options.base;
  const base = planBase(options.base);
  const applied = createAppliedPorts(
    ({ port, endpoints }) => planService(port, endpoints, options.services),
    ({ items }) => items.length,
  );
  let ledger: ClaimLedger<IpvsItem> = createClaimLedger(ipvsClaims);
  /** Real servers with weight 0, with the time since when. */
  const draining = new Map<string, DrainingServer & { sinceMs: number }>();

  async function writeChains(): Promise<void> {
    const changes: Pick<TableChange, 'table' | 'lines'>[] = [];
    const saved = await iptables.save();
    for (const table of tables) {
      const chains = [...base.chains[table]];
      const missing = base.entries.filter(
        (entry) => entry.table === table && !saved[table].chains.get(entry.chain)?.includes(entry.rule),
      );
      changes.push({
        table,
        lines: [
          ...chains.map(([chain]) => `:${chain} - [0:0]`),
          ...chains.flatMap(([chain, rules]) => rules.map((rule) => `-A ${chain} ${rule}`)),
          ...missing.map(({ chain, rule }) => `-I ${chain} ${rule}`),
        ],
      });
    }
    await iptables.restore(formatRestore(changes));
  }

  /** What goes is what the kernel has: real servers that are being drained are still there. */
  function withDraining(item: IpvsItem): IpvsItem {
    if (item.kind !== 'server' || draining.size === 0) return item;
    const weights = new Map(item.realServers);
    for (const { service, realServer } of draining.values()) {
      if (service === item.service) weights.set(realServer, 0);
    }
    return { ...item, realServers: weights };
  }

  function noteDraining(change: IpvsChange, touched: readonly IpvsItem[]): void {
    const services = new Set(touched.flatMap((item) => (item.kind === 'server' ? [item.service] : [])));
    const wanted = new Map(change.draining.map((server) => [keyOf(server), server]));
    for (const [key, { service }] of draining) if (services.has(service) && !wanted.has(key)) draining.delete(key);
    const sinceMs = clock.monotonicMs();
    for (const [key, server] of wanted)
      draining.set(key, { sinceMs: draining.get(key)?.sinceMs ?? sinceMs, ...server });
  }

  async function syncAs(full: boolean, changed: ReadonlyMap<string, ServiceState>): Promise<SyncResult> {
    const planned = applied.plan(changed);
    let changes = full ? undefined : ledger.change(planned.pairs());
    if (changes === undefined) {
      await ipvs.prepare(options);
      ledger = createClaimLedger(ipvsClaims);
      for (const after of planned.all()) ledger.change([{ after }]);
      changes = compareWithKernel(await ipvs.read(), ledger.held(), options.excludeCIDRs);
    }
    const change = planChange(family, { removed: changes.removed.map(withDraining), added: changes.added });
    await ipvs.apply(change);
    if (full) await writeChains();
    noteDraining(change, [...changes.removed, ...changes.added]);
    planned.commit();
    const lines =
      change.entriesAdded.length + change.servers.length + change.addresses.length + change.entriesRemoved.length;
    logger.debug({ family, full, lines }, 'applied rules');
    const { conntrack } = planned;
    return { full, lines, conntrack: full ? conntrack.filter(isSafeAtStart) : conntrack };
  }

  return {
    ...createFullSyncs(syncAs),
    isIntact: async () => {
      if (!(await ipvs.hasDummyInterface())) return false;
      for (const [table, chain] of canaries) if (!(await iptables.hasChain(table, chain))) return false;
      return true;
    },
    tidy: async () => {
      if (draining.size === 0) return false;
      const servers = [...draining.values()];
      const nowMs = clock.monotonicMs();
      const late = servers.filter(({ sinceMs }) => nowMs - sinceMs >= drainLimitMs);
      const gone = new Map([...(await ipvs.idle(servers)), ...late].map((server) => [keyOf(server), server]));
      const lines = [...gone.values()].map(({ service, realServer }) => `-d ${service} -r ${realServer}`);
      await ipvs.apply({ ...noChange(), servers: lines });
      for (const key of gone.keys()) draining.delete(key);
      return draining.size > 0;
    },
    get ruleCount() {
      return applied.total;
    },
  };
}

/** Removes what is the proxy's of one family, and nothing else. Safe to run when there is nothing. */
export async function cleanupIpvs(
  ipvs: Ipvs,
  iptables: Iptables,
  base: BasePlanOptions,
  excludeCIDRs: readonly string[],
  kept?: KeptChains,
): Promise<void> {
  // Made first and removed last. Without it there is nothing, and asking ipvs would load its modules.
  if (!(await ipvs.hasDummyInterface())) return;
  const removed = ownItems(await ipvs.read(), excludeCIDRs).filter(({ kind }) => kind !== 'entry');
  await ipvs.apply(planChange(base.family, { removed, added: [] }));
  const chains = new Set(tables.flatMap((table) => [...planBase(base).chains[table].keys()]));
  await cleanupIptables(iptables, (chain) => chains.has(chain), kept);
  await ipvs.destroy();
}
