// What each default role and identity may do, and what it must be refused: tables of questions to a running server, and
// real requests where admission has a say as well.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ClusterRole, PolicyRule } from '#kube/api/generated/rbac-v1.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

interface Identity {
  user: string;
  groups: string[];
}

interface Reply {
  message?: string;
  status: { allowed?: boolean; token?: string; userInfo?: { username: string } };
  metadata: { name: string; uid: string };
}

const bounds = { timeout: 60_000 };
const core = '/api/v1/namespaces/default';
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const rbacGroup = 'rbac.authorization.k8s.io';
const authenticated = 'system:authenticated';
const person = (user: string, ...groups: string[]): Identity => ({ user, groups: [...groups, authenticated] });
const account = (namespace: string, name: string): Identity =>
  person(`system:serviceaccount:${namespace}:${name}`, 'system:serviceaccounts', `system:serviceaccounts:${namespace}`);
const pod = (name: string, spec: object = {}, metadata: object = {}) => ({
  metadata: { name, ...metadata },
  spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
});

/** `verb /path` or `verb resource.group/subresource namespace/name`; a place without a slash is a name alone. */
function attributesOf(question: string): object {
  const [verb = '', thing = '', place = ''] = question.split(' ');
  if (thing.startsWith('/')) return { nonResourceAttributes: { verb, path: thing } };
  const [dotted = '', ...subresource] = thing.split('/');
  const [resource, ...group] = dotted.split('.');
  const slash = place.indexOf('/');
  const where = { namespace: slash < 0 ? '' : place.slice(0, slash), name: place.slice(slash + 1) };
  const what = { verb, resource, group: group.join('.'), subresource: subresource.join('/') };
  return { resourceAttributes: { ...what, ...where } };
}

/** One question for each verb and thing that a rule names. */
function questionsOf(rules: readonly PolicyRule[]): string[] {
  const known = (name: string, instead: string) => (name === '*' ? instead : name);
  return rules.flatMap(({ verbs, nonResourceURLs = [], apiGroups = [], resources = [], resourceNames = [''] }) =>
    verbs.flatMap((verb) => [
      ...nonResourceURLs.map((url) => `${known(verb, 'get')} ${known(url, '/any')}`),
      ...apiGroups.flatMap((group) =>
        resources.flatMap((resource) =>
          resourceNames.map((name) => {
            const [plural = '', ...rest] = known(resource, 'widgets').split('/');
            const suffix = group === '' ? '' : `.${known(group, 'example.com')}`;
            return `${known(verb, 'frobnicate')} ${[`${plural}${suffix}`, ...rest].join('/')} default/${name}`;
          }),
        ),
      ),
    ]),
  );
}

