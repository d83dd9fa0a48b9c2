// The tunnel to nodes that share no link with this one: one VXLAN device that learns nothing, because every node's place
// is known. Its neighbours and forwarding entries are kept equal to the plan.
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { familyOf } from './network-node.ts';
import { type VxlanPlan, vxlanDevice } from './plan-routes.ts';

export interface VxlanSettings {
  id: number;
  port: number;
}

/** The device as it is. */
export interface VxlanState {
  mac: string;
  local: string;
  id: number;
  port: number;
  mtu: number;
  isUp: boolean;
}

interface LinkEntry {
  ifname: string;
  mtu: number;
  address: string;
  flags: string[];
  linkinfo?: { info_kind?: string; info_data?: { id?: number; local?: string; local6?: string; port?: number } };
}

/** Decodes `ip -d -j link show`; undefined when the device is not there. */
export function parseVxlan(text: string): VxlanState | undefined {
  const entry = (JSON.parse(text.trim() || '[]') as LinkEntry[]).find(({ ifname }) => ifname === vxlanDevice);
  if (entry === undefined) return undefined;
  const { id = 0, port = 0, local, local6 } = entry.linkinfo?.info_data ?? {};
  const isUp = entry.flags.includes('UP');
  return { mac: entry.address, local: local ?? local6 ?? '', id, port, mtu: entry.mtu, isUp };
}

/** Arguments of ip(8), call by call, that make the device what the plan says. */
export function planDevice(plan: VxlanPlan, settings: VxlanSettings, actual: VxlanState | undefined): string[][] {
  const { mac, local, mtu } = plan;
  const { id, port } = settings;
  const fits = actual !== undefined && actual.local === local && actual.id === id && actual.port === port;
  const steps: string[][] = [];
  if (actual !== undefined && !fits) steps.push(['link', 'del', vxlanDevice]);
  if (!fits) {
    const type = ['type', 'vxlan', 'id', `${id}`, 'dstport', `${port}`, 'local', local, 'nolearning'];
    steps.push(['link', 'add', vxlanDevice, 'address', mac, 'mtu', `${mtu}`, ...type]);
    // It speaks to known addresses alone.
    steps.push(['link', 'set', vxlanDevice, 'addrgenmode', 'none']);
  } else if (actual.mac !== mac || actual.mtu !== mtu) {
    steps.push(['link', 'set', vxlanDevice, 'address', mac, 'mtu', `${mtu}`]);
  }
  if (!fits || !actual.isUp) steps.push(['link', 'set', vxlanDevice, 'up']);
  return steps;
}

/** One entry of a table: what is looked up, and what is found. */
export interface TableEntry {
  key: string;
  value: string;
}

interface NeighbourEntry {
  dst: string;
  lladdr?: string;
}

interface ForwardingEntry {
  mac: string;
  dst?: string;
}

export function parseNeighbours(text: string): TableEntry[] {
  return (JSON.parse(text.trim() || '[]') as NeighbourEntry[]).map(({ dst, lladdr = '' }) => ({
    key: dst,
    value: lladdr,
  }));
}

export function parseForwarding(text: string): TableEntry[] {
  return (JSON.parse(text.trim() || '[]') as ForwardingEntry[])
    .filter(({ dst }) => dst !== undefined)
    .map(({ mac, dst = '' }) => ({ key: mac, value: dst }));
}

/** Entries to delete and to write. */
export function planEntries(
  wanted: readonly TableEntry[],
  actual: readonly TableEntry[],
): { gone: TableEntry[]; changed: TableEntry[] } {
  const there = new Map(actual.map(({ key, value }) => [key, value]));
  const keys = new Set(wanted.map(({ key }) => key));
  return {
    gone: actual.filter(({ key }) => !keys.has(key)),
    changed: wanted.filter(({ key, value }) => there.get(key) !== value),
  };
}

async function applyAddresses(exec: Exec, wanted: readonly string[]): Promise<void> {
  const text = await execOrThrow(exec, 'ip', ['-j', 'address', 'show', 'dev', vxlanDevice]);
  const [entry] = JSON.parse(text) as { addr_info: { local: string; scope: string }[] }[];
  const actual = (entry?.addr_info ?? []).filter(({ scope }) => scope === 'global').map(({ local }) => local);
  const single = (address: string): string => `${address}/${familyOf(address) === 'IPv6' ? 128 : 32}`;
  for (const address of actual) {
    if (wanted.includes(address)) continue;
    await execOrThrow(exec, 'ip', ['address', 'del', single(address), 'dev', vxlanDevice]);
  }
  for (const address of wanted) {
    if (actual.includes(address)) continue;
    const nodad = familyOf(address) === 'IPv6' ? ['nodad'] : [];
    await execOrThrow(exec, 'ip', ['address', 'add', single(address), 'dev', vxlanDevice, ...nodad]);
  }
}

/** Makes device and entries what the plan says; nothing is touched that is right. Without a plan the device goes. */
export async function applyVxlan(exec: Exec, plan: VxlanPlan | undefined, settings: VxlanSettings): Promise<void> {
  const actual = parseVxlan(await execOrThrow(exec, 'ip', ['-d', '-j', 'link', 'show', 'type', 'vxlan']));
  if (plan === undefined) {
    if (actual !== undefined) await execOrThrow(exec, 'ip', ['link', 'del', vxlanDevice]);
    return;
  }
  for (const args of planDevice(plan, settings, actual)) await execOrThrow(exec, 'ip', args);
  await applyAddresses(exec, plan.addresses);
  const forwarding = planEntries(
    plan.peers.map(({ mac, remote }) => ({ key: mac, value: remote })),
    parseForwarding(await execOrThrow(exec, 'bridge', ['-j', 'fdb', 'show', 'dev', vxlanDevice])),
  );
  const forwardingLines = [
    ...forwarding.gone.map(({ key, value }) => `fdb del ${key} dev ${vxlanDevice} dst ${value} self`),
    ...forwarding.changed.map(({ key, value }) => `fdb replace ${key} dev ${vxlanDevice} dst ${value} self permanent`),
  ];
  if (forwardingLines.length > 0) {
    await execOrThrow(exec, 'bridge', ['-force', '-batch', '-'], { input: `${forwardingLines.join('\n')}\n` });
  }
  const neighbours = planEntries(
    plan.peers.flatMap(({ mac, gateways }) => gateways.map((key) => ({ key, value: mac }))),
    parseNeighbours(await execOrThrow(exec, 'ip', ['-j', 'neighbour', 'show', 'dev', vxlanDevice, 'nud', 'permanent'])),
  );
  const neighbourLines = [
    ...neighbours.gone.map(({ key }) => `neighbour del ${key} dev ${vxlanDevice}`),
    ...neighbours.changed.map(
      ({ key, value }) => `neighbour replace ${key} lladdr ${value} dev ${vxlanDevice} nud permanent`,
    ),
  ];
  if (neighbourLines.length > 0) {
    await execOrThrow(exec, 'ip', ['-force', '-batch', '-'], { input: `${neighbourLines.join('\n')}\n` });
  }
}
