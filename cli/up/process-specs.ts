// The command lines of the processes of a cluster. Pure.
import { join } from 'node:path';
import { nodeDnsPort } from './cluster-dns.ts';
import type { ClusterLayout, NodeLayout } from './layout.ts';
import type { ProcessSpec } from './supervisor.ts';

const graceMs = 10_000;

export interface SpecOptions {
  layout: ClusterLayout;
  berth: string;
  /** Address of the first node. */
  nodeIP: string;
  apiPort: number;
  store: string | undefined;
  loadBalancerPool?: string | undefined;
  schedulerConfig?: string | undefined;
  env: Record<string, string | undefined>;
}

export function controlPlaneSpec(options: SpecOptions): ProcessSpec {
  const { layout, berth, nodeIP, apiPort, store, loadBalancerPool, schedulerConfig, env } = options;
  const args = [
    'control-plane',
    `--data-dir=${layout.dataDir}`,
    `--pki-dir=${layout.pkiDir}`,
    `--kubeconfig-dir=${layout.configDir}`,
    `--advertise-address=${nodeIP}`,
    `--secure-port=${apiPort}`,
    `--service-cluster-ip-range=${layout.serviceCidrs.join(',')}`,
    `--cluster-cidr=${layout.podCidrs.join(',')}`,
    '--allow-proxy-pod-network',
    `--local-volume-dir=${join(layout.stateDir, 'volumes')}`,
    ...(store === undefined ? [] : [`--store=${store}`]),
    ...(loadBalancerPool === undefined ? [] : [`--load-balancer-pool=${loadBalancerPool}`]),
    ...(schedulerConfig === undefined ? [] : [`--scheduler-config=${schedulerConfig}`]),
  ];
  return {
    name: 'control-plane',
    file: berth,
    args,
    env,
    logPath: join(layout.logDir, 'control-plane.log'),
    stopGraceMs: graceMs,
  };
}

/** A node's own processes run inside its network namespace. */
function inNode(node: NodeLayout, file: string, args: readonly string[]): Pick<ProcessSpec, 'file' | 'args'> {
  if (node.netns === undefined) return { file, args };
  return { file: 'nsenter', args: [`--net=/run/netns/${node.netns}`, file, ...args] };
}

export function containerdSpec({ layout, env }: SpecOptions, node: NodeLayout): ProcessSpec {
  return {
    name: `containerd ${node.name}`,
    ...inNode(node, 'containerd', ['--config', node.containerdConfig]),
    env,
    logPath: join(layout.logDir, `containerd-${node.name}.log`),
    stopGraceMs: graceMs,
  };
}

/** `nodeIPs` are the node's addresses, one of each family. */
export function agentSpec(
  { layout, berth, env }: SpecOptions,
  node: NodeLayout,
  nodeIPs: readonly string[],
): ProcessSpec {
  const args = [
    'agent',
    `--config=${node.agentConfig}`,
    `--kubeconfig=${node.agentKubeconfig}`,
    `--root-dir=${node.kubeletDir}`,
    `--cert-dir=${join(node.kubeletDir, 'pki')}`,
    `--hostname-override=${node.name}`,
    `--node-ip=${nodeIPs.join(',')}`,
  ];
  return {
    name: `agent ${node.name}`,
    ...inNode(node, berth, args),
    env,
    logPath: join(layout.logDir, `agent-${node.name}.log`),
    stopGraceMs: graceMs,
  };
}

export function proxySpec({ layout, berth, env }: SpecOptions, node: NodeLayout, nodeIP: string): ProcessSpec {
  const args = [
    'proxy',
    `--config=${node.proxyConfig}`,
    `--dns-bind-address=${nodeIP}:${nodeDnsPort}`,
    '--pod-network',
    '--network-policy',
    `--pod-network-bridge=${node.podBridge}`,
    `--pod-network-cni-conf-dir=${node.cniConfDir}`,
    `--pod-network-ipam-dir=${node.ipamDir}`,
  ];
  return {
    name: `proxy ${node.name}`,
    ...inNode(node, berth, args),
    env,
    logPath: join(layout.logDir, `proxy-${node.name}.log`),
    stopGraceMs: graceMs,
  };
}
