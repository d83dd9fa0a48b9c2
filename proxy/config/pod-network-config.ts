// What berth adds to kube-proxy's work on a node: the network of its pods, and the policies for it. Off by default.
import { isIP } from 'node:net';
import { type FlagDefinition, type FlagValue, UsageError } from '#kube/process/flags.ts';

/** Settings of the pod network of a node. */
export interface PodNetworkConfig {
  /** Ranges of all pods: what leaves them is masqueraded. */
  clusterCIDRs: string[];
  cniConfDir: string;
  /** Where the programs of CNI are looked for, in this order. */
  cniBinDirs: string[];
  /** Where addresses that were given out are remembered. */
  ipamDir: string;
  bridge: string;
  /** Of pods; undefined: the link's to the other nodes, less what tunnels need. */
  mtu: number | undefined;
  vxlanId: number;
  vxlanPort: number;
}

/** Flags that kube-proxy does not have; they count beside a configuration file. */
export const podNetworkFlags: readonly FlagDefinition[] = [
  { name: 'pod-network', type: 'boolean', description: 'make the network of the pods of this node; berth only' },
  { name: 'network-policy', type: 'boolean', description: 'enforce NetworkPolicy for pods of this node; berth only' },
  {
    name: 'pod-network-cni-conf-dir',
    type: 'string',
    description: 'where the runtime reads CNI configuration, /etc/cni/net.d where absent',
  },
  {
    name: 'pod-network-cni-bin-dirs',
    type: 'list',
    description: 'where programs of CNI are looked for, /opt/cni/bin and /usr/lib/cni where absent',
  },
  {
    name: 'pod-network-ipam-dir',
    type: 'string',
    description: 'where given addresses are remembered, /var/lib/cni/networks where absent',
  },
  { name: 'pod-network-bridge', type: 'string', description: 'bridge that pods hang on, berth0 where absent' },
  { name: 'pod-network-mtu', type: 'int', description: 'MTU of pods; found where absent or 0' },
  { name: 'pod-network-vxlan-id', type: 'int', description: 'network identifier of tunnels, 1 where absent' },
  { name: 'pod-network-vxlan-port', type: 'int', description: 'UDP port of tunnels, 8472 where absent' },
];

type Flags = Readonly<Record<string, FlagValue>>;

function textOf(flags: Flags, name: string, fallback: string): string {
  return String(flags[name] || fallback);
}

function numberOf(flags: Flags, name: string, fallback: number, least: number, most: number): number {
  const value = Number(flags[name] ?? fallback);
  if (value < least || value > most) {
    throw new UsageError(`--${name} takes a number from ${least} to ${most}, not ${value}`);
  }
  return value;
}

/** The settings whether they are used or not, so that a clean-up knows the names. Throws UsageError. */
export function decodePodNetwork(flags: Flags, clusterCIDRs: readonly string[]): PodNetworkConfig {
  const bridge = textOf(flags, 'pod-network-bridge', 'berth0');
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/.test(bridge)) {
    throw new UsageError(`--pod-network-bridge takes the name of an interface, not "${bridge}"`);
  }
  const mtu = numberOf(flags, 'pod-network-mtu', 0, 0, 65_535);
  if (mtu !== 0 && mtu < 1280) throw new UsageError(`--pod-network-mtu takes 1280 or more, not ${mtu}`);
  const binDirs = flags['pod-network-cni-bin-dirs'];
  return {
    clusterCIDRs: [...clusterCIDRs],
    cniConfDir: textOf(flags, 'pod-network-cni-conf-dir', '/etc/cni/net.d'),
    cniBinDirs: Array.isArray(binDirs) ? binDirs : ['/opt/cni/bin', '/usr/lib/cni'],
    ipamDir: textOf(flags, 'pod-network-ipam-dir', '/var/lib/cni/networks'),
    bridge,
    mtu: mtu === 0 ? undefined : mtu,
    vxlanId: numberOf(flags, 'pod-network-vxlan-id', 1, 1, 2 ** 24 - 1),
    vxlanPort: numberOf(flags, 'pod-network-vxlan-port', 8472, 1, 65_535),
  };
}

/** Throws UsageError where the network is wanted and the ranges of the cluster are not known. */
export function requireClusterRanges({ clusterCIDRs }: PodNetworkConfig): void {
  if (clusterCIDRs.length > 0 && clusterCIDRs.every((cidr) => isIP(cidr.split('/')[0] ?? '') !== 0)) return;
  throw new UsageError('--pod-network needs the ranges of all pods: --cluster-cidr, or clusterCIDR in the file');
}
