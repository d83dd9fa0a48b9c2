// Mode ipvs: virtual servers of the kernel's load balancer, with iptables chains and IP sets around them.
import { isIP } from 'node:net';
import { createIptables } from '../apply/iptables.ts';
import { computeKeptChains } from '../apply/iptables-cleanup.ts';
import { createIpvs } from '../apply/ipvs.ts';
import { cleanupIpvs, createIpvsApplier } from '../apply/ipvs-applier.ts';
import { isInRanges } from '../model/cidr.ts';
import { computeNodePortAddresses, type LocalAddresses } from '../model/node-port-addresses.ts';
import { type IpFamily, isOfFamily } from '../model/service-port.ts';
import { planLocalTraffic } from '../plan/iptables/local-traffic.ts';
import { type BasePlanOptions, planBase } from '../plan/ipvs/plan-base.ts';
import { iptablesExec, iptablesRefusal, type ModeDependencies, type ProxyMode } from './proxy-mode.ts';

/** Every node has these: a virtual server at them would be reached by nobody else. */
const loopback: Record<IpFamily, readonly string[]> = {
  IPv4: ['127.0.0.0/8'],
  IPv6: ['::1/128', 'fe80::/10'],
};

/** Addresses that take node ports: ipvs needs a virtual server at each. */
export function computeIpvsNodePortAddresses(
  configured: readonly string[],
  family: IpFamily,
  addresses: LocalAddresses,
): string[] {
  const taken = computeNodePortAddresses(configured, family, addresses);
  const all = taken === 'all' ? addresses.interfaces.filter((address) => isOfFamily(address, family)) : taken;
  return [...new Set(all)].filter((address) => isIP(address) !== 0 && !isInRanges(address, loopback[family]));
}

export function createIpvsMode(dependencies: ModeDependencies): ProxyMode {
  const { config, clock, logger } = dependencies;
  const exec = iptablesExec(dependencies);
  const { masqueradeBit, masqueradeAll, nodePortAddresses } = config.modes.ipvs;
  const { scheduler, strictArp, excludeCIDRs, timeouts } = config.ipvs;
  const base = (family: IpFamily): BasePlanOptions => ({
    family,
    masqueradeBit,
    masqueradeAll,
    randomFully: true,
    localTraffic: undefined,
  });
  const excluded = (family: IpFamily) => excludeCIDRs.filter((range) => isOfFamily(range, family));
  return {
    name: 'ipvs',
    keptChains: (family) => computeKeptChains(planBase(base(family)), undefined),
    refusal: async (family) =>
      (await createIpvs(exec, family).refusal(scheduler)) ?? (await iptablesRefusal(createIptables(exec, family))),
    prepare: (family) => createIpvs(exec, family).prepare({ strictArp, timeouts }),
    createApplier: (family, { detectLocal, addresses }) =>
      createIpvsApplier(
        createIpvs(exec, family),
        createIptables(exec, family),
        {
          base: { ...base(family), localTraffic: planLocalTraffic(detectLocal, family) },
          services: {
            scheduler,
            nodePortAddresses: computeIpvsNodePortAddresses(nodePortAddresses, family, addresses),
            ownAddresses: new Set(addresses.interfaces),
            nodeIPs: addresses.nodeIPs,
          },
          strictArp,
          timeouts,
          excludeCIDRs: excluded(family),
        },
        clock,
        logger,
      ),
    cleanup: async (family, kept) => {
      await cleanupIpvs(createIpvs(exec, family), createIptables(exec, family), base(family), excluded(family), kept);
    },
  };
}
