// Admission webhooks over TLS: who is asked, what they may change and refuse, and what happens when they fail.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { defaultAdvertiseAddress } from '../../../control-plane-lite/config.ts';
import { answerJson, startTlsServer, type TlsServer } from '../../support/tls-server.ts';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

interface Thing {
  message?: string;
  code?: number;
  reason?: string;
  metadata: { name: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  data?: Record<string, string>;
  spec: Record<string, unknown>;
  items: Thing[];
}

interface Review {
  apiVersion: string;
  request: {
    uid: string;
    name: string;
    namespace?: string;
    operation: string;
    kind: { group: string; version: string; kind: string };
    resource: { version: string; resource: string };
    requestResource: { version: string };
    subResource?: string;
    userInfo: { username: string };
    object: Thing | null;
    oldObject: Thing | null;
    dryRun: boolean;
    options: { kind: string } | null;
  };
}

interface Verdict {
  allowed: boolean;
  status?: object;
  patch?: object[];
  warnings?: string[];
}

const group = '/apis/admissionregistration.k8s.io/v1';
const maps = '/api/v1/namespaces/default/configmaps';
const merge = 'application/merge-patch+json';
const mapRules = [
  { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['configmaps'] },
];

describe('admission webhooks', () => {
  let server: TestServer;
  let hooks: TlsServer;
  let seen: Review[] = [];
  let delayMs = 0;
  const verdicts: Record<string, (review: Review) => Verdict> = {
    '/allow': () => ({ allowed: true }),
    '/deny': ({ request }) =>
      request.object?.data?.['bad'] === undefined && request.operation !== 'DELETE' && request.operation !== 'CONNECT'
        ? { allowed: true, warnings: ['looked at'] }
        : { allowed: false, status: { code: 403, reason: 'Forbidden', message: 'the object has bad data' } },
    '/silent': () => ({ allowed: false }),
    '/one': ({ request }) =>
      request.object?.data?.['start'] === undefined
        ? { allowed: true }
        : { allowed: true, patch: [{ op: 'add', path: '/data/one', value: 'yes' }] },
    '/two': ({ request }) =>
      request.object?.data?.['one'] === undefined
        ? { allowed: true }
        : { allowed: true, patch: [{ op: 'add', path: '/data/two', value: 'yes' }] },
    '/container': () => ({
      allowed: true,
      patch: [{ op: 'add', path: '/spec/initContainers', value: [{ name: 'added', image: 'busybox' }] }],
    }),
    '/unknown': () => ({
      allowed: true,
      patch: [
        { op: 'add', path: '/spec/size', value: 5 },
        { op: 'add', path: '/spec/nope', value: 1 },
      ],
    }),
    '/count': ({ request }) => ({
      allowed: true,
      patch: [{ op: 'add', path: '/data/count', value: String(Number(request.object?.data?.['count'] ?? 0) + 1) }],
    }),
  };
  const call = (method: string, path: string, body?: unknown, contentType?: string): Promise<Answer<Thing>> =>
    server.call<Thing>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });

  const hook = (name: string, path: string, more: object = {}) => ({
    name: `${name}.example.com`,
    rules: mapRules,
    clientConfig: { url: `https://127.0.0.1:${hooks.port}${path}`, caBundle: hooks.caBundle },
    admissionReviewVersions: ['v1'],
    sideEffects: 'None',
    ...more,
  });
  const configure = async (
    kind: 'validating' | 'mutating',
    name: string,
    ...webhooks: object[]
  ): Promise<Answer<Thing>> => {
    const answer = await call('POST', `${group}/${kind}webhookconfigurations`, {
      metadata: { name, labels: { test: 'yes' } },
      webhooks,
    });
    assert.equal(answer.status, 201, answer.text);
    return answer;
  };

  before(async () => {
    server = await startApiServer();
    hooks = await startTlsServer({
      names: ['hooks.default.svc'],
      host: '0.0.0.0',
      handle: async (request, response, body) => {
        const review = JSON.parse(body) as Review;
        seen.push(review);
        if (delayMs > 0) await delay(delayMs);
        const path = (request.url ?? '').split('?')[0] ?? '';
        const verdict = verdicts[path]?.(review);
        if (verdict === undefined) {
          answerJson(response, {}, 404);
          return;
        }
        const { patch, ...rest } = verdict;
        const patched =
          patch === undefined
            ? {}
            : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') };
        answerJson(response, {
          apiVersion: review.apiVersion,
          kind: 'AdmissionReview',
          response: { uid: review.request.uid, ...rest, ...patched },
        });
      },
    });
  });
  afterEach(async () => {
    delayMs = 0;
    for (const kind of ['validating', 'mutating'])
      await call('DELETE', `${group}/${kind}webhookconfigurations?labelSelector=test%3Dyes`);
    seen = [];
  });
  after(async () => {
    await server.close();
    await hooks.close();
  });

