// The modes a proxy can program rules in: what each needs, how it begins and how it leaves.
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import { createIptables } from './apply/iptables.ts';
import { cleanupIptables, createIptablesApplier } from './apply/iptables-applier.ts';
import { cleanupNftables, createNft } from './apply/nft.ts';
import { createNftablesApplier } from './apply/nftables-applier.ts';
import type { RuleApplier } from './apply/rule-applier.ts';
import { type ModeName, modeNames, type ProxyConfig } from './config/proxy-config.ts';
import type { DetectLocal } from './model/detect-local.ts';
import { computeNodePortAddresses, type LocalAddresses } from './model/node-port-addresses.ts';
import type { IpFamily } from './model/service-port.ts';
import * as iptables from './plan/iptables/local-traffic.ts';
import * as nftables from './plan/nftables/local-traffic.ts';
import { type BasePlanOptions, planBase } from './plan/nftables/plan-base.ts';
import { planFull } from './plan/nftables/rule-set.ts';

/** What rules depend on besides Services and the configuration. */
export interface NodeFacts {
  detectLocal: DetectLocal;
  addresses: LocalAddresses;
  /** May change while the proxy runs. */
  serviceCIDRs(): readonly string[];
}

export interface ProxyMode {
  name: ModeName;
  /** Why the mode cannot be used for a family here; undefined when it can. */
  refusal(family: IpFamily): Promise<string | undefined>;
  createApplier(family: IpFamily, node: NodeFacts): RuleApplier;
  /** Removes all rules of the mode. Safe to run when there are none, and where the mode cannot be used. */
  cleanup(family: IpFamily): Promise<void>;
}

export interface ModeDependencies {
  config: ProxyConfig;
  exec: Exec;
  clock: Clock;
  logger: Logger;
}

function createIptablesMode({ config, exec, logger }: ModeDependencies): ProxyMode {
  const { masqueradeBit, masqueradeAll, nodePortAddresses } = config.modes.iptables;
  const refusal = async (family: IpFamily): Promise<string | undefined> => {
    try {
      if (await createIptables(exec, family).isSupported()) return undefined;
      return 'iptables finds no nat table in the kernel';
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
  return {
    name: 'iptables',
    refusal,
    createApplier: (family, { detectLocal, addresses }) =>
      createIptablesApplier(
        createIptables(exec, family),
        {
          base: {
            family,
            masqueradeBit,
            randomFully: true,
            conntrackTcpBeLiberal: config.conntrack.tcpBeLiberal,
            localhostNodePorts: config.localhostNodePorts,
            nodePortAddresses: computeNodePortAddresses(nodePortAddresses, family, addresses),
          },
          services: {
            localTraffic: iptables.planLocalTraffic(detectLocal, family),
            masqueradeAll,
            nodeIPs: addresses.nodeIPs,
          },
        },
        logger,
      ),
    cleanup: async (family) => {
      if ((await refusal(family)) === undefined) await cleanupIptables(createIptables(exec, family));
    },
  };
}

function createNftablesMode({ config, exec, clock, logger }: ModeDependencies): ProxyMode {
  const { masqueradeBit, masqueradeAll, nodePortAddresses } = config.modes.nftables;
  const minimal = (family: IpFamily): BasePlanOptions => {
    return {
      family,
      masqueradeBit,
      masqueradeAll,
      localTraffic: undefined,
      nodePortAddresses: 'all',
      serviceCIDRs: [],
    };
  };
  const refusal = async (family: IpFamily): Promise<string | undefined> => {
    const nothing = { exists: false, chains: [], affinitySets: new Map(), containers: [] };
    const base = planBase(minimal(family));
    // The table's own name may be taken by one that was made differently.
    const { lines } = planFull(family, base, [], [], nothing, false);
    return await createNft(exec, family).refusal(
      lines.map((line) => line.replace(' kube-proxy {', ' kube-proxy-probe {')),
    );
  };
  return {
    name: 'nftables',
    refusal,
    createApplier: (family, { detectLocal, addresses, serviceCIDRs }) => {
      const localTraffic = nftables.planLocalTraffic(detectLocal, family);
      const fixed = {
        ...minimal(family),
        localTraffic,
        nodePortAddresses: computeNodePortAddresses(nodePortAddresses, family, addresses),
      };
      const options = {
        base: () => ({ ...fixed, serviceCIDRs: serviceCIDRs() }),
        services: { localTraffic, masqueradeBit, nodeIPs: addresses.nodeIPs },
      };
      return createNftablesApplier(createNft(exec, family), options, clock, logger);
    },
    cleanup: async (family) => {
      if ((await refusal(family)) === undefined) await cleanupNftables(createNft(exec, family), family);
    },
  };
}

export function createModes(dependencies: ModeDependencies): Record<ModeName, ProxyMode> {
  return { iptables: createIptablesMode(dependencies), nftables: createNftablesMode(dependencies) };
}

export interface ChosenMode {
  mode: ProxyMode;
  families: IpFamily[];
}

const bothFamilies = ['IPv4', 'IPv6'] as const;

/**
 * The mode of the configuration, or without one the first that works here, with the families it can serve.
 * Throws with one line that says which mode works when the wanted one does not.
 */
export async function chooseMode(
  modes: Record<ModeName, ProxyMode>,
  wanted: ModeName | undefined,
  logger: Logger,
): Promise<ChosenMode> {
  const refusals: string[] = [];
  for (const name of [...(wanted === undefined ? [] : [wanted]), ...modeNames]) {
    const mode = modes[name];
    const asked = await Promise.all(
      bothFamilies.map(async (family) => ({ family, refusal: await mode.refusal(family) })),
    );
    const families = asked.filter(({ refusal }) => refusal === undefined).map(({ family }) => family);
    const reason = asked.find(({ refusal }) => refusal !== undefined)?.refusal;
    if (families.length === 0) {
      refusals.push(`mode ${name} cannot be used here (${reason?.trim().split('\n')[0]})`);
      continue;
    }
    if (wanted !== undefined && name !== wanted) throw new Error(`${refusals[0]}: --proxy-mode=${name} can`);
    for (const { family, refusal } of asked) {
      if (refusal === undefined) continue;
      logger.warn(
        { mode: name, family, reason: refusal },
        'this family cannot be used here: its services are not proxied',
      );
    }
    return { mode, families };
  }
  throw new Error(`${refusals.join('; ')}: run as root on a kernel with nat for iptables or nftables`);
}
