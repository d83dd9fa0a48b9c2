// The IP sets of mode ipvs, under kube-proxy's names and with its parameters, so that a node can change hands.
import type { IpFamily, Protocol } from '../../model/service-port.ts';

export type IpSetType = 'hash:ip' | 'hash:ip,port' | 'hash:ip,port,ip' | 'hash:ip,port,net' | 'bitmap:port';

/** Sets by what they are for; their names in the kernel depend on the family. */
export const ipSetTypes = {
  'LOOP-BACK': 'hash:ip,port,ip',
  'CLUSTER-IP': 'hash:ip,port',
  'EXTERNAL-IP': 'hash:ip,port',
  'EXTERNAL-IP-LOCAL': 'hash:ip,port',
  'LOAD-BALANCER': 'hash:ip,port',
  'LOAD-BALANCER-LOCAL': 'hash:ip,port',
  'LOAD-BALANCER-FW': 'hash:ip,port',
  'LOAD-BALANCER-SOURCE-IP': 'hash:ip,port,ip',
  'LOAD-BALANCER-SOURCE-CIDR': 'hash:ip,port,net',
  'NODE-PORT-TCP': 'bitmap:port',
  'NODE-PORT-LOCAL-TCP': 'bitmap:port',
  'NODE-PORT-UDP': 'bitmap:port',
  'NODE-PORT-LOCAL-UDP': 'bitmap:port',
  'NODE-PORT-SCTP-HASH': 'hash:ip,port',
  'NODE-PORT-LOCAL-SCTP-HASH': 'hash:ip,port',
  'HEALTH-CHECK-NODE-PORT': 'bitmap:port',
  'IPVS-IPS': 'hash:ip',
  // Berth's own: where a local policy finds no endpoint on this node.
  'NO-LOCAL-INTERNAL': 'hash:ip,port',
  'NO-LOCAL-EXTERNAL': 'hash:ip,port',
} as const satisfies Record<string, IpSetType>;

export type IpSetName = keyof typeof ipSetTypes;
export const ipSetNames = Object.keys(ipSetTypes) as IpSetName[];

/** The kernel takes names of 31 characters. */
const maxNameLength = 31;

/** The name of a set in the kernel. */
export function kernelSetName(set: IpSetName, family: IpFamily): string {
  return family === 'IPv6' ? `KUBE-6-${set}`.slice(0, maxNameLength) : `KUBE-${set}`;
}

/** A line of `ipset restore` that makes a set where it is not there yet. */
export function createSetLine(set: IpSetName, family: IpFamily): string {
  const name = kernelSetName(set, family);
  const type = ipSetTypes[set];
  if (type === 'bitmap:port') return `create ${name} bitmap:port range 0-65535`;
  return `create ${name} ${type} family ${family === 'IPv6' ? 'inet6' : 'inet'} hashsize 1024 maxelem 65536`;
}

/** The sets that node ports of a protocol are in, the second one for the local policy. */
export function nodePortSets(protocol: Protocol): [IpSetName, IpSetName] {
  switch (protocol) {
    case 'TCP':
      return ['NODE-PORT-TCP', 'NODE-PORT-LOCAL-TCP'];
    case 'UDP':
      return ['NODE-PORT-UDP', 'NODE-PORT-LOCAL-UDP'];
    case 'SCTP':
      return ['NODE-PORT-SCTP-HASH', 'NODE-PORT-LOCAL-SCTP-HASH'];
    default:
      return protocol satisfies never;
  }
}
