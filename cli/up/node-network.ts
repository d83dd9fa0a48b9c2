// The links between nodes on one machine, and the kernel's settings for it: plans as data, then applied with ip(8).
// The network of pods is the proxies' work.
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { UsageError } from '#kube/process/flags.ts';
import { type ClusterLayout, type NodeLayout, nodeLinkPrefix, nodeLinkPrefixV6 } from './layout.ts';

export type Family = 'IPv4' | 'IPv6';
const versions: Record<Family, string> = { IPv4: '-4', IPv6: '-6' };
const inetNames: Record<Family, string> = { IPv4: 'inet', IPv6: 'inet6' };
const linkPrefixLengths: Record<Family, number> = { IPv4: 24, IPv6: 64 };

/** The families of a cluster's pods. */
export function familiesOf({ podCidrs }: Pick<ClusterLayout, 'podCidrs'>): Family[] {
  return podCidrs.some((cidr) => cidr.includes(':')) ? ['IPv4', 'IPv6'] : ['IPv4'];
}

export function linkAddress(index: number, family: Family = 'IPv4'): string {
  return family === 'IPv4' ? `${nodeLinkPrefix}.${index}` : `${nodeLinkPrefixV6}:${index.toString(16)}`;
}

function vethName(layout: ClusterLayout, index: number): string {
  return `${layout.instance.slice(0, 11)}-v${index}`;
}

/** Runs programs in a node's namespace. */
export function execInNode(exec: Exec, node: NodeLayout): Exec {
  if (node.netns === undefined) return exec;
  return (file, args, options) => exec('nsenter', [`--net=/run/netns/${node.netns}`, file, ...args], options);
}

/** Commands of ip(8) that join the nodes by a bridge in the first node's namespace. */
export function planNodeLinks(layout: ClusterLayout): { node: NodeLayout | undefined; args: string[] }[] {
  const bridge = layout.linkBridge;
  const families = familiesOf(layout);
  const addressing = (node: NodeLayout | undefined, index: number, device: string) =>
    families.map((family) => {
      const nodad = family === 'IPv6' ? ['nodad'] : [];
      const address = `${linkAddress(index, family)}/${linkPrefixLengths[family]}`;
      return { node, args: ['addr', 'replace', address, 'dev', device, ...nodad] };
    });
  const steps: { node: NodeLayout | undefined; args: string[] }[] = [
    { node: undefined, args: ['link', 'add', bridge, 'type', 'bridge'] },
    ...addressing(undefined, 1, bridge),
    { node: undefined, args: ['link', 'set', bridge, 'up'] },
  ];
  for (const node of layout.nodes.slice(1)) {
    const veth = vethName(layout, node.index);
    const netns = node.netns ?? '';
    steps.push(
      { node: undefined, args: ['netns', 'add', netns] },
      { node: undefined, args: ['link', 'add', veth, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns] },
      { node: undefined, args: ['link', 'set', veth, 'master', bridge, 'up'] },
      { node, args: ['link', 'set', 'lo', 'up'] },
      ...addressing(node, node.index, 'eth0'),
      { node, args: ['link', 'set', 'eth0', 'up'] },
      ...families.map((family) => ({ node, args: ['route', 'add', 'default', 'via', linkAddress(1, family)] })),
    );
  }
  return steps;
}

interface AddressEntry {
  ifname: string;
  addr_info?: { family: string; local: string; scope: string; temporary?: boolean }[];
}

/** True when packets to addresses elsewhere have a way out; cluster IPs need one to be looked at at all. */
export async function hasDefaultRoute(exec: Exec, family: Family): Promise<boolean> {
  return (await execOrThrow(exec, 'ip', [versions[family], 'route', 'show', 'default'])).trim() !== '';
}

/** Sends cluster IPs of a family to the bridge between nodes, for a machine without a default route. */
export async function applyServiceRoute(exec: Exec, layout: ClusterLayout, family: Family): Promise<void> {
  for (const cidr of layout.serviceCidrs.filter((range) => range.includes(':') === (family === 'IPv6')))
    await execOrThrow(exec, 'ip', ['route', 'replace', cidr, 'dev', layout.linkBridge]);
}

/** The first node's address in a family: of the interface with the default route, else the first global one. */
export async function findNodeAddress(
  exec: Exec,
  ignoredInterfaces: readonly string[],
  family: Family,
): Promise<string | undefined> {
  const version = versions[family];
  const routes = JSON.parse(await execOrThrow(exec, 'ip', ['-j', version, 'route', 'show', 'default'])) as {
    dev: string;
    prefsrc?: string;
  }[];
  const addresses = JSON.parse(await execOrThrow(exec, 'ip', ['-j', version, 'addr', 'show'])) as AddressEntry[];
  const usable = addresses.filter(({ ifname }) => !ignoredInterfaces.includes(ifname));
  const ordered = [...usable.filter(({ ifname }) => ifname === routes[0]?.dev), ...usable];
  return ordered
    .flatMap((entry) => entry.addr_info ?? [])
    .find((entry) => entry.family === inetNames[family] && entry.scope === 'global' && entry.temporary !== true)?.local;
}

