// Who may do what: certificates, tokens, roles, nodes, impersonation, and what admission adds or refuses.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { KeyPair } from '../../../control-plane-lite/pki/index.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

interface Reply {
  message?: string;
  reason?: string;
  status: {
    token?: string;
    allowed?: boolean;
    authenticated?: boolean;
    user?: { username: string };
    used?: Record<string, string>;
  };
  metadata: { name: string; uid: string };
  spec: Record<string, unknown>;
  items: unknown[];
}

const core = '/api/v1/namespaces/default';
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const pod = (name: string, spec: object = {}) => ({
  metadata: { name },
  spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
});

describe('access to the API', () => {
  let server: TestServer;
  let bob: KeyPair;
  let node: KeyPair;
  const call = (method: string, path: string, body?: unknown, as?: KeyPair | null, headers?: Record<string, string>) =>
    server.call<Reply>(method, path, {
      body,
      ...(as === undefined ? {} : { as }),
      ...(headers === undefined ? {} : { headers }),
    });
  const tokenFor = async (account: string, request: object = {}) => {
    const answer = await call('POST', `${core}/serviceaccounts/${account}/token`, { spec: request });
    assert.equal(answer.status, 201, answer.text);
    return answer.body.status.token ?? '';
  };
  const withToken = (path: string, token: string) =>
    call('GET', path, undefined, null, { authorization: `Bearer ${token}` });

  before(async () => {
    server = await startApiServer();
    bob = await server.user('bob', 'developers');
    node = await server.user('system:node:n1', 'system:nodes');
    for (const name of ['default', 'other']) await call('POST', `${core}/serviceaccounts`, { metadata: { name } });
    await call('POST', `${core}/secrets`, { metadata: { name: 'needed' } });
    await call('POST', `${core}/secrets`, { metadata: { name: 'foreign' } });
    const volumes = [{ name: 'v', secret: { secretName: 'needed' } }];
    await call('POST', `${core}/pods`, pod('mine', { nodeName: 'n1', volumes }));
    await call('POST', `${core}/pods`, pod('theirs', { nodeName: 'n2' }));
  });
  after(() => server.close());

  it('lets anybody see health and version, and nothing else', async () => {
    for (const path of ['/healthz', '/readyz', '/version'])
      assert.equal((await call('GET', path, undefined, null)).status, 200);
    const refused = await call('GET', `${core}/pods`, undefined, null);
    assert.equal(refused.status, 403);
    assert.equal(
      refused.body.message,
      'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "default"',
    );
  });

  it('answers 401 to wrong credentials', async () => {
    assert.equal((await withToken(`${core}/pods`, 'no.such.token')).status, 401);
  });

  it('gives a user what roles and bindings say, at once, and takes it back', async () => {
    assert.equal((await call('GET', `${core}/configmaps`, undefined, bob)).status, 403);
    const rules = [{ apiGroups: [''], resources: ['configmaps'], verbs: ['list'] }];
    await call('POST', `${rbac}/namespaces/default/roles`, { metadata: { name: 'lister' }, rules });
    await call('POST', `${rbac}/namespaces/default/rolebindings`, {
      metadata: { name: 'lister' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'lister' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'developers' }],
    });
    assert.equal((await call('GET', `${core}/configmaps`, undefined, bob)).status, 200);
    assert.equal((await call('GET', '/api/v1/configmaps', undefined, bob)).status, 403);
    await call('DELETE', `${rbac}/namespaces/default/rolebindings/lister`);
    assert.equal((await call('GET', `${core}/configmaps`, undefined, bob)).status, 403);
  });

  it('lets nobody grant more than they have', async () => {
    const rules = [{ apiGroups: ['rbac.authorization.k8s.io'], resources: ['roles'], verbs: ['create'] }];
    await call('POST', `${rbac}/clusterroles`, { metadata: { name: 'role-maker' }, rules });
    await call('POST', `${rbac}/clusterrolebindings`, {
      metadata: { name: 'role-maker' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'role-maker' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'bob' }],
    });
    const path = `${rbac}/namespaces/default/roles`;
    assert.equal((await call('POST', path, { metadata: { name: 'same' }, rules }, bob)).status, 201);
    const secrets = [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'] }];
    const refused = await call('POST', path, { metadata: { name: 'more' }, rules: secrets }, bob);
    assert.equal(refused.status, 403);
    assert.match(
      refused.body.message ?? '',
      /attempting to grant RBAC permissions not currently held:\n{APIGroups:\[""\], Resources:\["secrets"\]/,
    );
  });

  it('accepts a service account token until the account is gone', async () => {
    const token = await tokenFor('other');
    const reply = await withToken(`${core}/pods`, token);
    assert.match(reply.body.message ?? '', /User "system:serviceaccount:default:other" cannot list/);
    await call('DELETE', `${core}/serviceaccounts/other`);
    assert.equal((await withToken(`${core}/pods`, token)).status, 401);
  });

  it('ends a token with the pod that it is bound to', async () => {
    const created = await call('POST', `${core}/pods`, pod('short'));
    const reference = { kind: 'Pod', apiVersion: 'v1', name: 'short', uid: created.body.metadata.uid };
    const token = await tokenFor('default', { boundObjectRef: reference });
    assert.equal((await withToken(`${core}/pods`, token)).status, 403);
    await call('DELETE', `${core}/pods/short`);
    assert.equal((await withToken(`${core}/pods`, token)).status, 401);
  });

  it('does not accept a token for another audience, and says so in a review', async () => {
    const token = await tokenFor('default', { audiences: ['vault'] });
    assert.equal((await withToken(`${core}/pods`, token)).status, 401);
    const review = (audiences: string[]) =>
      call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { spec: { token, audiences } });
    assert.equal((await review(['vault'])).body.status.authenticated, true);
    assert.equal((await review(['vault'])).body.status.user?.username, 'system:serviceaccount:default:default');
    assert.notEqual((await review(['else'])).body.status.authenticated, true);
  });

  it('lets a node read the secrets of its own pods only', async () => {
    assert.equal((await call('GET', `${core}/secrets/needed`, undefined, node)).status, 200);
    assert.equal((await call('GET', `${core}/secrets/foreign`, undefined, node)).status, 403);
    assert.equal((await call('GET', `${core}/secrets`, undefined, node)).status, 403);
  });

  it('lets a node write only what is its own', async () => {
    const patch = (path: string, body: object) =>
      server.call<Reply>('PATCH', path, { body, as: node, contentType: 'application/merge-patch+json' });
    assert.equal((await patch(`${core}/pods/mine/status`, { status: { phase: 'Running' } })).status, 200);
    assert.equal((await patch(`${core}/pods/theirs/status`, { status: { phase: 'Running' } })).status, 403);
    assert.equal((await call('POST', '/api/v1/nodes', { metadata: { name: 'n1' } }, node)).status, 201);
    assert.equal((await call('POST', '/api/v1/nodes', { metadata: { name: 'n9' } }, node)).status, 403);
    assert.equal((await patch('/api/v1/nodes/n1', { spec: { taints: null } })).status, 403);
    const label = { metadata: { labels: { 'node-restriction.kubernetes.io/x': 'y' } } };
    assert.equal((await patch('/api/v1/nodes/n1', label)).status, 403);
    const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
    assert.equal((await call('POST', leases, { metadata: { name: 'n1' } }, node)).status, 201);
    assert.equal((await call('POST', leases, { metadata: { name: 'n9' } }, node)).status, 403);
  });

  it('acts as another user for those who may impersonate', async () => {
    const headers = { 'impersonate-user': 'bob' };
    assert.equal((await call('GET', `${core}/secrets`, undefined, undefined, headers)).status, 403);
    assert.equal((await call('GET', `${core}/pods`, undefined, bob, { 'impersonate-user': 'alice' })).status, 403);
  });

  it('reviews access', async () => {
    const review = (user: string) =>
      call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
        spec: {
          user,
          groups: ['system:nodes'],
          resourceAttributes: { verb: 'get', resource: 'secrets', namespace: 'default', name: 'needed' },
        },
      });
    assert.equal((await review('system:node:n1')).body.status.allowed, true);
    assert.equal((await review('system:node:n2')).body.status.allowed, false);
  });

  it('refuses what goes beyond a quota, also when requests come at once', async () => {
    await call('POST', '/api/v1/namespaces', { metadata: { name: 'small' } });
    const path = '/api/v1/namespaces/small';
    await call('POST', `${path}/resourcequotas`, { metadata: { name: 'q' }, spec: { hard: { configmaps: '3' } } });
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => call('POST', `${path}/configmaps`, { metadata: { name: `c${index}` } })),
    );
    assert.equal(answers.filter(({ status }) => status === 201).length, 3);
    const refused = answers.find(({ status }) => status === 403);
    assert.match(
      refused?.body.message ?? '',
      /exceeded quota: q, requested: configmaps=1, used: configmaps=3, limited: configmaps=3/,
    );
  });

  it('answers 429 to an eviction that a disruption budget does not allow', async () => {
    const labels = { app: 'guarded' };
    await call('POST', `${core}/pods`, {
      ...pod('guarded', { nodeName: 'n1' }),
      metadata: { name: 'guarded', labels },
    });
    await server.call('PATCH', `${core}/pods/guarded/status`, {
      body: { status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } },
      contentType: 'application/merge-patch+json',
    });
    const budgets = '/apis/policy/v1/namespaces/default/poddisruptionbudgets';
    await call('POST', budgets, {
      metadata: { name: 'b' },
      spec: { minAvailable: 1, selector: { matchLabels: labels } },
    });
    const status = (disruptionsAllowed: number) =>
      server.call('PATCH', `${budgets}/b/status`, {
        body: {
          status: { observedGeneration: 1, disruptionsAllowed, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 },
        },
        contentType: 'application/merge-patch+json',
      });
    const evict = () => call('POST', `${core}/pods/guarded/eviction`, { metadata: { name: 'guarded' } });
    await status(0);
    const refused = await evict();
    assert.equal(refused.status, 429);
    assert.equal(refused.body.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    await status(1);
    assert.equal((await evict()).status, 201);
  });
});
