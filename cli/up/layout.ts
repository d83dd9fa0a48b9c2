// Where everything of one cluster on this machine lives: files, sockets, names, ranges. Pure.
import { join } from 'node:path';

/** Addresses used between the nodes of a cluster on one machine. */
export const nodeLinkPrefix = '10.245.0';
export const nodeLinkPrefixV6 = 'fd00:10:245:';
export const defaultPodCidrs = ['10.244.0.0/16'];
export const defaultServiceCidrs = ['10.96.0.0/16'];

export interface NodeLayout {
  /** 1 for the node in the namespace `berth up` runs in. */
  index: number;
  name: string;
  /** Network namespace by name; undefined for the first node. */
  netns: string | undefined;
  configDir: string;
  stateDir: string;
  runDir: string;
  containerdConfig: string;
  containerdRoot: string;
  containerdState: string;
  containerdSocket: string;
  cniConfDir: string;
  ipamDir: string;
  /** The bridge that pods hang on, one name in every namespace. */
  podBridge: string;
  kubeletDir: string;
  podLogsDir: string;
  agentConfig: string;
  agentKubeconfig: string;
  servingCertificate: string;
  servingKey: string;
  proxyConfig: string;
  proxyKubeconfig: string;
  cgroupRoot: string;
}

export interface ClusterLayout {
  instance: string;
  configDir: string;
  stateDir: string;
  runDir: string;
  logDir: string;
  pkiDir: string;
  dataDir: string;
  imagesDir: string;
  adminKubeconfig: string;
  /** What runs now: process ids, nodes, what was changed on the machine. */
  stateFile: string;
  /** The bridge between the nodes. */
  linkBridge: string;
  nodes: NodeLayout[];
  /** Ranges of pods and of services: one of IPv4, and in a cluster of both families one of IPv6. */
  podCidrs: readonly string[];
  serviceCidrs: readonly string[];
}

export interface LayoutOptions {
  /** Names the folders /etc/NAME, /var/lib/NAME and /run/NAME, and everything else made. */
  instance: string;
  hostname: string;
  nodeCount: number;
  podCidrs?: readonly string[];
  serviceCidrs?: readonly string[];
}

/** Interface names have at most 15 characters. */
function interfaceName(instance: string, suffix: string): string {
  return `${instance.slice(0, 15 - suffix.length)}${suffix}`;
}

function nodeLayout(instance: string, hostname: string, index: number): NodeLayout {
  const name = index === 1 ? hostname : `${hostname}-${index}`;
  const configDir = join('/etc', instance, 'nodes', name);
  const stateDir = join('/var/lib', instance, 'nodes', name);
  const runDir = join('/run', instance, 'nodes', name);
  return {
    index,
    name,
    netns: index === 1 ? undefined : `${instance}-${index}`,
    configDir,
    stateDir,
    runDir,
    containerdConfig: join(configDir, 'containerd.toml'),
    containerdRoot: join(stateDir, 'containerd'),
    containerdState: join(runDir, 'containerd'),
    containerdSocket: join(runDir, 'containerd.sock'),
    cniConfDir: join(configDir, 'cni'),
    ipamDir: join(stateDir, 'cni'),
    podBridge: interfaceName(instance, '0'),
    kubeletDir: join(stateDir, 'kubelet'),
    podLogsDir: join(stateDir, 'pod-logs'),
    agentConfig: join(configDir, 'agent.yaml'),
    agentKubeconfig: join(configDir, 'agent.kubeconfig'),
    servingCertificate: join(configDir, 'agent.crt'),
    servingKey: join(configDir, 'agent.key'),
    proxyConfig: join(configDir, 'proxy.yaml'),
    proxyKubeconfig: join(configDir, 'proxy.kubeconfig'),
    // A default single node owns /kubepods as a kubelet would; others keep out of each other's way.
    cgroupRoot: index === 1 && instance === 'berth' ? '/' : `/${instance}-${index}`,
  };
}

export function computeLayout({
  instance,
  hostname,
  nodeCount,
  podCidrs = defaultPodCidrs,
  serviceCidrs = defaultServiceCidrs,
}: LayoutOptions): ClusterLayout {
  const configDir = join('/etc', instance);
  const stateDir = join('/var/lib', instance);
  const runDir = join('/run', instance);
  return {
    instance,
    configDir,
    stateDir,
    runDir,
    logDir: join(stateDir, 'log'),
    pkiDir: join(stateDir, 'pki'),
    dataDir: join(stateDir, 'control-plane'),
    imagesDir: join(stateDir, 'images'),
    adminKubeconfig: join(configDir, 'admin.kubeconfig'),
    stateFile: join(runDir, 'up.json'),
    linkBridge: interfaceName(instance, '-link'),
    podCidrs,
    serviceCidrs,
    nodes: Array.from({ length: nodeCount }, (_, i) => nodeLayout(instance, hostname, i + 1)),
  };
}
