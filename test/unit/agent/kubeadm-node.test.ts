import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { kubernetesVersion } from '#kube/process/version.ts';
import { loadConfiguration } from '../../../agent/config/load-configuration.ts';
import { resolveSettings } from '../../../agent/config/settings.ts';

const root = join(import.meta.dirname, '../../..');
const data = join(root, 'test/data/kubeadm');

/** The arguments with which systemd starts the agent on a node that kubeadm prepared. */
function serviceArguments(): string[] {
  const unit = readFileSync(join(root, 'packaging/systemd/berth-agent.service'), 'utf8');
  const line = /^ExecStart=@berth@ agent (.*)$/m.exec(unit)?.[1] ?? '';
  const environment = readFileSync(join(data, 'kubeadm-flags.env'), 'utf8');
  const given = /^KUBELET_KUBEADM_ARGS="(.*)"$/m.exec(environment)?.[1] ?? '';
  return line
    .replace('$KUBELET_KUBEADM_ARGS', given)
    .replace('$KUBELET_EXTRA_ARGS', '')
    .replace('/var/lib/kubelet/config.yaml', join(data, 'config.yaml'))
    .split(' ')
    .filter((word) => word !== '');
}

describe('a node prepared by kubeadm', () => {
  const loaded = loadConfiguration(serviceArguments(), kubernetesVersion);
  assert.ok(!('print' in loaded));
  const settings = resolveSettings(loaded);

  it('starts the agent with its files and flags unchanged', () => {
    assert.equal(settings.kubeconfig, '/etc/kubernetes/kubelet.conf');
    assert.equal(settings.bootstrapKubeconfig, '/etc/kubernetes/bootstrap-kubelet.conf');
    assert.equal(settings.rotateCertificates, true);
    assert.deepEqual(settings.nodeIps, ['192.0.2.10']);
    assert.deepEqual(settings.nodeLabels, { role: 'worker' });
    assert.equal(settings.cgroupDriver, 'systemd');
    assert.equal(settings.staticPodPath, '/etc/kubernetes/manifests');
    assert.equal(settings.runtimeEndpoint, 'unix:///run/containerd/containerd.sock');
    assert.equal(settings.server.clientCaFile, '/etc/kubernetes/pki/ca.crt');
    assert.equal(settings.syncFrequencyMs, 60_000);
    assert.equal(settings.shutdown.graceMs, 0);
  });

  it('ignores a flag that is no longer there, and says so', () => {
    const about = loaded.warnings.filter((warning) => warning.includes('pod-infra-container-image'));
    assert.equal(about.length, 1, loaded.warnings.join('\n'));
  });
});
