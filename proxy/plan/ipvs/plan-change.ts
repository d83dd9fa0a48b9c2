// The difference between what is there and what is wanted, as input of `ipset restore`, `ipvsadm -R` and `ip -batch`.
// New things come before old ones go, so that there is no moment without an endpoint.
import type { IpFamily } from '../../model/service-port.ts';
import type { ClaimChanges } from '../claim-ledger.ts';
import { kernelSetName } from './ip-sets.ts';
import { dummyInterface, type IpvsItem, type VirtualServer } from './rules.ts';

/** An endpoint that gets no new connections and goes when it has no old ones. */
export interface DrainingServer {
  service: string;
  realServer: string;
}

/** Applied in the order of the fields. */
export interface IpvsChange {
  entriesAdded: string[];
  servers: string[];
  addresses: string[];
  entriesRemoved: string[];
  /** Real servers that have weight 0 once this is applied. */
  draining: DrainingServer[];
}

function planServer(before: VirtualServer | undefined, after: VirtualServer, change: IpvsChange): void {
  const { service, options } = after;
  const { servers } = change;
  if (before === undefined) servers.push(`-A ${service} ${options}`);
  else if (before.options !== options) servers.push(`-E ${service} ${options}`);
  const existing = before?.realServers ?? new Map<string, number>();
  for (const [realServer, weight] of after.realServers) {
    const now = existing.get(realServer);
    if (now !== weight) servers.push(`${now === undefined ? '-a' : '-e'} ${service} -r ${realServer} -m -w ${weight}`);
  }
  for (const [realServer, weight] of existing) {
    if (after.realServers.has(realServer)) continue;
    // UDP has no connections to wait for: what is left of a flow is sent elsewhere with its next packet.
    if (service.startsWith('-u ')) {
      servers.push(`-d ${service} -r ${realServer}`);
      continue;
    }
    if (weight !== 0) servers.push(`-e ${service} -r ${realServer} -m -w 0`);
    change.draining.push({ service, realServer });
  }
}

function prefixLength(family: IpFamily): number {
  return family === 'IPv6' ? 128 : 32;
}

/** `removed` are things that are there; one that is in both lists is changed in place. */
export function planChange(family: IpFamily, { removed, added }: ClaimChanges<IpvsItem>): IpvsChange {
  const change: IpvsChange = { entriesAdded: [], servers: [], addresses: [], entriesRemoved: [], draining: [] };
  const before = new Map(removed.flatMap((item) => (item.kind === 'server' ? [[item.service, item] as const] : [])));
  for (const item of added) {
    switch (item.kind) {
      case 'entry':
        change.entriesAdded.push(`add ${kernelSetName(item.set, family)} ${item.entry}`);
        break;
      case 'server':
        planServer(before.get(item.service), item, change);
        before.delete(item.service);
        break;
      case 'address':
        change.addresses.push(`address replace ${item.address}/${prefixLength(family)} dev ${dummyInterface}`);
        break;
      default:
        item satisfies never;
    }
  }
  for (const item of removed) {
    if (item.kind === 'entry') change.entriesRemoved.push(`del ${kernelSetName(item.set, family)} ${item.entry}`);
    if (item.kind === 'server' && before.has(item.service)) change.servers.push(`-D ${item.service}`);
    if (item.kind === 'address') {
      change.addresses.push(`address del ${item.address}/${prefixLength(family)} dev ${dummyInterface}`);
    }
  }
  return change;
}
