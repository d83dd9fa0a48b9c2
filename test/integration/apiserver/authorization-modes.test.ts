// A running server with ABAC and a webhook in front of RBAC, as flags ask for it.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

const maps = '/api/v1/namespaces/default/configmaps';

interface Review {
  apiVersion: string;
  spec: { user: string; group?: string[]; resourceAttributes?: { resource: string; verb: string } };
}

describe('authorization by ABAC, a webhook and RBAC', () => {
  let server: TestServer;
  let webhook: TlsServer;
  let dir: string;
  let reviews: Review[] = [];

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'berth-authz-'));
    webhook = await startTlsServer({
      handle: (request, response, body) => {
        const review = JSON.parse(body) as Review;
        reviews.push(review);
        assert.deepEqual([request.method, request.url], ['POST', '/authorize']);
        if (review.spec.user === 'broken') {
          response.writeHead(400).end('no');
          return;
        }
        const allowed = review.spec.user === 'hooked';
        const denied = review.spec.user === 'denied';
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(
          JSON.stringify({ ...review, status: { allowed, denied, reason: `says the hook of ${review.spec.user}` } }),
        );
      },
    });
    const kubeconfig = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'hook',
          cluster: {
            server: `https://localhost:${webhook.port}/authorize`,
            'certificate-authority-data': webhook.caBundle,
          },
        },
      ],
      users: [{ name: 'server', user: {} }],
      contexts: [{ name: 'hook', context: { cluster: 'hook', user: 'server' } }],
      'current-context': 'hook',
    };
    const policy = { apiVersion: 'abac.authorization.kubernetes.io/v1beta1', kind: 'Policy' };
    const spec = { user: 'lined', namespace: '*', resource: 'configmaps', readonly: true };
    await writeFile(join(dir, 'kubeconfig'), JSON.stringify(kubeconfig));
    await writeFile(join(dir, 'policy.jsonl'), `${JSON.stringify({ ...policy, spec })}\n`);
    server = await startApiServer([
      '--authorization-mode=Node,ABAC,Webhook,RBAC',
      `--authorization-policy-file=${dir}/policy.jsonl`,
      `--authorization-webhook-config-file=${dir}/kubeconfig`,
    ]);
    const subjects = ['granted', 'denied', 'broken'].map((name) => ({
      apiGroup: 'rbac.authorization.k8s.io',
      kind: 'User',
      name,
    }));
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' };
    const body = { metadata: { name: 'viewers' }, roleRef, subjects };
    await server.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', { body });
  });
  after(async () => {
    await server.close();
    await webhook.close();
    await rm(dir, { recursive: true, force: true });
  });

  const statusFor = async (name: string, method = 'GET') =>
    (
      await server.call(method, maps, {
        as: await server.user(name),
        ...(method === 'POST' ? { body: { metadata: { name } } } : {}),
      })
    ).status;

  it('allows what any of them allows, and asks no further', async () => {
    reviews = [];
    assert.equal(await statusFor('lined'), 200);
    assert.equal(reviews.length, 0);
    assert.equal(await statusFor('lined', 'POST'), 403);
    assert.equal(await statusFor('granted'), 200);
    assert.equal(await statusFor('hooked', 'POST'), 201);
  });

  it('asks the webhook once, for as long as its answer holds', async () => {
    reviews = [];
    const as = await server.user('hooked');
    for (let index = 0; index < 3; index += 1) assert.equal((await server.call('GET', maps, { as })).status, 200);
    assert.equal(reviews.length, 1);
    const [review] = reviews;
    assert.equal(review?.apiVersion, 'authorization.k8s.io/v1beta1');
    assert.deepEqual(review?.spec.resourceAttributes?.resource, 'configmaps');
    assert.ok(review?.spec.group?.includes('system:authenticated'));
  });

  it('refuses what the webhook denies, whatever comes after it, and says why', async () => {
    const refused = await server.call<{ message: string }>('GET', maps, { as: await server.user('denied') });
    assert.equal(refused.status, 403);
    assert.match(refused.body.message, /says the hook of denied/);
  });

  it('goes on to the next when the webhook fails, and says so when nobody else allows', async () => {
    assert.equal(await statusFor('broken'), 200);
    assert.equal(await statusFor('broken', 'POST'), 500);
  });

  it('answers reviews, and checks impersonation, by all of them', async () => {
    const spec = { user: 'hooked', resourceAttributes: { verb: 'delete', resource: 'secrets', namespace: 'x' } };
    const review = await server.call<{ status: object }>('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      body: { spec },
    });
    assert.deepEqual(review.body.status, { allowed: true, reason: 'says the hook of hooked' });
    const acting = await server.call('GET', maps, {
      as: await server.user('hooked'),
      headers: { 'impersonate-user': 'granted' },
    });
    assert.equal(acting.status, 200);
    const refused = await server.call('GET', maps, {
      as: await server.user('granted'),
      headers: { 'impersonate-user': 'hooked' },
    });
    assert.equal(refused.status, 403);
  });

  it('asks the webhook about rights that a write needs beside the write itself', async () => {
    const role = (name: string) => ({
      metadata: { name },
      rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }],
    });
    const path = '/apis/rbac.authorization.k8s.io/v1/clusterroles';
    reviews = [];
    const made = await server.call('POST', path, { as: await server.user('hooked'), body: role('escalated') });
    assert.equal(made.status, 201, made.text);
    const verbs = reviews.map(({ spec }) => spec.resourceAttributes?.verb);
    assert.deepEqual(verbs, ['create', 'escalate']);
  });
});
