// Certificates, service accounts and reviews of access, as every conforming cluster has them.
import assert from 'node:assert/strict';
import { createPublicKey, type JsonWebKey, verify } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { TokenRequest, TokenReview } from '#kube/api/generated/authentication-v1.ts';
import type { SubjectAccessReview } from '#kube/api/generated/authorization-v1.ts';
import type { CertificateSigningRequest } from '#kube/api/generated/certificates-v1.ts';
import type { ServiceAccount } from '#kube/api/generated/core-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import type { Draft } from '#kube/api/resource.ts';
import type { ApiClient, WatchEvent } from '#kube/client/types.ts';
import { createRequest } from '../../../agent/certificate/create-request.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const gone = { code: 'NotFound' };
const bounds = { timeout: 60_000 };

describe('access', () => {
  let plane: TestControlPlane;
  let client: ApiClient;
  before(async () => {
    plane = await startControlPlane();
    client = plane.client;
    await newNamespace('access');
  });
  after(() => plane?.stop());

  async function newNamespace(name: string): Promise<void> {
    await client.create(resources.namespaces, undefined, { metadata: { name }, spec: {} });
    await eventually('its service account', async () =>
      client.get(resources.serviceaccounts, { namespace: name, name: 'default' }),
    );
  }

  const createAccount = (name: string, more: Partial<Draft<ServiceAccount>> = {}): Promise<ServiceAccount> =>
    client.create(resources.serviceaccounts, 'access', { metadata: { name }, ...more });

  const tokenOf = async (name: string, request: Partial<TokenRequest['spec']> = {}): Promise<string> => {
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: request };
    const key = { namespace: 'access', name };
    const answer = await client.createSubresource<object, TokenRequest>(resources.serviceaccounts, key, 'token', body);
    return answer.status?.token ?? assert.fail('no token');
  };

  const review = async (token: string): Promise<TokenReview> =>
    client.raw({
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/tokenreviews',
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } },
    });

  it('Certificates API should support CSR API operations', bounds, async () => {
    const csr = resources.certificatesigningrequests;
    const { groups } = await client.raw<{ groups: { name: string; versions: { version: string }[] }[] }>({
      method: 'GET',
      path: '/apis',
    });
    assert.ok(
      groups.find(({ name }) => name === 'certificates.k8s.io')?.versions.some(({ version }) => version === 'v1'),
    );
    const { resources: served } = await client.raw<{ resources: { name: string }[] }>({
      method: 'GET',
      path: '/apis/certificates.k8s.io/v1',
    });
    const plural = 'certificatesigningrequests';
    for (const name of [plural, `${plural}/approval`, `${plural}/status`])
      assert.ok(
        served.some((each) => each.name === name),
        name,
      );

    const { requestPem } = await createRequest({ commonName: 'e2e-example', organizations: ['examples'] });
    const draft = (): Draft<CertificateSigningRequest> => ({
      metadata: { generateName: 'e2e-example-', labels: { test: 'csr' } },
      spec: {
        request: Buffer.from(requestPem).toString('base64'),
        signerName: 'example.com/e2e-signer',
        expirationSeconds: 3600,
        usages: ['digital signature', 'key encipherment', 'client auth'],
      },
    });
    const labelSelector = 'test=csr';
    const created = await client.create(csr, undefined, draft());
    const key = { name: created.metadata.name };
    assert.deepEqual((await client.get(csr, key)).spec, created.spec);
    assert.equal(created.spec.username, 'kubernetes-admin');
    const list = await client.list(csr, { labelSelector });
    assert.equal(list.items.length, 1);

    const seen: WatchEvent<CertificateSigningRequest>[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      try {
        const { resourceVersion } = list.metadata;
        for await (const event of client.watch(csr, { labelSelector, resourceVersion, signal: stop.signal }))
          seen.push(event);
      } catch (error) {
        if (!stop.signal.aborted) throw error;
      }
    })();
    const patched = await client.patch(csr, key, 'merge', { metadata: { annotations: { patched: 'true' } } });
    assert.equal(patched.metadata.annotations?.['patched'], 'true');
    const updated = await client.update(csr, {
      ...patched,
      metadata: { ...patched.metadata, annotations: { updated: 'true' } },
    });
    assert.deepEqual(updated.metadata.annotations, { updated: 'true' });

    const path = `/apis/certificates.k8s.io/v1/${plural}/${key.name}`;
    const read = (subresource: string): Promise<CertificateSigningRequest> =>
      client.raw({ method: 'GET', path: `${path}/${subresource}` });
    const condition = (type: string, reason: string) => ({ type, status: 'True', reason, message: 'Set by a test' });
    const approval = {
      metadata: { annotations: { patchedapproval: 'true' } },
      status: { conditions: [condition('ApprovalPatch', 'ApprovalPatch')] },
    };
    await client.patch(csr, key, 'merge', approval, { subresource: 'approval' });
    const approving = await read('approval');
    assert.deepEqual(
      [approving.metadata.annotations?.['patchedapproval'], approving.status?.conditions?.map(({ type }) => type)],
      ['true', ['ApprovalPatch']],
    );
    const approved = await client.updateSubresource(
      csr,
      { ...approving, status: { conditions: [condition('Approved', 'E2E')] } },
      'approval',
    );
    assert.deepEqual(
      approved.status?.conditions?.map(({ type }) => type),
      ['Approved'],
    );
    for (const [conditions, why] of [
      [[], /updates may not remove a condition of type \\?"Approved/],
      [[condition('Approved', 'E2E'), condition('Denied', 'E2E')], /mutually exclusive/],
    ] as const) {
      const changed = { ...approved, status: { ...approved.status, conditions: [...conditions] } };
      await assert.rejects(client.updateSubresource(csr, changed, 'approval'), why);
    }
    // The status takes a certificate and conditions, and no approval.
    const status = { certificate: await anyCertificate() };
    await client.patch(
      csr,
      key,
      'merge',
      { metadata: { annotations: { patchedstatus: 'true' } }, status },
      { subresource: 'status' },
    );
    const withStatus = await read('status');
    assert.equal(withStatus.status?.certificate, status.certificate);
    const conditions = [...(withStatus.status?.conditions ?? []), condition('StatusUpdate', 'StatusUpdate')];
    await client.updateSubresource(csr, { ...withStatus, status: { ...withStatus.status, conditions } }, 'status');
    assert.deepEqual(
      (await read('status')).status?.conditions?.map(({ type }) => type),
      ['Approved', 'StatusUpdate'],
    );

    await client.delete(csr, key);
    await assert.rejects(client.get(csr, key), gone);
    for (let index = 0; index < 2; index += 1) await client.create(csr, undefined, draft());
    await client.deleteCollection(csr, { labelSelector });
    assert.deepEqual((await client.list(csr, { labelSelector })).items, []);
    await eventually(
      'every deletion in the watch',
      async () => seen.filter(({ type }) => type === 'DELETED').length === 3,
    );
    assert.equal(seen.filter(({ type }) => type === 'ERROR').length, 0);
    stop.abort();
    await watching;
  });

  /** Some certificate in base64: that of the cluster's authority. */
  async function anyCertificate(): Promise<string> {
    const map = await client.get(resources.configmaps, { namespace: 'access', name: 'kube-root-ca.crt' });
    return Buffer.from(map.data?.['ca.crt'] ?? '').toString('base64');
  }

  it(
    'ServiceAccounts ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer',
    bounds,
    async () => {
      await createAccount('discovering');
      const token = await tokenOf('discovering', { audiences: ['oidc-discovery-test'] });
      // Who asks is the account itself.
      const get = <T>(path: string): Promise<T> =>
        client.raw({
          method: 'GET',
          path,
          headers: {
            'impersonate-user': 'system:serviceaccount:access:discovering',
            'impersonate-group': 'system:serviceaccounts',
          },
        });
      const [head = '', body = '', signature = ''] = token.split('.');
      const decode = <T>(part: string): T => JSON.parse(Buffer.from(part, 'base64url').toString()) as T;
      const claims = decode<{ iss: string; sub: string; aud: string[] }>(body);
      const { kid, alg } = decode<{ kid: string; alg: string }>(head);
      const found = await get<{ issuer: string; jwks_uri: string; id_token_signing_alg_values_supported: string[] }>(
        '/.well-known/openid-configuration',
      );
      assert.equal(found.issuer, claims.iss);
      assert.ok(found.id_token_signing_alg_values_supported.includes(alg));
      assert.equal(new URL(found.jwks_uri).pathname, '/openid/v1/jwks');
      const { keys } = await get<{ keys: (JsonWebKey & { kid: string })[] }>('/openid/v1/jwks');
      const key = keys.find((each) => each.kid === kid) ?? assert.fail('the key of the token is not published');
      const signed = Buffer.from(`${head}.${body}`);
      const publicKey = createPublicKey({ key, format: 'jwk' });
      assert.ok(
        verify('sha256', signed, { key: publicKey, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url')),
      );
      assert.deepEqual([claims.sub, claims.aud], ['system:serviceaccount:access:discovering', ['oidc-discovery-test']]);
    },
  );

  it('ServiceAccounts should allow opting out of API token automount', bounds, async () => {
    await createAccount('mounts', { automountServiceAccountToken: true });
    await createAccount('mounts-not', { automountServiceAccountToken: false });
    for (const [account, ofPod, isMounted] of [
      ['default', undefined, true],
      ['mounts', undefined, true],
      ['mounts-not', undefined, false],
      ['default', true, true],
      ['mounts', true, true],
      ['mounts-not', true, true],
      ['default', false, false],
      ['mounts', false, false],
      ['mounts-not', false, false],
    ] as const) {
      const pod = await client.create(resources.pods, 'access', {
        metadata: { generateName: 'pod-' },
        spec: {
          containers: [{ name: 'token-test', image: 'pause' }],
          serviceAccountName: account,
          ...(ofPod === undefined ? {} : { automountServiceAccountToken: ofPod }),
        },
      });
      const mounts = (pod.spec?.containers ?? []).flatMap(({ volumeMounts = [] }) => volumeMounts);
      const found = mounts.some(({ mountPath }) => mountPath === '/var/run/secrets/kubernetes.io/serviceaccount');
      assert.equal(found, isMounted, `${account} ${ofPod}`);
    }
  });

  it('ServiceAccounts should create a serviceAccountToken and ensure a successful TokenReview', bounds, async () => {
    const { metadata } = await createAccount('e2e-sa');
    const { status } = await review(await tokenOf('e2e-sa', { expirationSeconds: 600 }));
    assert.deepEqual([status?.authenticated, status?.error ?? ''], [true, '']);
    assert.deepEqual(
      [status?.user?.username, status?.user?.uid],
      ['system:serviceaccount:access:e2e-sa', metadata.uid],
    );
    for (const group of ['system:serviceaccounts', 'system:serviceaccounts:access', 'system:authenticated'])
      assert.ok(status?.user?.groups?.includes(group), group);
  });

  it('ServiceAccounts should guarantee kube-root-ca.crt exist in any namespace', bounds, async () => {
    await newNamespace('any-namespace');
    const key = { namespace: 'any-namespace', name: 'kube-root-ca.crt' };
    const certificate = async () => (await client.get(resources.configmaps, key)).data?.['ca.crt'] ?? '';
    const first = await eventually('it is there', certificate);
    assert.match(first, /BEGIN CERTIFICATE/);
    const { metadata } = await client.get(resources.configmaps, key);
    await client.delete(resources.configmaps, key);
    await eventually('it is there again', async () => {
      const again = await client.get(resources.configmaps, key);
      return again.metadata.uid !== metadata.uid && again.data?.['ca.crt'] === first;
    });
    await eventually('a changed one is written', async () =>
      client.update(resources.configmaps, { ...(await client.get(resources.configmaps, key)), data: { '': '' } }).then(
        () => true,
        async () => client.patch(resources.configmaps, key, 'merge', { data: { 'ca.crt': null } }),
      ),
    );
    await eventually('it is as it was', async () => (await certificate()) === first);
  });

  it('ServiceAccounts should run through the lifecycle of a ServiceAccount', bounds, async () => {
    const key = { namespace: 'access', name: 'testserviceaccount' };
    const labelSelector = 'test-serviceaccount-static=true';
    const start = await client.list(resources.serviceaccounts, { labelSelector });
    const seen: string[] = [];
    const watching = (async () => {
      const { resourceVersion } = start.metadata;
      for await (const { type } of client.watch(resources.serviceaccounts, { labelSelector, resourceVersion })) {
        seen.push(type);
        if (type === 'DELETED') return;
      }
    })();
    await client.create(resources.serviceaccounts, key.namespace, {
      metadata: { name: key.name, labels: { 'test-serviceaccount-static': 'true' } },
    });
    const patched = await client.patch(resources.serviceaccounts, key, 'strategic', {
      automountServiceAccountToken: false,
    });
    assert.equal(patched.automountServiceAccountToken, false);
    const { items } = await client.list(resources.serviceaccounts, { labelSelector });
    assert.deepEqual(
      items.map(({ metadata }) => metadata.name),
      [key.name],
    );
    await client.deleteCollection(resources.serviceaccounts, { namespace: key.namespace, labelSelector });
    await watching;
    assert.deepEqual(seen, ['ADDED', 'MODIFIED', 'DELETED']);
    await assert.rejects(client.get(resources.serviceaccounts, key), gone);
  });

  it('ServiceAccounts should update a ServiceAccount', bounds, async () => {
    const created = await createAccount('e2e-sa-update', { automountServiceAccountToken: false });
    const updated = await client.update(resources.serviceaccounts, { ...created, automountServiceAccountToken: true });
    assert.equal(updated.automountServiceAccountToken, true);
    const read = await client.get(resources.serviceaccounts, { namespace: 'access', name: 'e2e-sa-update' });
    assert.equal(read.automountServiceAccountToken, true);
  });

  it('SubjectReview should support SubjectReview API operations', bounds, async () => {
    await createAccount('reviewed');
    const user = 'system:serviceaccount:access:reviewed';
    const group = '/apis/authorization.k8s.io/v1';
    const attributes = { verb: 'list', resource: 'configmaps', version: 'v1', namespace: 'access' };
    const ask = (path: string, kind: string, spec: object, headers = {}): Promise<SubjectAccessReview> =>
      client.raw({
        method: 'POST',
        path,
        headers,
        body: {
          apiVersion: 'authorization.k8s.io/v1',
          kind,
          ...(kind === 'LocalSubjectAccessReview' ? { metadata: { namespace: 'access' } } : {}),
          spec,
        },
      });
    const answers = async () => [
      (await ask(`${group}/subjectaccessreviews`, 'SubjectAccessReview', { resourceAttributes: attributes, user }))
        .status?.allowed,
      (
        await ask(`${group}/namespaces/access/localsubjectaccessreviews`, 'LocalSubjectAccessReview', {
          resourceAttributes: attributes,
          user,
        })
      ).status?.allowed,
      (
        await ask(
          `${group}/selfsubjectaccessreviews`,
          'SelfSubjectAccessReview',
          { resourceAttributes: attributes },
          { 'impersonate-user': user },
        )
      ).status?.allowed,
    ];
    // Even who may nothing may ask about themselves: that right comes with a group.
    await client.create(resources.clusterrolebindings, undefined, {
      metadata: { name: 'reviewed-asks' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:basic-user' },
      subjects: [{ kind: 'ServiceAccount', namespace: 'access', name: 'reviewed' }],
    });
    await eventually('nothing is allowed', async () => (await answers()).join() === 'false,false,false');
    await client.create(resources.rolebindings, 'access', {
      metadata: { name: 'reviewed-views' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
      subjects: [{ kind: 'ServiceAccount', namespace: 'access', name: 'reviewed' }],
    });
    await eventually('reading is allowed', async () => (await answers()).join() === 'true,true,true');
  });
});
