// The files of a joined node, where kubelet and kubeadm have theirs, so that either program can take over. Pure.
import { join } from 'node:path';
import { stringify } from 'yaml';
import { clusterWithServers } from '#kube/client/kubeconfig-servers.ts';
import type { ClusterIdentity } from './discover-cluster.ts';

/** Where container runtimes read the configuration of networks. */
export const defaultCniConfDir = '/etc/cni/net.d';

/** Where everything goes; `root` is / but in tests. */
export interface JoinPaths {
  caFile: string;
  bootstrapKubeconfig: string;
  kubeconfig: string;
  kubeletDir: string;
  kubeletConfig: string;
  /** Flags for the service, as kubeadm leaves them. */
  kubeletFlags: string;
  certDir: string;
  proxyConfig: string;
  proxyKubeconfig: string;
  /** Flags for the proxy's service, where it makes the pod network. */
  podNetworkFlags: string;
}

export function joinPaths(root: string): JoinPaths {
  const kubeletDir = join(root, 'var/lib/kubelet');
  return {
    caFile: join(root, 'etc/kubernetes/pki/ca.crt'),
    bootstrapKubeconfig: join(root, 'etc/kubernetes/bootstrap-kubelet.conf'),
    kubeconfig: join(root, 'etc/kubernetes/kubelet.conf'),
    kubeletDir,
    kubeletConfig: join(kubeletDir, 'config.yaml'),
    kubeletFlags: join(kubeletDir, 'kubeadm-flags.env'),
    certDir: join(kubeletDir, 'pki'),
    proxyConfig: join(root, 'var/lib/kube-proxy/config.conf'),
    proxyKubeconfig: join(root, 'var/lib/kube-proxy/kubeconfig.conf'),
    podNetworkFlags: join(root, 'var/lib/kube-proxy/pod-network.env'),
  };
}

export interface NodeChoices {
  nodeName: string;
  runtimeEndpoint: string;
  cgroupDriver: 'cgroupfs' | 'systemd';
  clusterDns: string;
  clusterDomain: string;
  clusterCidr: string | undefined;
  /** Where the proxy puts the configuration of the pod network that it makes; undefined where it makes none. */
  podNetworkConfDir: string | undefined;
}

/** Flags of a proxy that makes the pod network. */
export function podNetworkArguments(cniConfDir: string | undefined): string[] {
  if (cniConfDir === undefined) return [];
  const place = cniConfDir === defaultCniConfDir ? [] : [`--pod-network-cni-conf-dir=${cniConfDir}`];
  return ['--pod-network', '--network-policy', ...place];
}

/** One file to write. */
export interface PlannedFile {
  path: string;
  content: string;
  mode: number;
  /** A file that is there already was somebody's choice. */
  keep: boolean;
}

function kubeconfigWith(cluster: ClusterIdentity, paths: JoinPaths, user: object): string {
  return stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'kubernetes',
          cluster: { ...clusterWithServers(cluster.servers), 'certificate-authority': paths.caFile },
        },
      ],
      users: [{ name: 'node', user }],
      contexts: [{ name: 'node@kubernetes', context: { cluster: 'kubernetes', user: 'node' } }],
      'current-context': 'node@kubernetes',
    },
    { lineWidth: 0 },
  );
}

/** Plans all files of the node. */
export function planNodeFiles(
  cluster: ClusterIdentity,
  token: string,
  paths: JoinPaths,
  choices: NodeChoices,
): PlannedFile[] {
  const certificate = join(paths.certDir, 'kubelet-client-current.pem');
  const kubelet = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: paths.caFile },
    },
    authorization: { mode: 'Webhook' },
    cgroupDriver: choices.cgroupDriver,
    clusterDNS: [choices.clusterDns],
    clusterDomain: choices.clusterDomain,
    containerRuntimeEndpoint: choices.runtimeEndpoint,
    failSwapOn: false,
    rotateCertificates: true,
    staticPodPath: '/etc/kubernetes/manifests',
  };
  const proxy = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clientConnection: { kubeconfig: paths.proxyKubeconfig },
    ...(choices.clusterCidr === undefined ? {} : { clusterCIDR: choices.clusterCidr }),
    hostnameOverride: choices.nodeName,
  };
  const node = { 'client-certificate': certificate, 'client-key': certificate };
  const yaml = (value: object) => stringify(value, { lineWidth: 0 });
  return [
    { path: paths.caFile, content: cluster.caPem, mode: 0o644, keep: false },
    { path: paths.bootstrapKubeconfig, content: kubeconfigWith(cluster, paths, { token }), mode: 0o600, keep: false },
    { path: paths.kubeletConfig, content: yaml(kubelet), mode: 0o644, keep: true },
    {
      path: paths.kubeletFlags,
      content: `KUBELET_KUBEADM_ARGS="--hostname-override=${choices.nodeName}"\n`,
      mode: 0o644,
      keep: false,
    },
    { path: paths.proxyKubeconfig, content: kubeconfigWith(cluster, paths, node), mode: 0o600, keep: false },
    { path: paths.proxyConfig, content: yaml(proxy), mode: 0o644, keep: true },
    {
      path: paths.podNetworkFlags,
      content: `BERTH_POD_NETWORK_ARGS="${podNetworkArguments(choices.podNetworkConfDir).join(' ')}"\n`,
      mode: 0o644,
      keep: false,
    },
  ];
}

/** Arguments of the two programs. */
export function componentArguments(
  paths: JoinPaths,
  { nodeName, podNetworkConfDir }: Pick<NodeChoices, 'nodeName' | 'podNetworkConfDir'>,
): { agent: string[]; proxy: string[] } {
  return {
    agent: [
      `--config=${paths.kubeletConfig}`,
      `--kubeconfig=${paths.kubeconfig}`,
      `--bootstrap-kubeconfig=${paths.bootstrapKubeconfig}`,
      `--root-dir=${paths.kubeletDir}`,
      `--cert-dir=${paths.certDir}`,
      `--hostname-override=${nodeName}`,
    ],
    proxy: [`--config=${paths.proxyConfig}`, ...podNetworkArguments(podNetworkConfDir)],
  };
}