describe('privileges', () => {
  let server: TestServer;
  const call = (method: string, path: string, body?: unknown, identity?: Identity) =>
    server.call<Reply>(method, path, {
      body,
      ...(method === 'PATCH' ? { contentType: 'application/merge-patch+json' } : {}),
      ...(identity === undefined ? {} : { headers: { 'impersonate-user': identity.user } }),
    });
  const make = async (path: string, body: unknown) => {
    const { status, text, body: made } = await call('POST', path, body);
    assert.equal(status, 201, text);
    return made;
  };
  const isAllowed = async ({ user, groups }: Identity, question: string) => {
    const body = { spec: { user, groups, ...attributesOf(question) } };
    const answer = await call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', body);
    assert.equal(answer.status, 201, answer.text);
    return answer.body.status.allowed === true;
  };
  /** Those of the questions that are answered with yes. */
  const allowedOf = async (identity: Identity, questions: readonly string[]) => {
    const allowed: string[] = [];
    for (const question of questions) if (await isAllowed(identity, question)) allowed.push(question);
    return allowed;
  };
  const check = async (identity: Identity, allowed: readonly string[], refused: readonly string[]) =>
    assert.deepEqual(await allowedOf(identity, [...allowed, ...refused]), allowed);
  const bind = (name: string, subject: object) =>
    make(`${rbac}/namespaces/default/rolebindings`, {
      metadata: { name: `${name}-here` },
      roleRef: { apiGroup: rbacGroup, kind: 'ClusterRole', name },
      subjects: [subject],
    });

  before(async () => {
    server = await startApiServer();
    await make(`${core}/serviceaccounts`, { metadata: { name: 'default' } });
    for (const role of ['view', 'edit', 'admin', 'cluster-admin'])
      await bind(role, { apiGroup: rbacGroup, kind: 'User', name: `${role}-user` });
  });
  after(() => server?.close());

  it('shows health to anonymous callers, and nothing else', bounds, async () => {
    for (const path of ['/healthz', '/livez', '/readyz', '/version'])
      assert.equal((await server.call('GET', path, { as: null })).status, 200, path);
    const refused = ['/api', '/apis', '/openapi/v2', '/metrics', '/logs', '/api/v1/nodes', `${core}/secrets`, rbac];
    for (const path of refused) assert.equal((await server.call('GET', path, { as: null })).status, 403, path);
    const body = { spec: {} };
    for (const path of ['/apis/authentication.k8s.io/v1/selfsubjectreviews', `${core}/pods`])
      assert.equal((await server.call('POST', path, { as: null, body })).status, 403, path);
  });

  it('shows who is known discovery and themselves', bounds, async () => {
    const as = await server.user('somebody');
    for (const path of ['/api', '/api/v1', '/apis', '/apis/apps/v1', '/openapi/v2', '/openapi/v3', '/version'])
      assert.equal((await server.call('GET', path, { as })).status, 200, path);
    const reviews: [string, object][] = [
      ['/apis/authentication.k8s.io/v1/selfsubjectreviews', {}],
      ['/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { spec: attributesOf('get pods default/') }],
      ['/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', { spec: { namespace: 'default' } }],
    ];
    for (const [path, body] of reviews) assert.equal((await server.call('POST', path, { as, body })).status, 201, path);
    const refused = [
      'create subjectaccessreviews.authorization.k8s.io',
      'create localsubjectaccessreviews.authorization.k8s.io default/',
      'create tokenreviews.authentication.k8s.io',
      'list namespaces',
      'get namespaces default',
      'list pods default/',
      'get configmaps kube-system/extension-apiserver-authentication',
      'create certificatesigningrequests.certificates.k8s.io',
      'impersonate users root',
      'get /metrics',
      'get /debug/pprof/',
      'get /openid/v1/jwks',
    ];
    await check(person('somebody'), ['get /apis/apps', 'get /healthz'], refused);
  });

  it('gives a service account the keys of tokens, and no more than anybody', bounds, async () => {
    const made = await make(`${core}/serviceaccounts/default/token`, { spec: {} });
    const headers = { authorization: `Bearer ${made.status.token}` };
    const status = async (method: string, path: string, body?: object) =>
      (await server.call(method, path, { as: null, headers, body })).status;
    assert.equal(await status('GET', '/openid/v1/jwks'), 200);
    assert.equal(await status('GET', '/.well-known/openid-configuration'), 200);
    assert.equal(await status('GET', '/apis'), 200);
    for (const path of [`${core}/pods`, `${core}/secrets`, `${core}/serviceaccounts/default`, '/api/v1/nodes'])
      assert.equal(await status('GET', path), 403, path);
    assert.equal(await status('POST', `${core}/serviceaccounts/default/token`, { spec: {} }), 403);
    assert.equal(await status('POST', `${core}/pods`, pod('mine')), 403);
  });

  it('lets a viewer read what holds no secrets, in that namespace only', bounds, async () => {
    const allowed = [
      'get pods default/x',
      'list pods default/',
      'watch deployments.apps default/',
      'get pods/log default/x',
    ];
    const refused = [
      'get secrets default/x',
      'list secrets default/',
      'watch secrets default/',
      'create pods default/',
      'delete pods default/x',
      'create pods/exec default/x',
      'get pods/exec default/x',
      'get pods/portforward default/x',
      'get pods/proxy default/x',
      'create serviceaccounts/token default/default',
      `list roles.${rbacGroup} default/`,
      `list rolebindings.${rbacGroup} default/`,
      'patch deployments.apps/scale default/x',
      'list pods kube-system/',
      'list pods',
      'list nodes',
    ];
    await check(person('view-user'), allowed, refused);
  });

  it('lets an editor change workloads and read secrets, and no roles', bounds, async () => {
    const allowed = [
      'get secrets default/x',
      'create secrets default/',
      'create pods default/',
      'delete pods default/x',
      'create pods/exec default/x',
      'create pods/eviction default/x',
      'patch deployments.apps/scale default/x',
      'create serviceaccounts/token default/default',
      'impersonate serviceaccounts default/default',
      'get pods default/x',
    ];
    const refused = [
      `list roles.${rbacGroup} default/`,
      `create roles.${rbacGroup} default/`,
      `create rolebindings.${rbacGroup} default/`,
      `bind clusterroles.${rbacGroup} view`,
      `escalate clusterroles.${rbacGroup} view`,
      'create localsubjectaccessreviews.authorization.k8s.io default/',
      'update pods/status default/x',
      'create pods/binding default/x',
      'create resourcequotas default/',
      'create limitranges default/',
      'delete namespaces default',
      'update namespaces default/default',
      'impersonate users root',
      'impersonate groups system:masters',
      'create pods kube-system/',
      'create nodes',
    ];
    await check(person('edit-user'), allowed, refused);
  });

  it('lets an administrator of a namespace grant there what they have, and nothing beyond', bounds, async () => {
    const allowed = [
      `create roles.${rbacGroup} default/`,
      `create rolebindings.${rbacGroup} default/`,
      'create localsubjectaccessreviews.authorization.k8s.io default/',
      'create secrets default/',
      'get pods default/x',
    ];
    const refused = [
      `escalate roles.${rbacGroup} default/x`,
      `bind clusterroles.${rbacGroup} cluster-admin`,
      `create clusterroles.${rbacGroup}`,
      `create clusterrolebindings.${rbacGroup}`,
      'create resourcequotas default/',
      'update pods/status default/x',
      'impersonate users root',
      'impersonate groups system:masters',
      'create namespaces',
      'list secrets kube-system/',
      'list secrets',
    ];
    const admin = person('admin-user');
    await check(admin, allowed, refused);
    const roles = `${rbac}/namespaces/default/roles`;
    const role = (name: string, resource: string, verb: string) => ({
      metadata: { name },
      rules: [{ apiGroups: [''], resources: [resource], verbs: [verb] }],
    });
    assert.equal((await call('POST', roles, role('reader', 'secrets', 'get'), admin)).status, 201);
    const escalations = [
      role('quota', 'resourcequotas', 'create'),
      role('root', '*', '*'),
      role('who', 'users', 'impersonate'),
    ];
    for (const body of escalations)
      assert.equal((await call('POST', roles, body, admin)).status, 403, body.metadata.name);
    const more = { rules: role('', 'pods/status', 'update').rules };
    assert.equal((await call('PATCH', `${roles}/reader`, more, admin)).status, 403);
    const binding = (name: string) => ({
      metadata: { name: `by-admin-${name}` },
      roleRef: { apiGroup: rbacGroup, kind: 'ClusterRole', name },
      subjects: [{ apiGroup: rbacGroup, kind: 'User', name: 'guest' }],
    });
    const bindings = `${rbac}/namespaces/default/rolebindings`;
    assert.equal((await call('POST', bindings, binding('edit'), admin)).status, 201);
    for (const name of ['cluster-admin', 'system:node', 'system:kube-controller-manager'])
      assert.equal((await call('POST', bindings, binding(name), admin)).status, 403, name);
    assert.equal((await call('POST', `${rbac}/clusterrolebindings`, binding('view'), admin)).status, 403);
    const as = await server.user('admin-user');
    for (const name of ['impersonate-user', 'impersonate-group'])
      assert.equal(
        (await server.call('GET', '/api', { as, headers: { 'impersonate-user': 'root', [name]: 'root' } })).status,
        403,
      );
  });

  it('keeps a cluster administrator by role binding inside the namespace', bounds, async () => {
    const allowed = [
      'delete secrets default/x',
      'frobnicate widgets.example.com default/x',
      `escalate roles.${rbacGroup} default/x`,
    ];
    const refused = [
      'get nodes a',
      'list secrets',
      'list secrets kube-system/',
      'get /metrics',
      'impersonate users root',
    ];
    await check(person('cluster-admin-user'), allowed, refused);
    await check(person('root', 'system:masters'), [...allowed, ...refused], []);
  });

  it('lets the scheduler bind pods and write no workloads', bounds, async () => {
    const allowed = [
      'list pods',
      'delete pods default/x',
      'create pods/binding default/x',
      'patch pods/status default/x',
      'watch nodes',
      'update leases.coordination.k8s.io kube-system/kube-scheduler',
      'get configmaps kube-system/extension-apiserver-authentication',
      'update persistentvolumes x',
    ];
    const refused = [
      'create pods default/',
      'update pods default/x',
      'get secrets default/x',
      'list secrets',
      'get configmaps default/x',
      'update nodes a',
      'patch nodes/status a',
      'create serviceaccounts/token default/default',
      'update leases.coordination.k8s.io default/other',
      'create deployments.apps default/',
      `list clusterroles.${rbacGroup}`,
    ];
    await check(person('system:kube-scheduler'), allowed, refused);
  });

  it('lets the controller manager read, and write only as its controllers', bounds, async () => {
    const allowed = [
      'list secrets',
      'watch widgets.example.com',
      'get secrets default/x',
      'create serviceaccounts default/',
      'create serviceaccounts/token kube-system/job-controller',
      'create tokenreviews.authentication.k8s.io',
      'update leases.coordination.k8s.io kube-system/kube-controller-manager',
    ];
    const refused = [
      'create pods default/',
      'delete pods default/x',
      'update nodes a',
      'create pods/binding default/x',
      'update deployments.apps default/x',
      'patch secrets default/x',
      `create clusterrolebindings.${rbacGroup}`,
      'approve signers.certificates.k8s.io /kubernetes.io/kube-apiserver-client',
      'impersonate users root',
      'get pods/exec default/x',
    ];
    await check(person('system:kube-controller-manager'), allowed, refused);
  });

  it('lets the proxy watch services and tell events', bounds, async () => {
    const allowed = [
      'list services',
      'watch endpointslices.discovery.k8s.io',
      'get nodes a',
      'watch servicecidrs.networking.k8s.io',
      'create events default/',
      'patch events.events.k8s.io default/x',
    ];
    const refused = [
      'get services default/x',
      'update services default/x',
      'create endpointslices.discovery.k8s.io default/',
      'patch nodes/status a',
      'list pods',
      'list configmaps kube-system/',
      'get secrets default/x',
      'delete events default/x',
    ];
    await check(person('system:kube-proxy'), allowed, refused);
  });

  it('lets a bootstrap token ask for a certificate once its group is bound, and nothing else', bounds, async () => {
    const id = 'abcdef';
    const secret = '0123456789abcdef';
    const stringData = {
      'token-id': id,
      'token-secret': secret,
      'usage-bootstrap-authentication': 'true',
      'auth-extra-groups': 'system:bootstrappers:joining,system:masters',
    };
    const type = 'bootstrap.kubernetes.io/token';
    const kept = { metadata: { name: `bootstrap-token-${id}` }, type, stringData };
    await make('/api/v1/namespaces/kube-system/secrets', kept);
    const headers = { authorization: `Bearer ${id}.${secret}` };
    const status = async (path: string) => (await server.call('GET', path, { as: null, headers })).status;
    const requests = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
    assert.equal(await status(requests), 403);
    await make(`${rbac}/clusterrolebindings`, {
      metadata: { name: 'joining' },
      roleRef: { apiGroup: rbacGroup, kind: 'ClusterRole', name: 'system:node-bootstrapper' },
      subjects: [{ apiGroup: rbacGroup, kind: 'Group', name: 'system:bootstrappers:joining' }],
    });
    assert.equal(await status(requests), 200);
    for (const path of ['/api/v1/nodes', `${core}/pods`, '/api/v1/namespaces/kube-system/secrets'])
      assert.equal(await status(path), 403, path);
    const joining = person(`system:bootstrap:${id}`, 'system:bootstrappers', 'system:bootstrappers:joining');
    const csr = 'certificatesigningrequests.certificates.k8s.io';
    const refused = [
      `delete ${csr} x`,
      `update ${csr}/approval x`,
      `update ${csr}/status x`,
      `create ${csr}/nodeclient`,
      'approve signers.certificates.k8s.io /kubernetes.io/kube-apiserver-client-kubelet',
      'create nodes',
      'get configmaps kube-public/cluster-info',
    ];
    await check(joining, [`create ${csr}`, `get ${csr} x`, `list ${csr}`, `watch ${csr}`], refused);
  });

  it('lets a node read what its pods need, and nothing that others need', bounds, async () => {
    for (const name of ['needed', 'foreign'])
      for (const kind of ['secrets', 'configmaps']) await make(`${core}/${kind}`, { metadata: { name } });
    await make(`${core}/serviceaccounts`, { metadata: { name: 'foreign' } });
    const needs = (name: string) => [
      { name: 's', secret: { secretName: name } },
      { name: 'c', configMap: { name } },
      { name: 'p', persistentVolumeClaim: { claimName: name } },
    ];
    await make(`${core}/pods`, pod('mine', { nodeName: 'a', volumes: needs('needed') }));
    await make(
      `${core}/pods`,
      pod('theirs', { nodeName: 'b', volumes: needs('foreign'), serviceAccountName: 'foreign' }),
    );
    const node = person('system:node:a', 'system:nodes');
    const allowed = [
      'get secrets default/needed',
      'watch secrets default/needed',
      'get configmaps default/needed',
      'get persistentvolumeclaims default/needed',
      'create serviceaccounts/token default/default',
      'get pods default/mine',
      'get nodes a',
      'list services',
      'get csidrivers.storage.k8s.io x',
      'get leases.coordination.k8s.io kube-node-lease/a',
      'update leases.coordination.k8s.io kube-node-lease/a',
      'get csinodes.storage.k8s.io a',
      'patch nodes/status a',
      'create events default/',
      'create certificatesigningrequests.certificates.k8s.io',
    ];
    const refused = [
      'get secrets default/foreign',
      'watch secrets default/foreign',
      'list secrets default/',
      'list secrets',
      'get secrets kube-system/needed',
      'update secrets default/needed',
      'delete secrets default/needed',
      'get configmaps default/foreign',
      'list configmaps',
      'patch configmaps default/needed',
      'get persistentvolumeclaims default/foreign',
      'update persistentvolumeclaims default/needed',
      'create serviceaccounts/token default/foreign',
      'get serviceaccounts/token default/default',
      'update leases.coordination.k8s.io kube-node-lease/b',
      'get leases.coordination.k8s.io kube-node-lease/b',
      'get leases.coordination.k8s.io default/a',
      'list leases.coordination.k8s.io kube-node-lease/',
      'get csinodes.storage.k8s.io b',
      'delete csinodes.storage.k8s.io b',
      'list csinodes.storage.k8s.io',
      'create pods/binding default/mine',
      'create bindings default/',
      'update pods default/mine',
      'patch pods default/mine',
      'create pods/exec default/theirs',
      'create deployments.apps default/',
      'update services default/x',
      'create namespaces',
      `create clusterrolebindings.${rbacGroup}`,
      `list clusterroles.${rbacGroup}`,
      'update certificatesigningrequests.certificates.k8s.io/approval x',
      'impersonate users root',
    ];
    await check(node, allowed, refused);
    // Neither the name alone nor the group alone makes a node.
    const reads = ['get secrets default/needed', 'get leases.coordination.k8s.io kube-node-lease/a'];
    await check(person('system:node:a'), [], reads);
    await check(person('a', 'system:nodes'), [], reads);
    await check(person('system:node:b', 'system:nodes'), ['get secrets default/foreign'], reads);
    assert.equal((await call('DELETE', `${core}/pods/mine?gracePeriodSeconds=0`)).status, 200);
    await check(node, [], ['get secrets default/needed', 'create serviceaccounts/token default/default']);
  });

  it('gives each controller what its role says, and not what the next one has', bounds, async () => {
    const { items } = (await server.call<{ items: ClusterRole[] }>('GET', `${rbac}/clusterroles`)).body;
    const roles = items.filter(({ metadata }) => metadata?.name?.startsWith('system:controller:') === true);
    assert.ok(roles.length > 35, `only ${roles.length} controllers`);
    const anybody = person('somebody');
    let refusals = 0;
    for (const [index, role] of roles.entries()) {
      const controller = account('kube-system', (role.metadata?.name ?? '').replace('system:controller:', ''));
      const own = questionsOf(role.rules ?? []);
      assert.deepEqual(await allowedOf(controller, own), own, role.metadata?.name);
      const hasAll = (role.rules ?? []).flatMap(({ apiGroups = [], resources = [], verbs }) =>
        apiGroups.includes('*') && resources.includes('*') ? verbs : [],
      );
      const others = questionsOf(roles[(index + 1) % roles.length]?.rules ?? []).filter(
        (question) =>
          !own.includes(question) && !hasAll.some((verb) => verb === '*' || question.startsWith(`${verb} `)),
      );
      refusals += others.length;
      assert.deepEqual(await allowedOf(controller, others), [], role.metadata?.name);
      // The name counts, and the namespace does.
      const namesake = { ...controller, user: controller.user.replace(':kube-system:', ':default:') };
      assert.deepEqual(await allowedOf(namesake, own.slice(0, 2)), [], role.metadata?.name);
      assert.deepEqual(await allowedOf(anybody, own.slice(0, 2)), [], role.metadata?.name);
    }
    assert.ok(refusals > 300, `only ${refusals} refusals were tried`);
  });
});
