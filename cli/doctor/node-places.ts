// Where the files of this machine's node are: a joined node's in kubelet's places, else those of the first node that
// `berth up` keeps here. Pure but for the question whether they are there.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterLayout } from '../up/layout.ts';

export interface NodePlaces {
  kubeconfig: string;
  config: string;
  certDir: string;
  rootDir: string;
  cniConfDir: string;
}

const kubelet: NodePlaces = {
  kubeconfig: '/etc/kubernetes/kubelet.conf',
  config: '/var/lib/kubelet/config.yaml',
  certDir: '/var/lib/kubelet/pki',
  rootDir: '/var/lib/kubelet',
  cniConfDir: '/etc/cni/net.d',
};

/** `exists` says whether a file is there. */
export function findNodePlaces(up: ClusterLayout, exists: (path: string) => boolean = existsSync): NodePlaces {
  const [node] = up.nodes;
  if (node === undefined || exists(kubelet.config) || !exists(node.agentConfig)) return kubelet;
  return {
    kubeconfig: node.agentKubeconfig,
    config: node.agentConfig,
    certDir: join(node.kubeletDir, 'pki'),
    rootDir: node.kubeletDir,
    cniConfDir: node.cniConfDir,
  };
}