  it('should be able to deny pod and configmap creation', async () => {
    await configure(
      'validating',
      'deny',
      hook('deny', '/deny', { namespaceSelector: { matchExpressions: [{ key: 'free', operator: 'DoesNotExist' }] } }),
    );
    const refused = await call('POST', maps, { metadata: { name: 'bad' }, data: { bad: 'x' } });
    assert.equal(refused.status, 403);
    assert.equal(
      refused.body.message,
      'admission webhook "deny.example.com" denied the request: the object has bad data',
    );
    assert.equal(refused.body.reason, 'Forbidden');
    const good = await call('POST', maps, { metadata: { name: 'good' }, data: { a: 'b' } });
    assert.equal(good.status, 201);
    assert.match(String(good.headers['warning']), /looked at/);
    const { request } = seen.at(-1) ?? assert.fail();
    assert.deepEqual(
      [
        request.operation,
        request.name,
        request.namespace,
        request.kind.kind,
        request.options?.kind,
        request.userInfo.username,
        request.oldObject,
      ],
      ['CREATE', 'good', 'default', 'ConfigMap', 'CreateOptions', 'kubernetes-admin', null],
    );
    for (const [method, contentType, body] of [
      ['PATCH', merge, { data: { bad: 'x' } }],
      ['PUT', 'application/json', { metadata: { name: 'good' }, data: { bad: 'x' } }],
    ] as const) {
      assert.equal((await call(method, `${maps}/good`, body, contentType)).status, 403);
    }
    assert.equal(seen.at(-1)?.request.oldObject?.data?.['a'], 'b');
    await call('POST', '/api/v1/namespaces', { metadata: { name: 'free', labels: { free: 'yes' } } });
    assert.equal(
      (await call('POST', '/api/v1/namespaces/free/configmaps', { metadata: { name: 'bad' }, data: { bad: 'x' } }))
        .status,
      201,
    );
    await call('DELETE', `${maps}/good`);
  });

  it('AdmissionWebhook should mutate configmap', async () => {
    await configure('mutating', 'order', hook('a', '/one'), hook('b', '/two'));
    const created = await call('POST', maps, { metadata: { name: 'order' }, data: { start: 'yes' } });
    assert.deepEqual(created.body.data, { start: 'yes', one: 'yes', two: 'yes' });
    const other = await call('POST', maps, { metadata: { name: 'other' }, data: { a: 'b' } });
    assert.deepEqual(other.body.data, { a: 'b' });
    const patched = await call('PATCH', `${maps}/other`, { data: { start: 'now' } }, merge);
    assert.deepEqual(patched.body.data, { a: 'b', start: 'now', one: 'yes', two: 'yes' });
    const put = await call('PUT', `${maps}/other`, { metadata: { name: 'other' }, data: { start: 'put' } });
    assert.deepEqual((await call('GET', `${maps}/other`)).body.data, put.body.data);
    assert.deepEqual(put.body.data, { start: 'put', one: 'yes', two: 'yes' });
  });

  it('are asked once more where a later one changed the object, if they want that', async () => {
    await configure(
      'mutating',
      'again',
      hook('count', '/count', { reinvocationPolicy: 'IfNeeded' }),
      hook('one', '/one'),
    );
    const twice = await call('POST', maps, { metadata: { name: 'twice' }, data: { start: 'x' } });
    assert.deepEqual(twice.body.data, { start: 'x', one: 'yes', count: '2' });
    const once = await call('POST', maps, { metadata: { name: 'once' }, data: { a: 'x' } });
    assert.equal(once.body.data?.['count'], '1');
  });

