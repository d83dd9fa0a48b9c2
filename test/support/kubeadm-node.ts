// What kubeadm and its package leave on a machine before the kubelet starts there for the first time: its unit with the
// drop-in, configuration, flags, the authority, and a kubeconfig with a token.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { clusterAddress, type MachineNode } from './machine-node.ts';

const data = join(import.meta.dirname, '../data/kubeadm');

const unit = `[Unit]
Description=kubelet of another package
[Service]
ExecStart=/usr/bin/kubelet
Restart=always
[Install]
WantedBy=multi-user.target
`;

const dropIn = `[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`;

/** Prepares the machine, which no node must run on. */
export async function prepareByKubeadm({ cluster, machine, on }: MachineNode): Promise<void> {
  const create = ['token', 'create', '--kubeconfig', cluster.layout.adminKubeconfig, '--server', clusterAddress];
  const [, token = ''] = /--token (\S+)/.exec((await cluster.berth(create)).stdout) ?? [];
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'kubernetes',
        cluster: { server: clusterAddress, 'certificate-authority': '/etc/kubernetes/pki/ca.crt' },
      },
    ],
    users: [{ name: 'tls-bootstrap-token-user', user: { token } }],
    contexts: [{ name: 'c', context: { cluster: 'kubernetes', user: 'tls-bootstrap-token-user' } }],
    'current-context': 'c',
  };
  const flags = readFileSync(join(data, 'kubeadm-flags.env'), 'utf8').replace(
    /--node-ip=\S+/,
    `--node-ip=${machine.address}`,
  );
  machine.put('etc/kubernetes/pki/ca.crt', readFileSync(join(cluster.layout.pkiDir, 'ca.crt'), 'utf8'));
  machine.put('etc/kubernetes/bootstrap-kubelet.conf', JSON.stringify(kubeconfig), 0o600);
  machine.put('usr/lib/systemd/system/kubelet.service', unit);
  machine.put('usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf', dropIn);
  // Its directory is a disk of the machine, not seen from here.
  machine.put('root/kubeadm/config.yaml', readFileSync(join(data, 'config.yaml'), 'utf8'));
  machine.put('root/kubeadm/kubeadm-flags.env', flags);
  await on('cp /root/kubeadm/* /var/lib/kubelet/; systemctl daemon-reload');
}
