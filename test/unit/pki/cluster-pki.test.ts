// The cluster's certificates: what they say, that they stay, and when they are made anew.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import {
  ensureClusterPki,
  issueClientCertificate,
  issueServingCertificate,
  writeKubeconfig,
} from '../../../control-plane-lite/pki/index.ts';

const dayMs = 86_400_000;

describe('the cluster PKI', () => {
  let dir: string;
  const nowMs = Date.now();
  const ensure = (at = nowMs, serverNames: string[] = ['10.96.0.1']) =>
    ensureClusterPki({ dir, serverNames, nowMs: at });

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'berth-pki-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  it('signs everything with one authority, for the names that the server has', async () => {
    const pki = await ensure();
    const ca = new X509Certificate(pki.ca.certPem);
    for (const { certPem } of [pki.serving, pki.admin, pki.kubeletClient, pki.scheduler, pki.controllerManager]) {
      assert.ok(new X509Certificate(certPem).checkIssued(ca));
    }
    const serving = new X509Certificate(pki.serving.certPem);
    assert.equal(serving.checkHost('kubernetes.default.svc'), 'kubernetes.default.svc');
    assert.equal(serving.checkIP('10.96.0.1'), '10.96.0.1');
    assert.match(new X509Certificate(pki.admin.certPem).subject, /O=system:masters/);
    assert.doesNotMatch(new X509Certificate(pki.kubeletClient.certPem).subject, /O=/);
  });

  it('keeps keys to their owner', async () => {
    for (const file of ['ca.key', 'sa.key', 'admin.key'])
      assert.equal((await stat(join(dir, file))).mode & 0o777, 0o600);
  });

  it('changes nothing the next time', async () => {
    assert.deepEqual(await ensure(), await ensure());
  });

  it('issues a leaf anew for a new name and near its end, under the same authority', async () => {
    const before = await ensure();
    const named = await ensure(nowMs, ['10.96.0.1', 'new.example']);
    assert.notEqual(named.serving.certPem, before.serving.certPem);
    assert.equal(named.admin.certPem, before.admin.certPem);
    const later = await ensure(nowMs + 320 * dayMs);
    assert.notEqual(later.admin.certPem, before.admin.certPem);
    assert.equal(later.ca.certPem, before.ca.certPem);
  });

  it('issues certificates for nodes', async () => {
    const pki = await ensure();
    const client = await issueClientCertificate(pki, { commonName: 'system:node:n', organizations: ['system:nodes'] });
    assert.match(new X509Certificate(client.certPem).subject, /O=system:nodes\nCN=system:node:n/);
    const serving = await issueServingCertificate(pki, {
      commonName: 'n',
      dnsNames: ['n'],
      ipAddresses: ['192.0.2.1'],
    });
    assert.equal(new X509Certificate(serving.certPem).checkIP('192.0.2.1'), '192.0.2.1');
  });

  it('writes a kubeconfig for its owner only', async () => {
    const pki = await ensure();
    const path = join(dir, 'kube', 'admin.kubeconfig');
    await writeKubeconfig(path, { server: 'https://x:1', caPem: pki.ca.certPem, client: pki.admin, user: 'admin' });
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const config = parse(await readFile(path, 'utf8')) as {
      'current-context': string;
      clusters: { cluster: { server: string } }[];
    };
    assert.equal(config.clusters[0]?.cluster.server, 'https://x:1');
    assert.equal(config['current-context'], 'admin@berth');
  });
});
