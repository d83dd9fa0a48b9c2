// A node that has nothing but a bootstrap token gets its certificate from the bundled control plane.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import { stringify } from 'yaml';
import { clusterrolebindings, nodes, secrets } from '#kube/api/generated/resources.ts';
import { createClient } from '#kube/client/create-client.ts';
import { readKubeconfig } from '#kube/client/kubeconfig.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { bootstrapClient } from '../../../agent/certificate/bootstrap-client.ts';
import { createCertificateStore } from '../../../agent/certificate/certificate-store.ts';
import { obtainCertificate } from '../../../agent/certificate/obtain-certificate.ts';
import { clientWish, servingWish } from '../../../agent/certificate/wishes.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const tools = { clock: systemClock, exec: systemExec, env: {} };
const logger = pino({ level: 'silent' });

describe('a node with a bootstrap token', () => {
  const directory = mkdtempSync(join(tmpdir(), 'bootstrap-'));
  const kubeconfig = join(directory, 'kubelet.conf');
  const bootstrapKubeconfig = join(directory, 'bootstrap.conf');
  const store = createCertificateStore(join(directory, 'pki'), 'kubelet-client');
  const options = { kubeconfig, bootstrapKubeconfig, store, wish: clientWish('node-x'), tools, logger };
  let plane: TestControlPlane;
  const limit = () => AbortSignal.timeout(30_000);

  before(async () => {
    plane = await startControlPlane();
    await plane.client.create(secrets, 'kube-system', {
      metadata: { name: 'bootstrap-token-abcdef' },
      type: 'bootstrap.kubernetes.io/token',
      stringData: {
        'token-id': 'abcdef',
        'token-secret': '0123456789abcdef',
        'usage-bootstrap-authentication': 'true',
        'auth-extra-groups': 'system:bootstrappers:kubeadm:default-node-token',
      },
    });
    const nodeTokens = 'system:bootstrappers:kubeadm:default-node-token';
    const bindings = {
      'kubeadm:kubelet-bootstrap': ['system:node-bootstrapper', nodeTokens],
      'kubeadm:node-autoapprove-bootstrap': [
        'system:certificates.k8s.io:certificatesigningrequests:nodeclient',
        nodeTokens,
      ],
      'kubeadm:node-autoapprove-certificate-rotation': [
        'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient',
        'system:nodes',
      ],
    };
    for (const [name, [role = '', group = '']] of Object.entries(bindings)) {
      await plane.client.create(clusterrolebindings, undefined, {
        metadata: { name },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: group }],
      });
    }
    const admin = readKubeconfig(plane.kubeconfig);
    writeFileSync(
      bootstrapKubeconfig,
      stringify({ ...admin, users: [{ name: admin.users[0]?.name, user: { token: 'abcdef.0123456789abcdef' } }] }),
    );
  });
  after(async () => {
    await plane?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('gets a client certificate and a kubeconfig that names it', async () => {
    await bootstrapClient(options, limit());
    const pair = await store.load();
    assert.equal(new X509Certificate(pair?.certPem ?? '').subject, 'O=system:nodes\nCN=system:node:node-x');
    assert.equal(statSync(kubeconfig).mode & 0o777, 0o600);
    const client = createClient({ ...loadClientConfig(tools, kubeconfig), clock: systemClock });
    await client.create(nodes, undefined, { metadata: { name: 'node-x' }, spec: {} });
    await client.close();
  });

  it('does nothing while that certificate can be used', async () => {
    const before = readFileSync(store.currentPath, 'utf8');
    await bootstrapClient(options, limit());
    assert.equal(readFileSync(store.currentPath, 'utf8'), before);
  });

  it('asks again when the certificate has run out', async () => {
    const before = readFileSync(store.currentPath, 'utf8');
    const later = { ...systemClock, now: () => Date.now() + 20 * 365 * 24 * 3600_000 };
    await bootstrapClient({ ...options, tools: { ...tools, clock: { ...later, now: later.now } } }, limit());
    assert.notEqual(readFileSync(store.currentPath, 'utf8'), before);
  });

  it('renews its client certificate with the one it has', async () => {
    const client = createClient({ ...loadClientConfig(tools, kubeconfig), clock: systemClock });
    const { certPem } = await obtainCertificate(client, clientWish('node-x'), systemClock, limit());
    assert.equal(new X509Certificate(certPem).subject, 'O=system:nodes\nCN=system:node:node-x');
    await client.close();
  });

  it('may not have the certificate of another node', async () => {
    const client = createClient({ ...loadClientConfig(tools, kubeconfig), clock: systemClock });
    const wish = clientWish('node-y');
    await assert.rejects(
      obtainCertificate(client, wish, systemClock, AbortSignal.timeout(4000)),
      /aborted|denied|forbidden/i,
    );
    await client.close();
  });

  it('asks for a serving certificate that somebody has to approve', async () => {
    const client = createClient({ ...loadClientConfig(tools, kubeconfig), clock: systemClock });
    const wish = servingWish('node-x', { dnsNames: ['node-x'], ipAddresses: ['127.0.0.1'] });
    await assert.rejects(obtainCertificate(client, wish, systemClock, AbortSignal.timeout(3000)), /aborted/i);
    await client.close();
  });
});
