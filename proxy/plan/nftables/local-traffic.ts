// Matches for traffic from pods of this node, in nftables' words.
import type { DetectLocal } from '../../model/detect-local.ts';
import { type IpFamily, isOfFamily } from '../../model/service-port.ts';
import { ipWord } from './rules.ts';

/** Matches for packets from local pods, and for all others. */
export interface LocalTraffic {
  local: string;
  notLocal: string;
}

/** The matches for one family; undefined when nothing is known of the pod network there. */
export function planLocalTraffic(detect: DetectLocal, family: IpFamily): LocalTraffic | undefined {
  switch (detect.mode) {
    case 'ClusterCIDR':
    case 'NodeCIDR': {
      const cidr = detect.cidrs.find((candidate) => isOfFamily(candidate, family));
      if (cidr === undefined) return undefined;
      const source = `${ipWord(family)} saddr`;
      return { local: `${source} ${cidr}`, notLocal: `${source} != ${cidr}` };
    }
    case 'BridgeInterface':
      return { local: `iifname "${detect.name}"`, notLocal: `iifname != "${detect.name}"` };
    case 'InterfaceNamePrefix':
      return { local: `iifname "${detect.prefix}*"`, notLocal: `iifname != "${detect.prefix}*"` };
    default:
      return detect satisfies never;
  }
}
