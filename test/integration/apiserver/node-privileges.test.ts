// What a node may write: itself, its lease and the state of its pods; what it makes or asks for opens nothing of others.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startApiServer, type TestServer } from './start-api-server.ts';

const bounds = { timeout: 60_000 };
const core = '/api/v1/namespaces/default';
const pod = (name: string, spec: object = {}, metadata: object = {}) => ({
  metadata: { name, ...metadata },
  spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
});

describe('privileges of a node', () => {
  let server: TestServer;
  const make = async (path: string, body: unknown) => {
    const { status, text } = await server.call('POST', path, { body });
    assert.equal(status, 201, text);
  };

  before(async () => {
    server = await startApiServer();
    await make(`${core}/serviceaccounts`, { metadata: { name: 'default' } });
    for (const name of ['needed', 'foreign'])
      for (const kind of ['secrets', 'configmaps']) await make(`${core}/${kind}`, { metadata: { name } });
  });
  after(() => server?.close());

  it('lets a node write only itself, its lease and the state of its pods', bounds, async () => {
    const as = await server.user('system:node:a', 'system:nodes');
    const say = async (expected: number, method: string, path: string, body?: unknown) => {
      const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
      const answer = await server.call(method, path, { as, body, contentType });
      assert.equal(answer.status, expected, `${method} ${path}: ${answer.text}`);
    };
    const [created, ok, forbidden] = [201, 200, 403];
    const named = (name: string) => ({ metadata: { name } });
    const owners = (of: object = {}) => [
      { apiVersion: 'v1', kind: 'Node', name: 'a', uid: ownUid, controller: true, ...of },
    ];
    let ownUid = '';
    const mirror = (name: string, spec: object, ownerReferences: object[] = owners()) =>
      pod(name, spec, { annotations: { 'kubernetes.io/config.mirror': 'digest' }, ownerReferences });
    await make('/api/v1/nodes', named('b'));
    await make(`${core}/pods`, pod('on-a', { nodeName: 'a' }));
    await make(`${core}/pods`, pod('on-b', { nodeName: 'b' }));
    await make(`${core}/pods`, pod('nowhere'));

    await say(created, 'POST', '/api/v1/nodes', named('a'));
    await say(forbidden, 'POST', '/api/v1/nodes', named('c'));
    const ready = { status: { conditions: [{ type: 'Ready', status: 'True' }] } };
    await say(ok, 'PATCH', '/api/v1/nodes/a/status', ready);
    await say(forbidden, 'PATCH', '/api/v1/nodes/b/status', ready);
    await say(forbidden, 'PATCH', '/api/v1/nodes/b', { spec: { unschedulable: true } });
    await say(forbidden, 'PATCH', '/api/v1/nodes/a', { spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] } });
    const label = { metadata: { labels: { 'node-restriction.kubernetes.io/team': 'x' } } };
    await say(forbidden, 'PATCH', '/api/v1/nodes/a', label);
    for (const name of ['a', 'b']) await say(forbidden, 'DELETE', `/api/v1/nodes/${name}`);

    const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
    const csiNodes = '/apis/storage.k8s.io/v1/csinodes';
    for (const [path, more] of [
      [leases, {}],
      [csiNodes, { spec: { drivers: [] } }],
    ] as const) {
      await say(created, 'POST', path, { ...named('a'), ...more });
      await say(forbidden, 'POST', path, { ...named('b'), ...more });
      await say(ok, 'PATCH', `${path}/a`, { metadata: { labels: { x: 'y' } } });
      await say(forbidden, 'PATCH', `${path}/b`, { metadata: { labels: { x: 'y' } } });
    }
    await say(forbidden, 'POST', leases.replace('kube-node-lease', 'kube-system'), named('a'));

    ownUid = (await server.call<{ metadata: { uid: string } }>('GET', '/api/v1/nodes/a')).body.metadata.uid;
    await say(created, 'POST', `${core}/pods`, mirror('static-a', { nodeName: 'a' }));
    for (const [index, wrong] of [
      [],
      owners({ name: 'b' }),
      owners({ uid: 'other' }),
      owners({ controller: false }),
      owners({ blockOwnerDeletion: true }),
      [...owners(), ...owners({ name: 'b', controller: false })],
    ].entries())
      await say(forbidden, 'POST', `${core}/pods`, mirror(`owned-${index}`, { nodeName: 'a' }, wrong));
    // Nothing that it names is opened by a pod that a node makes itself.
    for (const [index, volume] of [
      { secret: { secretName: 'foreign' } },
      { configMap: { name: 'foreign' } },
      { persistentVolumeClaim: { claimName: 'foreign' } },
      { projected: { sources: [{ secret: { name: 'foreign' } }] } },
    ].entries()) {
      const spec = { nodeName: 'a', volumes: [{ name: 'v', ...volume }] };
      await say(forbidden, 'POST', `${core}/pods`, mirror(`opens-${index}`, spec));
    }
    await say(
      forbidden,
      'POST',
      `${core}/pods`,
      mirror('pulls', { nodeName: 'a', imagePullSecrets: [{ name: 'foreign' }] }),
    );
    await say(forbidden, 'GET', `${core}/secrets/foreign`);

    await server.call('POST', `${core}/serviceaccounts`, { body: named('worker') });
    const uids: Record<string, string> = {};
    for (const node of ['a', 'b']) {
      const spec = { nodeName: node, serviceAccountName: 'worker' };
      await make(`${core}/pods`, pod(`works-on-${node}`, spec));
      const made = await server.call<{ metadata: { uid: string } }>('GET', `${core}/pods/works-on-${node}`);
      uids[node] = made.body.metadata.uid;
    }
    const tokenFor = (boundObjectRef?: object) => ({ spec: { audiences: [], boundObjectRef } });
    const bound = (node: string, uid = uids[node]) =>
      tokenFor({ kind: 'Pod', apiVersion: 'v1', name: `works-on-${node}`, uid });
    const tokens = `${core}/serviceaccounts/worker/token`;
    await say(created, 'POST', tokens, bound('a'));
    for (const refused of [
      tokenFor(),
      bound('b'),
      bound('a', 'other'),
      bound('a', ''),
      tokenFor({ kind: 'Node', name: 'a' }),
    ])
      await say(forbidden, 'POST', tokens, refused);
    await say(forbidden, 'POST', `${core}/pods`, mirror('static-b', { nodeName: 'b' }));
    await say(forbidden, 'POST', `${core}/pods`, mirror('static-nowhere', {}));
    await say(forbidden, 'POST', `${core}/pods`, mirror('account', { nodeName: 'a', serviceAccountName: 'default' }));
    await say(forbidden, 'POST', `${core}/pods`, pod('plain', { nodeName: 'a' }));
    const target = { kind: 'Node', name: 'a' };
    await say(forbidden, 'POST', `${core}/pods/nowhere/binding`, { ...named('nowhere'), target });
    await say(forbidden, 'POST', `${core}/bindings`, { ...named('nowhere'), target });
    const running = { status: { phase: 'Running' } };
    await say(ok, 'PATCH', `${core}/pods/on-a/status`, running);
    for (const name of ['on-b', 'nowhere']) {
      await say(forbidden, 'PATCH', `${core}/pods/${name}/status`, running);
      await say(forbidden, 'POST', `${core}/pods/${name}/eviction`, named(name));
      await say(forbidden, 'DELETE', `${core}/pods/${name}`);
    }
    await say(forbidden, 'PATCH', `${core}/pods/on-a/status`, { metadata: { labels: { app: 'stolen' } } });
    await say(forbidden, 'PATCH', `${core}/pods/on-a`, { metadata: { labels: { app: 'stolen' } } });
    await say(ok, 'DELETE', `${core}/pods/on-a?gracePeriodSeconds=0`);
    const about = { involvedObject: { kind: 'Node', name: 'a', namespace: 'default' } };
    await say(created, 'POST', `${core}/events`, { ...named('told-by-a'), ...about });
  });

  it('lets a node read what has to do with it, and SubjectAccessReviews say the same', bounds, async () => {
    const as = await server.user('system:node:reader', 'system:nodes');
    const needs = { nodeName: 'reader', volumes: [{ name: 'v', secret: { secretName: 'needed' } }] };
    await make(`${core}/pods`, pod('of-reader', needs));
    await make(`${core}/pods`, pod('of-another', { nodeName: 'another' }));
    const [ok, none, forbidden] = [200, 404, 403];
    const slices = '/apis/resource.k8s.io/v1/resourceslices';
    const own = 'fieldSelector=spec.nodeName%3Dreader';
    const table: [number, string][] = [
      [ok, `${core}/pods/of-reader`],
      [forbidden, `${core}/pods/of-another`],
      [ok, `/api/v1/pods?${own}`],
      [ok, `/api/v1/pods?watch=1&timeoutSeconds=1&${own}`],
      [forbidden, '/api/v1/pods'],
      [forbidden, '/api/v1/pods?fieldSelector=spec.nodeName%3Danother'],
      [forbidden, '/api/v1/pods?fieldSelector=spec.nodeName!%3Dreader'],
      [forbidden, `${core}/pods?labelSelector=app%3Dreader`],
      [none, '/api/v1/nodes/reader'],
      [ok, '/api/v1/nodes?fieldSelector=metadata.name%3Dreader'],
      [forbidden, '/api/v1/nodes'],
      [forbidden, '/api/v1/nodes/another'],
      [ok, `${core}/secrets/needed`],
      [ok, `${core}/secrets?fieldSelector=metadata.name%3Dneeded`],
      [forbidden, `${core}/secrets/foreign`],
      [forbidden, `${core}/secrets`],
      [forbidden, '/apis/resource.k8s.io/v1/namespaces/default/resourceclaims'],
      [forbidden, '/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/any'],
      [ok, `${slices}?${own}`],
      [forbidden, slices],
    ];
    for (const [expected, path] of table) {
      const { status, text } = await server.call('GET', path, { as });
      assert.equal(status, expected, `GET ${path}: ${text}`);
    }
    const slice = (nodeName: string) => ({
      metadata: { name: `slice-${nodeName}` },
      spec: { driver: 'd.example.com', nodeName, pool: { name: 'p', generation: 1, resourceSliceCount: 1 } },
    });
    for (const [expected, nodeName] of [
      [201, 'reader'],
      [forbidden, 'another'],
    ] as const) {
      const { status, text } = await server.call('POST', slices, { as, body: slice(nodeName) });
      assert.equal(status, expected, text);
    }
    const deleted = await server.call('DELETE', `${slices}?${own}`, { as });
    assert.equal(deleted.status, ok, deleted.text);

    const review = async (resourceAttributes: object) => {
      const spec = { user: 'system:node:reader', groups: ['system:nodes', 'system:authenticated'], resourceAttributes };
      const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
      return server.call<{ status: { allowed: boolean; evaluationError?: string } }>('POST', path, { body: { spec } });
    };
    const list = { verb: 'list', resource: 'pods', version: 'v1' };
    const requirement = (operator: string, ...values: string[]) => ({
      fieldSelector: { requirements: [{ key: 'spec.nodeName', operator, values }] },
    });
    assert.equal((await review({ ...list, ...requirement('In', 'reader') })).body.status.allowed, true);
    assert.equal((await review({ ...list, ...requirement('In', 'another') })).body.status.allowed, false);
    assert.equal((await review({ ...list, ...requirement('NotIn', 'reader') })).body.status.allowed, false);
    const raw = { fieldSelector: { rawSelector: 'spec.nodeName=reader' } };
    assert.equal((await review({ ...list, ...raw })).body.status.allowed, true);
    const broken = await review({ ...list, ...requirement('Exists') });
    assert.deepEqual(
      [broken.body.status.allowed, broken.body.status.evaluationError],
      [false, 'spec.resourceAttributes.fieldSelector ignored due to parse error'],
    );
    const empty = await review({ ...list, fieldSelector: {} });
    assert.equal(empty.status, 422);
    assert.match(empty.text, /requirements or rawSelector is required/);
  });
});
