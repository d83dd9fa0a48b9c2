// Mode nftables: a table of the proxy's own per family.
import { cleanupNftables, createNft } from '../apply/nft.ts';
import { createNftablesApplier } from '../apply/nftables-applier.ts';
import { computeNodePortAddresses } from '../model/node-port-addresses.ts';
import type { IpFamily } from '../model/service-port.ts';
import { planLocalTraffic } from '../plan/nftables/local-traffic.ts';
import { type BasePlanOptions, planBase } from '../plan/nftables/plan-base.ts';
import { planFull } from '../plan/nftables/rule-set.ts';
import type { ModeDependencies, ProxyMode } from './proxy-mode.ts';

export function createNftablesMode({ config, exec, clock, logger }: ModeDependencies): ProxyMode {
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
    keptChains: () => undefined,
    createApplier: (family, { detectLocal, addresses, serviceCIDRs }) => {
      const localTraffic = planLocalTraffic(detectLocal, family);
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
