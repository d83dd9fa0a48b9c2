// How traffic that comes from pods of this node is recognised (KubeProxyConfiguration.detectLocalMode).
import type { DetectLocal } from '../../model/detect-local.ts';
import { type IpFamily, isOfFamily } from '../../model/service-port.ts';

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
      return cidr === undefined ? undefined : { local: `-s ${cidr}`, notLocal: `! -s ${cidr}` };
    }
    case 'BridgeInterface':
      return { local: `-i ${detect.name}`, notLocal: `! -i ${detect.name}` };
    case 'InterfaceNamePrefix':
      return { local: `-i ${detect.prefix}+`, notLocal: `! -i ${detect.prefix}+` };
    default:
      return detect satisfies never;
  }
}
