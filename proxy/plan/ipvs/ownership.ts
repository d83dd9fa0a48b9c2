// Which virtual servers of the kernel are the proxy's: those at addresses of services, and those at node ports that it
// has noted in its sets. All others belong to somebody else and are not touched.
import { isInRanges } from '../../model/cidr.ts';
import type { ClaimChanges } from '../claim-ledger.ts';
import type { IpSetName } from './ip-sets.ts';
import { type IpvsItem, ipvsClaims, parseServiceArgument, type VirtualServer } from './rules.ts';

/** What the kernel has for one family. */
export interface KernelState {
  servers: readonly VirtualServer[];
  /** On the dummy interface. */
  addresses: ReadonlySet<string>;
  /** Of the sets that are there. */
  entries: ReadonlyMap<IpSetName, ReadonlySet<string>>;
}

/** True when the proxy made the virtual server, now or in an earlier life. */
export function isOwn({ service }: VirtualServer, state: KernelState, excludeCIDRs: readonly string[]): boolean {
  const parsed = parseServiceArgument(service);
  if (parsed === undefined || isInRanges(parsed.address, excludeCIDRs)) return false;
  const { address, port, protocol } = parsed;
  const has = (set: IpSetName, entry: string): boolean => state.entries.get(set)?.has(entry) ?? false;
  if (state.addresses.has(address) || has('IPVS-IPS', address)) return true;
  const entry = `${address},${protocol.toLowerCase()}:${port}`;
  const byAddress = ['LOAD-BALANCER', 'EXTERNAL-IP', 'EXTERNAL-IP-LOCAL', 'NODE-PORT-SCTP-HASH'] as const;
  if (byAddress.some((set) => has(set, entry))) return true;
  if (protocol === 'SCTP') return false;
  return has(protocol === 'TCP' ? 'NODE-PORT-TCP' : 'NODE-PORT-UDP', `${port}`);
}

/** Everything of the proxy's that the kernel has. */
export function ownItems(state: KernelState, excludeCIDRs: readonly string[]): IpvsItem[] {
  const servers = state.servers.filter((server) => isOwn(server, state, excludeCIDRs));
  return [
    ...servers,
    ...[...state.addresses].map((address): IpvsItem => ({ kind: 'address', address })),
    ...[...state.entries].flatMap(([set, entries]) =>
      [...entries].map((entry): IpvsItem => ({ kind: 'entry', set, entry })),
    ),
  ];
}

/** What turns the kernel's state into the wanted one. */
export function compareWithKernel(
  state: KernelState,
  wanted: readonly IpvsItem[],
  excludeCIDRs: readonly string[],
): ClaimChanges<IpvsItem> {
  const rest = new Map(ownItems(state, excludeCIDRs).map((item) => [ipvsClaims.identity(item), item]));
  // Somebody else's virtual server where one of ours must be is taken over.
  const others = new Map(state.servers.map((server) => [server.service, server]));
  const changes: ClaimChanges<IpvsItem> = { removed: [], added: [] };
  for (const item of wanted) {
    const id = ipvsClaims.identity(item);
    const existing = rest.get(id) ?? (item.kind === 'server' ? others.get(item.service) : undefined);
    rest.delete(id);
    if (existing !== undefined && ipvsClaims.isSame(existing, item)) continue;
    if (existing !== undefined) changes.removed.push(existing);
    changes.added.push(item);
  }
  changes.removed.push(...rest.values());
  return changes;
}