/** Makes the links between nodes; what exists from an earlier run is kept. */
export async function applyNodeLinks(exec: Exec, layout: ClusterLayout): Promise<void> {
  for (const { node, args } of planNodeLinks(layout)) {
    const run = node === undefined ? exec : execInNode(exec, node);
    const result = await run('ip', args);
    if (result.exitCode !== 0 && !/File exists|already exists/.test(result.stderr)) {
      throw new Error(`ip ${args.join(' ')}: ${result.stderr.trim()}`);
    }
  }
}

export async function removeNodeLinks(exec: Exec, layout: ClusterLayout): Promise<void> {
  for (const node of layout.nodes.slice(1)) await exec('ip', ['netns', 'del', node.netns ?? '']);
  await exec('ip', ['link', 'del', layout.linkBridge]);
}

const linkChains = { nat: 'BERTH-LINKS-NAT', filter: 'BERTH-LINKS' } as const;
const kernelChains = { nat: 'POSTROUTING', filter: 'FORWARD' } as const;
const linkTables = ['nat', 'filter'] as const;
const programs: Record<Family, string> = { IPv4: 'iptables', IPv6: 'ip6tables' };

/** iptables-restore input: nodes in namespaces reach the world through the first, under its address. */
export function planLinkRules(layout: ClusterLayout, family: Family): string {
  const { nat, filter } = linkChains;
  const links = family === 'IPv4' ? `${nodeLinkPrefix}.0/24` : `${nodeLinkPrefixV6}:/64`;
  const inside = [links, ...layout.podCidrs.filter((cidr) => cidr.includes(':') === (family === 'IPv6'))];
  return [
    '*nat',
    `:${nat} - [0:0]`,
    ...inside.map((range) => `-A ${nat} -d ${range} -j RETURN`),
    `-A ${nat} -s ${links} -m comment --comment "nodes leaving the machine" -j MASQUERADE`,
    'COMMIT',
    '*filter',
    `:${filter} - [0:0]`,
    `-A ${filter} -s ${links} -m comment --comment "from nodes" -j ACCEPT`,
    `-A ${filter} -d ${links} -m comment --comment "to nodes" -j ACCEPT`,
    'COMMIT',
    '',
  ].join('\n');
}

/** Installs the rules in the first node's namespace; safe to run again. */
export async function applyLinkRules(exec: Exec, layout: ClusterLayout): Promise<void> {
  for (const family of familiesOf(layout)) {
    const program = programs[family];
    await execOrThrow(exec, `${program}-restore`, ['-w', '5', '--noflush'], { input: planLinkRules(layout, family) });
    for (const table of linkTables) {
      const rule = [kernelChains[table], '-j', linkChains[table]];
      const there = await exec(program, ['-w', '5', '-t', table, '-C', ...rule]);
      if (there.exitCode !== 0) await execOrThrow(exec, program, ['-w', '5', '-t', table, '-A', ...rule]);
    }
  }
}

export async function removeLinkRules(exec: Exec): Promise<void> {
  for (const program of Object.values(programs)) {
    for (const table of linkTables) {
      await exec(program, ['-w', '5', '-t', table, '-D', kernelChains[table], '-j', linkChains[table]]);
      for (const action of ['-F', '-X']) await exec(program, ['-w', '5', '-t', table, action, linkChains[table]]);
    }
  }
}

const sysctls: Record<Family, [string, string][]> = {
  IPv4: [
    ['/proc/sys/net/ipv4/ip_forward', '1'],
    ['/proc/sys/net/bridge/bridge-nf-call-iptables', '1'],
    ['/proc/sys/net/bridge/bridge-nf-call-ip6tables', '1'],
    ['/proc/sys/net/ipv4/conf/all/route_localnet', '1'],
  ],
  IPv6: [['/proc/sys/net/ipv6/conf/all/forwarding', '1']],
};

/** Sets what forwarding between pods needs; answers the values there were, so that they can be put back. */
export async function applySysctls(exec: Exec, families: readonly Family[]): Promise<Record<string, string>> {
  const bridgeFilter = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  if (!existsSync(bridgeFilter)) await exec('modprobe', ['br_netfilter']);
  if (!existsSync(bridgeFilter)) {
    throw new UsageError('the kernel cannot filter bridged traffic: load the module br_netfilter');
  }
  const before: Record<string, string> = {};
  for (const [path, value] of families.flatMap((family) => sysctls[family])) {
    before[path] = (await readFile(path, 'utf8')).trim();
    if (before[path] !== value) await writeFile(path, value);
  }
  return before;
}

export async function restoreSysctls(before: Record<string, string>): Promise<void> {
  for (const [path, value] of Object.entries(before)) if (existsSync(path)) await writeFile(path, value);
}
