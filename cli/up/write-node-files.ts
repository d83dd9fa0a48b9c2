// Writes the configuration of one node: runtime, agent, proxy and their credentials.
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { replaceFile } from '#kube/process/replace-file.ts';
import {
  type ClusterPki,
  issueClientCertificate,
  issueServingCertificate,
  writeKubeconfig,
} from '../../control-plane-lite/pki/index.ts';
import { pauseImage } from '../../packaging/images/build-images.ts';
import { packageRoot } from '../package-root.ts';
import type { MachineFacts } from './check-machine.ts';
import { clusterDnsIP } from './cluster-dns.ts';
import type { ClusterLayout, NodeLayout } from './layout.ts';

/** Fills in the `@name@` of a template. Throws for a name without a value. */
export function renderTemplate(template: string, values: Record<string, string>): string {
  return template.replaceAll(/@(\w+)@/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`the template has no value for @${name}@`);
    return value;
  });
}

async function template(name: string): Promise<string> {
  // A comment may speak of the placeholders; only lines with content are filled in.
  const text = await readFile(join(packageRoot(), 'packaging', name), 'utf8');
  return text.replace(/^#.*\n/gm, '');
}

/** The KubeletConfiguration of a node. */
function agentConfiguration(layout: ClusterLayout, node: NodeLayout): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(layout.pkiDir, 'ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    cgroupDriver: 'cgroupfs',
    cgroupRoot: node.cgroupRoot,
    clusterDNS: [clusterDnsIP(layout)],
    clusterDomain: 'cluster.local',
    containerRuntimeEndpoint: `unix://${node.containerdSocket}`,
    failSwapOn: false,
    podLogsDir: node.podLogsDir,
    tlsCertFile: node.servingCertificate,
    tlsPrivateKeyFile: node.servingKey,
  };
}

/** The KubeProxyConfiguration of a node. */
function proxyConfiguration(layout: ClusterLayout, node: NodeLayout): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clientConnection: { kubeconfig: node.proxyKubeconfig },
    clusterCIDR: layout.podCidrs.join(','),
    hostnameOverride: node.name,
    mode: 'iptables',
    // These are the machine's, which several nodes may share: they stay as they are.
    conntrack: { maxPerCore: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
  };
}

export interface NodeFilesOptions {
  layout: ClusterLayout;
  node: NodeLayout;
  /** The node's addresses and the API server's, as this node reaches it. */
  nodeIPs: readonly string[];
  server: string;
  pki: ClusterPki;
  machine: MachineFacts;
}

/** Everything but the network plugin's configuration, which the proxy writes when it knows the node's pod range. */
export async function writeNodeFiles({ layout, node, nodeIPs, server, pki, machine }: NodeFilesOptions): Promise<void> {
  for (const dir of [node.configDir, node.stateDir, node.runDir, node.cniConfDir, node.kubeletDir]) {
    await mkdir(dir, { recursive: true, mode: 0o755 });
  }
  await mkdir(node.podLogsDir, { recursive: true, mode: 0o755 });
  // As versions before wrote it: the proxy would take it for another network and leave the node alone.
  await rm(join(node.cniConfDir, '10-berth.conflist'), { force: true });
  const containerd = renderTemplate(await template('containerd/config.toml'), {
    root: node.containerdRoot,
    state: node.containerdState,
    socket: node.containerdSocket,
    pauseImage,
    restrictOomScoreAdj: String(!machine.mayLowerOomScore),
    cniBinDir: machine.cniBinDir,
    cniConfDir: node.cniConfDir,
    registryConfigDir: join(node.configDir, 'registries'),
  });
  await replaceFile(node.containerdConfig, containerd, { mode: 0o644, directoryMode: 0o755 });
  const agent = await issueClientCertificate(pki, {
    commonName: `system:node:${node.name}`,
    organizations: ['system:nodes'],
  });
  await writeKubeconfig(node.agentKubeconfig, {
    server,
    caPem: pki.ca.certPem,
    client: agent,
    user: `system:node:${node.name}`,
  });
  const proxy = await issueClientCertificate(pki, { commonName: 'system:kube-proxy' });
  await writeKubeconfig(node.proxyKubeconfig, {
    server,
    caPem: pki.ca.certPem,
    client: proxy,
    user: 'system:kube-proxy',
  });
  const serving = await issueServingCertificate(pki, {
    commonName: `system:node:${node.name}`,
    organizations: ['system:nodes'],
    dnsNames: [node.name],
    ipAddresses: [...nodeIPs, '127.0.0.1'],
  });
  await replaceFile(node.servingCertificate, serving.certPem, { mode: 0o644, directoryMode: 0o755 });
  await replaceFile(node.servingKey, serving.keyPem, { mode: 0o600, directoryMode: 0o755 });
  await replaceFile(node.agentConfig, stringify(agentConfiguration(layout, node)), {
    mode: 0o644,
    directoryMode: 0o755,
  });
  await replaceFile(node.proxyConfig, stringify(proxyConfiguration(layout, node)), {
    mode: 0o644,
    directoryMode: 0o755,
  });
}