  it('AdmissionWebhook should mutate pod and apply defaults after mutation', async () => {
    const rules = [{ ...mapRules[0], operations: ['CREATE'], resources: ['pods'] }];
    await configure('mutating', 'pods', hook('pods', '/container', { rules }));
    await call('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
    const created = await call('POST', '/api/v1/namespaces/default/pods', {
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    assert.equal(created.status, 201, created.text);
    const [added] = created.body.spec['initContainers'] as { name: string; terminationMessagePolicy: string }[];
    assert.deepEqual([added?.name, added?.terminationMessagePolicy], ['added', 'File']);
  });

  it('should be able to deny custom resource creation, update and deletion, and should mutate custom resource with pruning', async () => {
    const schema = {
      openAPIV3Schema: {
        type: 'object',
        properties: { spec: { type: 'object', properties: { size: { type: 'integer' } } } },
      },
    };
    const made = await call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      metadata: { name: 'gadgets.hooks.example.com' },
      spec: {
        group: 'hooks.example.com',
        scope: 'Namespaced',
        names: { plural: 'gadgets', kind: 'Gadget' },
        versions: [
          { name: 'v1', served: true, storage: true, schema },
          { name: 'v2', served: true, storage: false, schema },
        ],
      },
    });
    assert.equal(made.status, 201, made.text);
    const gadgets = (version: string) => `/apis/hooks.example.com/${version}/namespaces/default/gadgets`;
    for (let attempt = 0; (await call('GET', gadgets('v2'))).status !== 200; attempt += 1) {
      assert.ok(attempt < 1000);
      await delay(10);
    }
    const rules = [
      { apiGroups: ['hooks.example.com'], apiVersions: ['v1'], operations: ['CREATE'], resources: ['gadgets'] },
    ];
    await configure('mutating', 'prune', hook('prune', '/unknown', { rules }));
    const pruned = await call('POST', gadgets('v2'), { metadata: { name: 'a' }, spec: {} });
    assert.deepEqual([pruned.status, pruned.body.spec], [201, { size: 5 }]);
    const { request } = seen.at(-1) ?? assert.fail();
    assert.deepEqual(
      [request.resource.version, request.requestResource.version, request.kind.version],
      ['v1', 'v2', 'v1'],
    );
    await configure(
      'validating',
      'keep',
      hook('keep', '/deny', { rules: [{ ...rules[0], operations: ['*'], apiVersions: ['*'] }] }),
    );
    const refused = await call('DELETE', `${gadgets('v1')}/a`);
    assert.deepEqual(
      [refused.status, refused.body.message],
      [403, 'admission webhook "keep.example.com" denied the request: the object has bad data'],
    );
    assert.equal(seen.at(-1)?.request.oldObject?.metadata.name, 'a');
    assert.equal((await call('GET', `${gadgets('v1')}/a`)).status, 200);
  });

  it('AdmissionWebhook should honor timeout', async () => {
    delayMs = 2500;
    await configure('validating', 'slow', hook('slow', '/allow', { timeoutSeconds: 1 }));
    const late = await call('POST', maps, { metadata: { name: 'late' } });
    assert.equal(late.status, 500);
    assert.match(
      late.body.message ?? '',
      /^Internal error occurred: failed calling webhook "slow\.example\.com": failed to call webhook: Post "https:\/\/127\.0\.0\.1:\d+\/allow\?timeout=1s": context deadline exceeded/,
    );
    await call(
      'PATCH',
      `${group}/validatingwebhookconfigurations/slow`,
      [{ op: 'replace', path: '/webhooks/0/failurePolicy', value: 'Ignore' }],
      'application/json-patch+json',
    );
    assert.equal((await call('POST', maps, { metadata: { name: 'late' } })).status, 201);
    await call(
      'PATCH',
      `${group}/validatingwebhookconfigurations/slow`,
      [{ op: 'replace', path: '/webhooks/0/timeoutSeconds', value: 20 }],
      'application/json-patch+json',
    );
    assert.equal((await call('POST', maps, { metadata: { name: 'patient' } })).status, 201);
  });

  it('AdmissionWebhook should unconditionally reject operations on fail closed webhook', async () => {
    const clientConfig = { url: `https://127.0.0.1:${hooks.port}/allow` };
    await configure('validating', 'closed', hook('closed', '/allow', { clientConfig }));
    const refused = await call('POST', maps, { metadata: { name: 'x' } });
    assert.equal(refused.status, 500);
    assert.match(
      refused.body.message ?? '',
      /failed calling webhook "closed\.example\.com": failed to call webhook: Post .*: tls: failed to verify certificate: x509: certificate signed by unknown authority/,
    );
  });

  it('AdmissionWebhook should not be able to mutate or prevent deletion of webhook configuration objects', async () => {
    const rules = [{ apiGroups: ['*'], apiVersions: ['*'], operations: ['*'], resources: ['*'] }];
    await configure('validating', 'all', hook('all', '/silent', { rules }));
    await configure('mutating', 'also', hook('also', '/one', { rules }));
    const refused = await call('POST', maps, { metadata: { name: 'never' } });
    assert.deepEqual(
      [refused.status, refused.body.message],
      [400, 'admission webhook "all.example.com" denied the request without explanation'],
    );
    for (const path of ['mutatingwebhookconfigurations/also', 'validatingwebhookconfigurations/all']) {
      assert.equal((await call('DELETE', `${group}/${path}`)).status, 200);
    }
  });

  it("AdmissionWebhook should mutate everything except 'skip-me' configmaps", async () => {
    const matchConditions = [{ name: 'skip', expression: "object.metadata.name != 'skip-me'" }];
    await configure('mutating', 'skip', hook('skip', '/one', { matchConditions }));
    const skipped = await call('POST', maps, { metadata: { name: 'skip-me' }, data: { start: 'x' } });
    assert.deepEqual(skipped.body.data, { start: 'x' });
    const changed = await call('POST', maps, { metadata: { name: 'not-me' }, data: { start: 'x' } });
    assert.deepEqual(changed.body.data, { start: 'x', one: 'yes' });
  });

  it('should reject webhook configurations with invalid match conditions', async () => {
    for (const kind of ['mutating', 'validating']) {
      const matchConditions = [{ name: 'broken', expression: '... [] bad expression' }];
      const answer = await call('POST', `${group}/${kind}webhookconfigurations`, {
        metadata: { name: 'broken' },
        webhooks: [hook('broken', '/one', { matchConditions })],
      });
      assert.equal(answer.status, 422);
      assert.match(
        answer.body.message ?? '',
        /webhooks\[0\]\.matchConditions\[0\]\.expression: Invalid value: .*compilation failed/,
      );
    }
    const wrong = await call('POST', `${group}/validatingwebhookconfigurations`, {
      metadata: { name: 'wrong' },
      webhooks: [{ ...hook('x', '/one'), name: 'short', sideEffects: 'Some', timeoutSeconds: 40 }],
    });
    assert.match(
      wrong.body.message ?? '',
      /should be a domain with at least three segments.*Unsupported value: "Some": supported values: "None", "NoneOnDryRun".*must be between 1 and 30 seconds/s,
    );
  });

  it('see dry runs only when they say that they may', async () => {
    await configure('validating', 'effects', hook('effects', '/allow', { sideEffects: 'NoneOnDryRun' }));
    assert.equal((await call('POST', `${maps}?dryRun=All`, { metadata: { name: 'dry' } })).status, 201);
    assert.equal(seen.at(-1)?.request.dryRun, true);
  });

  it('are reached through services by the endpoints that are ready', async (context) => {
    const services = '/api/v1/namespaces/default/services';
    await call('POST', services, { metadata: { name: 'hooks' }, spec: { ports: [{ port: 443 }] } });
    const clientConfig = { service: { name: 'hooks', namespace: 'default', path: '/deny' }, caBundle: hooks.caBundle };
    await configure('validating', 'service', hook('service', '', { clientConfig }));
    const none = await call('POST', maps, { metadata: { name: 'svc' } });
    assert.match(
      none.body.message ?? '',
      /Post "https:\/\/hooks\.default\.svc:443\/deny\?timeout=10s": no endpoints available for service "hooks"/,
    );
    // Endpoints have addresses that are not loopback's.
    const address = defaultAdvertiseAddress();
    if (address === '127.0.0.1') {
      context.skip('this machine has no address but loopback');
      return;
    }
    const slice = await call('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
      metadata: { name: 'hooks-1', labels: { 'kubernetes.io/service-name': 'hooks' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports: [{ name: '', port: hooks.port }],
    });
    assert.equal(slice.status, 201, slice.text);
    const refused = await call('POST', maps, { metadata: { name: 'svc' }, data: { bad: 'x' } });
    assert.equal(refused.body.code, 403, refused.text);
    assert.equal((await call('POST', maps, { metadata: { name: 'svc' } })).status, 201);
  });

  it('AdmissionWebhook should be able to deny attaching pod', async () => {
    const rules = [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CONNECT'], resources: ['pods/attach'] }];
    await configure('validating', 'attach', hook('attach', '/deny', { rules }));
    const answer = await call('POST', '/api/v1/namespaces/default/pods/p/attach?stdin=true&container=c');
    assert.deepEqual(
      [answer.status, answer.body.message],
      [403, 'admission webhook "attach.example.com" denied the request: the object has bad data'],
    );
    const { request } = seen.at(-1) ?? assert.fail();
    assert.deepEqual(
      [request.operation, request.subResource, request.kind.kind],
      ['CONNECT', 'attach', 'PodAttachOptions'],
    );
  });

  it('are counted', async () => {
    await configure('validating', 'counted', hook('counted', '/deny'));
    await call('POST', maps, { metadata: { name: 'z' }, data: { bad: 'x' } });
    const { text } = await server.call('GET', '/metrics');
    assert.match(
      text,
      /apiserver_admission_webhook_rejection_count\{name="counted\.example\.com",type="validating",operation="CREATE",error_type="no_error",rejection_code="403"\} 1/,
    );
    assert.match(text, /apiserver_admission_webhook_admission_duration_seconds_bucket/);
  });
});
