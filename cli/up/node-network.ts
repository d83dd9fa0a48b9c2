// The links between nodes on one machine, and the kernel's settings for it: plans as data, then applied with ip(8).
// The network of pods is the proxies' work.
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { UsageError } from '#kube/process/flags.ts';
import { type ClusterLayout, type NodeLayout, nodeLinkPrefix, serviceCidr } from './layout.ts';

const linkPrefixLength = 24;

export function linkAddress(index: number): string {
  return `${nodeLinkPrefix}.${index}`;
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
  const steps: { node: NodeLayout | undefined; args: string[] }[] = [
    { node: undefined, args: ['link', 'add', bridge, 'type', 'bridge'] },
    { node: undefined, args: ['addr', 'replace', `${linkAddress(1)}/${linkPrefixLength}`, 'dev', bridge] },
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
      { node, args: ['addr', 'replace', `${linkAddress(node.index)}/${linkPrefixLength}`, 'dev', 'eth0'] },
      { node, args: ['link', 'set', 'eth0', 'up'] },
      { node, args: ['route', 'add', 'default', 'via', linkAddress(1)] },
    );
  }
  return steps;
}

interface AddressEntry {
  ifname: string;
  addr_info: { family: string; local: string; scope: string }[];
}

/** True when packets to addresses elsewhere have a way out; cluster IPs need one to be looked at at all. */
export async function hasDefaultRoute(exec: Exec): Promise<boolean> {
  return (await execOrThrow(exec, 'ip', ['-4', 'route', 'show', 'default'])).trim() !== '';
}

/** Sends cluster IPs to the bridge between nodes, for a machine without a default route. */
export async function applyServiceRoute(exec: Exec, layout: ClusterLayout): Promise<void> {
  await execOrThrow(exec, 'ip', ['route', 'replace', serviceCidr, 'dev', layout.linkBridge]);
}

/** The first node's address: of the interface with the default route, else the first global one. */
export async function findNodeAddress(exec: Exec, ignoredInterfaces: readonly string[]): Promise<string | undefined> {
  const routes = JSON.parse(await execOrThrow(exec, 'ip', ['-j', '-4', 'route', 'show', 'default'])) as {
    dev: string;
    prefsrc?: string;
  }[];
  const addresses = JSON.parse(await execOrThrow(exec, 'ip', ['-j', '-4', 'addr', 'show'])) as AddressEntry[];
  const usable = addresses.filter(({ ifname }) => !ignoredInterfaces.includes(ifname));
  const ordered = [...usable.filter(({ ifname }) => ifname === routes[0]?.dev), ...usable];
  return ordered
    .flatMap((entry) => entry.addr_info)
    .find(({ family, scope }) => family === 'inet' && scope === 'global')?.local;
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

const sysctls: [string, string][] = [
  ['/proc/sys/net/ipv4/ip_forward', '1'],
  ['/proc/sys/net/bridge/bridge-nf-call-iptables', '1'],
  ['/proc/sys/net/ipv4/conf/all/route_localnet', '1'],
];

/** Sets what forwarding between pods needs; answers the values there were, so that they can be put back. */
export async function applySysctls(exec: Exec): Promise<Record<string, string>> {
  const bridgeFilter = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  if (!existsSync(bridgeFilter)) await exec('modprobe', ['br_netfilter']);
  if (!existsSync(bridgeFilter)) {
    throw new UsageError('the kernel cannot filter bridged traffic: load the module br_netfilter');
  }
  const before: Record<string, string> = {};
  for (const [path, value] of sysctls) {
    before[path] = (await readFile(path, 'utf8')).trim();
    if (before[path] !== value) await writeFile(path, value);
  }
  return before;
}

export async function restoreSysctls(before: Record<string, string>): Promise<void> {
  for (const [path, value] of Object.entries(before)) if (existsSync(path)) await writeFile(path, value);
}
