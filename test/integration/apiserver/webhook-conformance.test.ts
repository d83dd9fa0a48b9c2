// What upstream's conformance suite checks of admission webhooks beyond webhooks.test.ts: their configurations' lists,
// changes and conditions, definitions that are refused, and custom resources whose stored version changes.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { answerJson, startTlsServer, type TlsServer } from '../../support/tls-server.ts';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

interface Thing {
  metadata: { name: string; resourceVersion: string };
  webhooks: { matchConditions?: { name: string; expression: string }[] }[];
  data?: Record<string, string>;
  items: Thing[];
  groups: { name: string; versions: { groupVersion: string }[] }[];
  resources: { name: string }[];
}

const group = '/apis/admissionregistration.k8s.io/v1';
const maps = '/api/v1/namespaces/default/configmaps';
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const json = 'application/json-patch+json';

describe('admission webhooks, as upstream tries them', () => {
  let server: TestServer;
  let hooks: TlsServer;
  let made = 0;
  const call = (method: string, path: string, body?: unknown, contentType?: string): Promise<Answer<Thing>> =>
    server.call<Thing>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });
  const rule = (resources: string[], apiGroups = [''], operations = ['CREATE']) => ({
    apiGroups,
    apiVersions: ['*'],
    operations,
    resources,
  });
  const hook = (path: string, rules: object[], more: object = {}) => ({
    name: 'hook.example.com',
    rules,
    clientConfig: { url: `https://127.0.0.1:${hooks.port}${path}`, caBundle: hooks.caBundle },
    admissionReviewVersions: ['v1', 'v1beta1'],
    sideEffects: 'None',
    ...more,
  });
  /** What a new config map is answered: its data, or the code of the refusal. */
  const tryMap = async (): Promise<number | Record<string, string>> => {
    made += 1;
    const answer = await call('POST', maps, { metadata: { name: `map-${made}` }, data: { start: 'yes' } });
    return answer.status === 201 ? (answer.body.data ?? {}) : answer.status;
  };
  const plain = { start: 'yes' };
  const mutated = { start: 'yes', added: 'yes' };

  before(async () => {
    server = await startApiServer();
    hooks = await startTlsServer({
      handle: (request, response, body) => {
        const { apiVersion, request: review } = JSON.parse(body) as { apiVersion: string; request: { uid: string } };
        const path = request.url?.split('?')[0];
        const patch = (operations: object[]) => ({
          allowed: true,
          patchType: 'JSONPatch',
          patch: Buffer.from(JSON.stringify(operations)).toString('base64'),
        });
        const verdict =
          path === '/mutate'
            ? patch([{ op: 'add', path: '/data/added', value: 'yes' }])
            : path === '/allow'
              ? { allowed: true }
              : { allowed: false, status: { code: 403, message: 'denied' } };
        answerJson(response, { apiVersion, kind: 'AdmissionReview', response: { uid: review.uid, ...verdict } });
      },
    });
  });
  after(async () => {
    await server.close();
    await hooks.close();
  });

  for (const [kind, path, affected] of [
    ['mutating', '/mutate', mutated],
    ['validating', '/deny', 403],
  ] as const) {
    const configurations = `${group}/${kind}webhookconfigurations`;

    it(`AdmissionWebhook listing ${kind} webhooks should work`, async () => {
      for (let index = 0; index < 10; index += 1) {
        const metadata = { name: `list-${index}`, labels: { list: 'yes' } };
        const webhooks = [hook(index === 0 ? path : '/allow', [rule(['configmaps'])])];
        assert.equal((await call('POST', configurations, { metadata, webhooks })).status, 201);
      }
      assert.equal((await call('GET', `${configurations}?labelSelector=list%3Dyes`)).body.items.length, 10);
      assert.deepEqual(await tryMap(), affected);
      assert.equal((await call('DELETE', `${configurations}?labelSelector=list%3Dyes`)).status, 200);
      assert.equal((await call('GET', `${configurations}?labelSelector=list%3Dyes`)).body.items.length, 0);
      assert.deepEqual(await tryMap(), plain);
    });

    it(`AdmissionWebhook patching/updating a ${kind} webhook should work`, async () => {
      const created = await call('POST', configurations, {
        metadata: { name: 'change' },
        webhooks: [hook(path, [rule(['configmaps'])])],
      });
      assert.deepEqual(await tryMap(), affected);
      const webhooks = [hook(path, [rule(['configmaps'], [''], ['UPDATE'])])];
      const { resourceVersion } = created.body.metadata;
      const updated = await call('PUT', `${configurations}/change`, {
        metadata: { name: 'change', resourceVersion },
        webhooks,
      });
      assert.equal(updated.status, 200, updated.text);
      assert.deepEqual(await tryMap(), plain);
      const patch = [{ op: 'replace', path: '/webhooks/0/rules/0/operations', value: ['CREATE'] }];
      assert.equal((await call('PATCH', `${configurations}/change`, patch, json)).status, 200);
      assert.deepEqual(await tryMap(), affected);
      await call('DELETE', `${configurations}/change`);
    });

    it(`AdmissionWebhook should be able to create and update ${kind} webhook configurations with match conditions`, async () => {
      const conditions = [{ name: 'one', expression: "object.metadata.namespace == 'production'" }];
      const webhooks = (matchConditions: object[]) => [hook(path, [rule(['configmaps'])], { matchConditions })];
      const created = await call('POST', configurations, {
        metadata: { name: 'conditions' },
        webhooks: webhooks(conditions),
      });
      assert.deepEqual(created.body.webhooks[0]?.matchConditions, conditions);
      assert.deepEqual(await tryMap(), plain);
      const changed = [{ name: 'two', expression: "request.operation == 'CREATE'" }];
      const metadata = { name: 'conditions', resourceVersion: created.body.metadata.resourceVersion };
      assert.equal(
        (await call('PUT', `${configurations}/conditions`, { metadata, webhooks: webhooks(changed) })).status,
        200,
      );
      const read = await call('GET', `${configurations}/conditions`);
      assert.deepEqual(read.body.webhooks[0]?.matchConditions, changed);
      assert.deepEqual(await tryMap(), affected);
      await call('DELETE', `${configurations}/conditions`);
    });

    it(`AdmissionWebhook should reject ${kind} webhook configurations with invalid match conditions`, async () => {
      const matchConditions = [{ name: 'invalid-expression-1', expression: '... [] bad expression' }];
      const refused = await call('POST', configurations, {
        metadata: { name: 'bad' },
        webhooks: [hook(path, [], { matchConditions })],
      });
      assert.equal(refused.status, 422);
      assert.match(refused.text, /compilation failed/);
    });
  }

  it('AdmissionWebhook should include webhook resources in discovery documents', async () => {
    const found = (await call('GET', '/apis')).body.groups.find(({ name }) => name === 'admissionregistration.k8s.io');
    assert.ok(found?.versions.some(({ groupVersion }) => groupVersion === 'admissionregistration.k8s.io/v1'));
    assert.equal((await call('GET', '/apis/admissionregistration.k8s.io')).status, 200);
    const names = (await call('GET', group)).body.resources.map(({ name }) => name);
    for (const name of ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations'])
      assert.ok(names.includes(name));
  });

  const definition = (plural: string, kind: string, stored: 'v1' | 'v2' = 'v1') => ({
    metadata: { name: `${plural}.hooked.example.com` },
    spec: {
      group: 'hooked.example.com',
      scope: 'Namespaced',
      names: { plural, kind },
      versions: (['v1', 'v2'] as const).map((name) => ({
        name,
        served: true,
        storage: name === stored,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      })),
    },
  });

  it('AdmissionWebhook should deny crd creation', async () => {
    const rules = [rule(['customresourcedefinitions'], ['apiextensions.k8s.io'])];
    await call('POST', `${group}/validatingwebhookconfigurations`, {
      metadata: { name: 'crds' },
      webhooks: [hook('/deny', rules)],
    });
    const refused = await call('POST', definitions, definition('nevers', 'Never'));
    assert.equal(refused.status, 403);
    assert.match(refused.text, /admission webhook \\"hook\.example\.com\\" denied the request: denied/);
    await call('DELETE', `${group}/validatingwebhookconfigurations/crds`);
  });

  it('AdmissionWebhook should mutate custom resource', async () => {
    assert.equal((await call('POST', definitions, definition('plains', 'Plain'))).status, 201);
    const path = '/apis/hooked.example.com/v1/namespaces/default/plains';
    await eventually('the kind is served', async () => (await call('GET', path)).status === 200);
    const rules = [rule(['plains'], ['hooked.example.com'])];
    await call('POST', `${group}/mutatingwebhookconfigurations`, {
      metadata: { name: 'plains' },
      webhooks: [hook('/mutate', rules)],
    });
    const created = await call('POST', path, { metadata: { name: 'a' }, data: plain });
    assert.deepEqual(created.body.data, mutated);
    await call('DELETE', `${group}/mutatingwebhookconfigurations/plains`);
  });

  it('AdmissionWebhook should mutate custom resource with different stored version', async () => {
    assert.equal((await call('POST', definitions, definition('moves', 'Move'))).status, 201);
    const path = '/apis/hooked.example.com/v1/namespaces/default/moves';
    await eventually('the kind is served', async () => (await call('GET', path)).status === 200);
    const rules = [rule(['moves'], ['hooked.example.com'], ['CREATE', 'UPDATE'])];
    await call('POST', `${group}/mutatingwebhookconfigurations`, {
      metadata: { name: 'moves' },
      webhooks: [hook('/mutate', rules)],
    });
    const created = await call('POST', path, { metadata: { name: 'a' }, data: plain });
    assert.deepEqual(created.body.data, mutated);
    const { versions } = definition('moves', 'Move', 'v2').spec;
    const moved = await call(
      'PATCH',
      `${definitions}/moves.hooked.example.com`,
      [{ op: 'replace', path: '/spec/versions', value: versions }],
      json,
    );
    assert.equal(moved.status, 200, moved.text);
    const patched = await call('PATCH', `${path}/a`, { data: { more: 'yes' } }, 'application/merge-patch+json');
    assert.deepEqual([patched.status, patched.body.data], [200, { ...mutated, more: 'yes' }]);
    const other = await call('GET', '/apis/hooked.example.com/v2/namespaces/default/moves/a');
    assert.deepEqual(other.body.data, { ...mutated, more: 'yes' });
    await call('DELETE', `${group}/mutatingwebhookconfigurations/moves`);
  });
});
