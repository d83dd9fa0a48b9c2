// Mode iptables: kube-proxy's chains.
import { createIptables } from '../apply/iptables.ts';
import { createIptablesApplier } from '../apply/iptables-applier.ts';
import { cleanupIptables, computeKeptChains, isChainOfIptablesMode } from '../apply/iptables-cleanup.ts';
import { computeNodePortAddresses } from '../model/node-port-addresses.ts';
import type { IpFamily } from '../model/service-port.ts';
import { planLocalTraffic } from '../plan/iptables/local-traffic.ts';
import { type BasePlanOptions, planBase, sharedChains } from '../plan/iptables/plan-base.ts';
import { iptablesExec, iptablesRefusal, type ModeDependencies, type ProxyMode } from './proxy-mode.ts';

export function createIptablesMode(dependencies: ModeDependencies): ProxyMode {
  const { config, logger } = dependencies;
  const exec = iptablesExec(dependencies);
  const { masqueradeBit, masqueradeAll, nodePortAddresses } = config.modes.iptables;
  const base = (family: IpFamily): BasePlanOptions => ({
    family,
    masqueradeBit,
    randomFully: true,
    conntrackTcpBeLiberal: config.conntrack.tcpBeLiberal,
    localhostNodePorts: config.localhostNodePorts,
    nodePortAddresses: 'all',
  });
  return {
    name: 'iptables',
    refusal: (family) => iptablesRefusal(createIptables(exec, family)),
    keptChains: (family) => computeKeptChains(planBase(base(family)), sharedChains),
    createApplier: (family, { detectLocal, addresses }) =>
      createIptablesApplier(
        createIptables(exec, family),
        {
          base: {
            ...base(family),
            nodePortAddresses: computeNodePortAddresses(nodePortAddresses, family, addresses),
          },
          services: {
            localTraffic: planLocalTraffic(detectLocal, family),
            masqueradeAll,
            nodeIPs: addresses.nodeIPs,
          },
        },
        logger,
      ),
    cleanup: async (family, kept) => {
      const iptables = createIptables(exec, family);
      if ((await iptablesRefusal(iptables)) === undefined) await cleanupIptables(iptables, isChainOfIptablesMode, kept);
    },
  };
}
