// Webhooks and policies of admission as every cluster has them: what they deny, mutate and match, and how they change.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { answerJson, startTlsServer, type TlsServer } from '../../support/tls-server.ts';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

type Data = Record<string, string>;

interface Thing {
  message?: string;
  metadata: { name: string; labels?: Data; annotations?: Data };
  data?: Data;
  spec: { replicas?: number };
  webhooks: { matchConditions?: object[] }[];
  items: Thing[];
}

interface Review {
  request: { uid: string; operation: string; object: Thing | null; oldObject: Thing | null };
}

const bounds = { timeout: 60_000 };
const group = '/apis/admissionregistration.k8s.io/v1';
const maps = '/api/v1/namespaces/default/configmaps';
const pods = '/api/v1/namespaces/default/pods';
const deployments = '/apis/apps/v1/namespaces/default/deployments';
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const merge = 'application/merge-patch+json';
const jsonPatch = 'application/json-patch+json';
const marked = { 'webhook-e2e-test': 'marker' };

const ruleFor = (resources: string[], apiGroups = [''], operations = ['CREATE', 'UPDATE']) => ({
  apiGroups,
  apiVersions: ['*'],
  operations,
  resources,
});

describe('admission by conformance', () => {
  let server: TestServer;
  let hooks: TlsServer;
  before(async () => {
    server = await startApiServer();
    hooks = await startTlsServer({
      handle: (request, response, body) => {
        const review = JSON.parse(body) as Review;
        answerJson(response, {
          apiVersion: 'admission.k8s.io/v1',
          kind: 'AdmissionReview',
          response: { uid: review.request.uid, ...verdictOn((request.url ?? '').split('?')[0] ?? '', review) },
        });
      },
    });
    await call('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  });
  afterEach(async () => {
    for (const kind of ['validatingwebhookconfigurations', 'mutatingwebhookconfigurations'])
      await call('DELETE', `${group}/${kind}`);
    for (const kind of ['validatingadmissionpolic', 'mutatingadmissionpolic'])
      for (const ending of ['ybindings', 'ies'])
        await call('DELETE', `${group}/${kind}${ending}?labelSelector=test%3Dadmission`);
  });
  after(async () => {
    await server?.close();
    await hooks?.close();
  });

  /** Denies what has offending data, name or label; adds data to config maps and custom resources in stages. */
  function verdictOn(path: string, { request }: Review): object {
    const object = request.object ?? request.oldObject;
    const data = object?.data ?? {};
    if (path === '/deny') {
      const isOffending =
        data['webhook-e2e-test'] === 'webhook-disallow' ||
        object?.metadata.name.includes('disallowed') ||
        object?.metadata.labels?.['webhook-e2e-test'] === 'webhook-disallow';
      const status = { code: 403, reason: 'Forbidden', message: 'contains unwanted content' };
      return isOffending === true ? { allowed: false, status } : { allowed: true };
    }
    const stage = path === '/mutate-1' ? 'mutation-start' : 'mutation-stage-1';
    const added = path === '/mutate-1' ? 'mutation-stage-1' : 'mutation-stage-2';
    if (data[stage] !== 'yes') return { allowed: true };
    const patch = [{ op: 'add', path: `/data/${added}`, value: 'yes' }];
    return { allowed: true, patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') };
  }

  const call = (method: string, path: string, body?: unknown, contentType?: string): Promise<Answer<Thing>> =>
    server.call<Thing>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });
  const hook = (name: string, path: string, rules: object[], more: object = {}) => ({
    name: `${name}.k8s.io`,
    rules,
    clientConfig: { url: `https://127.0.0.1:${hooks.port}${path}`, caBundle: hooks.caBundle },
    admissionReviewVersions: ['v1', 'v1beta1'],
    sideEffects: 'None',
    timeoutSeconds: 10,
    ...more,
  });
  async function configure(kind: 'validating' | 'mutating', name: string, ...webhooks: object[]): Promise<string> {
    const path = `${group}/${kind}webhookconfigurations`;
    const answer = await call('POST', path, { metadata: { name, labels: { list: 'all' } }, webhooks });
    assert.equal(answer.status, 201, answer.text);
    return `${path}/${name}`;
  }
  const podNamed = (name: string) => ({ metadata: { name }, spec: { containers: [{ name: 'c', image: 'pause' }] } });
  const unwanted = { 'webhook-e2e-test': 'webhook-disallow' };
  let names = 0;
  const createMap = (data: Data): Promise<Answer<Thing>> =>
    call('POST', maps, { metadata: { name: `map-${++names}` }, data });
  const isDenied = (answer: Answer<Thing>): void => {
    assert.equal(answer.status, 403, answer.text);
    assert.match(answer.body.message ?? '', /^admission webhook ".*" denied the request: contains unwanted content$/);
  };

  async function define(plural: string, versions: readonly string[]): Promise<(version: string) => string> {
    const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
    const closed = {
      openAPIV3Schema: {
        type: 'object',
        properties: {
          data: {
            type: 'object',
            properties: { 'mutation-start': { type: 'string' }, 'mutation-stage-1': { type: 'string' } },
          },
        },
      },
    };
    const made = await call('POST', definitions, {
      metadata: { name: `${plural}.hooks.example.com` },
      spec: {
        group: 'hooks.example.com',
        scope: 'Namespaced',
        names: { plural, kind: `Kind${plural}` },
        versions: versions.map((name, index) => ({
          name,
          served: true,
          storage: index === 0,
          schema: plural === 'pruned' ? closed : schema,
        })),
      },
    });
    assert.equal(made.status, 201, made.text);
    const at = (version: string) => `/apis/hooks.example.com/${version}/namespaces/default/${plural}`;
    await eventually('it is served', async () => (await call('GET', at(versions.at(-1) ?? ''))).status === 200);
    return at;
  }

  it('AdmissionWebhook should include webhook resources in discovery documents', bounds, async () => {
    const read = async <T>(path: string): Promise<T> => (await server.call<T>('GET', path)).body;
    interface Group {
      name: string;
      versions: { groupVersion: string }[];
    }
    const { groups } = await read<{ groups: Group[] }>('/apis');
    const wanted = 'admissionregistration.k8s.io';
    for (const found of [groups.find(({ name }) => name === wanted), await read<Group>(`/apis/${wanted}`)])
      assert.ok(found?.versions.some(({ groupVersion }) => groupVersion === `${wanted}/v1`));
    const { resources } = await read<{ resources: { name: string }[] }>(group);
    for (const name of ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations'])
      assert.ok(resources.some((each) => each.name === name));
  });

  it('AdmissionWebhook should be able to deny pod and configmap creation', bounds, async () => {
    const namespaceSelector = { matchExpressions: [{ key: 'skip-webhook', operator: 'NotIn', values: ['yes'] }] };
    await configure(
      'validating',
      'deny',
      hook('deny-pods', '/deny', [ruleFor(['pods'], [''], ['CREATE'])]),
      hook('deny-maps', '/deny', [ruleFor(['configmaps'])], { namespaceSelector }),
    );
    isDenied(await call('POST', pods, podNamed('disallowed-pod')));
    assert.equal((await call('GET', `${pods}/disallowed-pod`)).status, 404);
    isDenied(await createMap(unwanted));
    assert.equal((await call('POST', maps, { metadata: { name: 'admitted' }, data: { a: 'b' } })).status, 201);
    isDenied(await call('PUT', `${maps}/admitted`, { metadata: { name: 'admitted' }, data: unwanted }));
    isDenied(await call('PATCH', `${maps}/admitted`, { data: unwanted }, merge));
    assert.deepEqual((await call('GET', `${maps}/admitted`)).body.data, { a: 'b' });
    await call('POST', '/api/v1/namespaces', { metadata: { name: 'skipped', labels: { 'skip-webhook': 'yes' } } });
    const skipped = await call('POST', '/api/v1/namespaces/skipped/configmaps', {
      metadata: { name: 'bad' },
      data: unwanted,
    });
    assert.equal(skipped.status, 201, skipped.text);
  });

  it('AdmissionWebhook should be able to deny custom resource creation, update and deletion', bounds, async () => {
    const at = (await define('denied', ['v1']))('v1');
    const rules = [ruleFor(['denied'], ['hooks.example.com'], ['CREATE', 'UPDATE', 'DELETE'])];
    await configure('validating', 'deny', hook('deny-custom', '/deny', rules));
    isDenied(await call('POST', at, { metadata: { name: 'one' }, data: unwanted }));
    assert.equal((await call('POST', at, { metadata: { name: 'one' }, data: { a: 'b' } })).status, 201);
    isDenied(await call('PATCH', `${at}/one`, { data: unwanted }, merge));
    await call('DELETE', `${group}/validatingwebhookconfigurations/deny`);
    assert.equal((await call('PATCH', `${at}/one`, { data: unwanted }, merge)).status, 200);
    await configure('validating', 'deny', hook('deny-custom', '/deny', rules));
    isDenied(await call('DELETE', `${at}/one`));
    assert.equal((await call('PATCH', `${at}/one`, { data: { 'webhook-e2e-test': null } }, merge)).status, 200);
    assert.equal((await call('DELETE', `${at}/one`)).status, 200);
  });

  it('AdmissionWebhook should deny crd creation', bounds, async () => {
    const rules = [ruleFor(['customresourcedefinitions'], ['apiextensions.k8s.io'], ['CREATE'])];
    await configure('validating', 'deny', hook('deny-definitions', '/deny', rules));
    const definition = {
      metadata: { name: 'nevers.hooks.example.com', labels: unwanted },
      spec: {
        group: 'hooks.example.com',
        scope: 'Cluster',
        names: { plural: 'nevers', kind: 'Never' },
        versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
      },
    };
    isDenied(await call('POST', definitions, definition));
    assert.equal((await call('GET', `${definitions}/nevers.hooks.example.com`)).status, 404);
  });

  const stages = (plural: string) => {
    const rules = [ruleFor([plural], ['hooks.example.com'])];
    return [hook('stage-1', '/mutate-1', rules), hook('stage-2', '/mutate-2', rules)];
  };
  const start = { 'mutation-start': 'yes' };
  const allStages = { ...start, 'mutation-stage-1': 'yes', 'mutation-stage-2': 'yes' };

  it('AdmissionWebhook should mutate custom resource', bounds, async () => {
    const at = (await define('mutated', ['v1']))('v1');
    await configure('mutating', 'stages', ...stages('mutated'));
    assert.deepEqual((await call('POST', at, { metadata: { name: 'one' }, data: start })).body.data, allStages);
    const untouched = await call('POST', at, { metadata: { name: 'two' }, data: { other: 'yes' } });
    assert.deepEqual(untouched.body.data, { other: 'yes' });
  });

  it('AdmissionWebhook should mutate custom resource with pruning', bounds, async () => {
    const at = (await define('pruned', ['v1']))('v1');
    await configure('mutating', 'stages', ...stages('pruned'));
    const created = await call('POST', at, { metadata: { name: 'one' }, data: start });
    assert.deepEqual(created.body.data, { ...start, 'mutation-stage-1': 'yes' });
  });

  it('AdmissionWebhook should mutate custom resource with different stored version', bounds, async () => {
    const at = await define('stored', ['v1', 'v2']);
    await configure('mutating', 'stages', ...stages('stored'));
    const created = await call('POST', at('v1'), { metadata: { name: 'one' }, data: start });
    assert.deepEqual(created.body.data, allStages);
    const patch = [
      { op: 'replace', path: '/spec/versions/0/storage', value: false },
      { op: 'replace', path: '/spec/versions/1/storage', value: true },
    ];
    const swapped = await call('PATCH', `${definitions}/stored.hooks.example.com`, patch, jsonPatch);
    assert.equal(swapped.status, 200, swapped.text);
    const changed = await call('PATCH', `${at('v1')}/one`, { data: { dummy: 'test' } }, merge);
    assert.deepEqual([changed.status, changed.body.data], [200, { ...allStages, dummy: 'test' }]);
    assert.deepEqual((await call('GET', `${at('v2')}/one`)).body.data, { ...allStages, dummy: 'test' });
  });

  for (const kind of ['validating', 'mutating'] as const) {
    const path = `${group}/${kind}webhookconfigurations`;
    const target = kind === 'validating' ? '/deny' : '/mutate-1';
    const rules = [ruleFor(['configmaps'], [''], ['CREATE'])];
    const created = () => createMap(kind === 'validating' ? unwanted : start);
    /** Whether the webhook has had its say about a config map. */
    const hadItsSay = async (): Promise<boolean> => {
      const answer = await created();
      if (kind === 'validating') return answer.status === 403;
      assert.equal(answer.status, 201, answer.text);
      return answer.body.data?.['mutation-stage-1'] === 'yes';
    };

    it(
      kind === 'validating'
        ? 'AdmissionWebhook listing validating webhooks should work'
        : 'AdmissionWebhook listing mutating webhooks should work',
      bounds,
      async () => {
        for (let index = 0; index < 10; index += 1)
          await configure(kind, `listed-${index}`, hook(`listed-${index}`, target, rules));
        const selected = `${path}?labelSelector=list%3Dall`;
        assert.equal((await call('GET', selected)).body.items.length, 10);
        assert.ok(await hadItsSay());
        assert.equal((await call('DELETE', selected)).status, 200);
        assert.deepEqual((await call('GET', selected)).body.items, []);
        assert.ok(!(await hadItsSay()));
      },
    );

    it(
      kind === 'validating'
        ? 'AdmissionWebhook patching/updating a validating webhook should work'
        : 'AdmissionWebhook patching/updating a mutating webhook should work',
      bounds,
      async () => {
        const own = await configure(kind, 'changed', hook('changed', target, rules));
        assert.ok(await hadItsSay());
        const { body } = await call('GET', own);
        const webhooks = body.webhooks.map((each) => ({ ...each, rules: [ruleFor(['configmaps'], [''], ['UPDATE'])] }));
        assert.equal((await call('PUT', own, { ...body, webhooks })).status, 200);
        assert.ok(!(await hadItsSay()));
        const patch = [{ op: 'replace', path: '/webhooks/0/rules/0/operations', value: ['CREATE'] }];
        assert.equal((await call('PATCH', own, patch, jsonPatch)).status, 200);
        assert.ok(await hadItsSay());
      },
    );

    it(
      kind === 'validating'
        ? 'AdmissionWebhook should be able to create and update validating webhook configurations with match conditions'
        : 'AdmissionWebhook should be able to create and update mutating webhook configurations with match conditions',
      bounds,
      async () => {
        const first = [{ name: 'expression-1', expression: "object.metadata.namespace == 'production'" }];
        const own = await configure(kind, 'matching', hook('matching', target, rules, { matchConditions: first }));
        const read = async () => (await call('GET', own)).body;
        assert.deepEqual((await read()).webhooks[0]?.matchConditions, first);
        const second = [...first, { name: 'expression-2', expression: "object.metadata.namespace == 'staging'" }];
        const body = await read();
        const webhooks = body.webhooks.map((each) => ({ ...each, matchConditions: second }));
        assert.equal((await call('PUT', own, { ...body, webhooks })).status, 200);
        assert.deepEqual((await read()).webhooks[0]?.matchConditions, second);
      },
    );

    it(
      kind === 'validating'
        ? 'AdmissionWebhook should reject validating webhook configurations with invalid match conditions'
        : 'AdmissionWebhook should reject mutating webhook configurations with invalid match conditions',
      bounds,
      async () => {
        const matchConditions = [{ name: 'invalid-expression-1', expression: '... [] bad expression' }];
        const refused = await call('POST', path, {
          metadata: { name: 'broken' },
          webhooks: [hook('broken', target, rules, { matchConditions })],
        });
        assert.equal(refused.status, 422);
        assert.match(refused.body.message ?? '', /compilation failed/);
        assert.equal((await call('GET', `${path}/broken`)).status, 404);
      },
    );
  }

  const bind = async (kind: 'validating' | 'mutating', name: string, spec: object, binding: object): Promise<void> => {
    const labels = { test: 'admission' };
    const matchConstraints = {
      resourceRules: [{ ...ruleFor(['deployments'], ['apps'], ['CREATE']), apiVersions: ['v1'] }],
    };
    const made = await call('POST', `${group}/${kind}admissionpolicies`, {
      metadata: { name, labels },
      spec: { failurePolicy: 'Fail', matchConstraints, ...spec },
    });
    assert.equal(made.status, 201, made.text);
    const objectSelector = { matchLabels: marked };
    const bound = await call('POST', `${group}/${kind}admissionpolicybindings`, {
      metadata: { name, labels },
      spec: { policyName: name, matchResources: { objectSelector }, ...binding },
    });
    assert.equal(bound.status, 201, bound.text);
  };
  const createDeployment = (name: string, replicas: number, labels: object = marked): Promise<Answer<Thing>> =>
    call('POST', deployments, {
      metadata: { name, labels },
      spec: {
        replicas,
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
      },
    });

  it('ValidatingAdmissionPolicy should allow expressions to refer variables.', bounds, async () => {
    const spec = {
      variables: [
        { name: 'replicas', expression: 'object.spec.replicas' },
        { name: 'oddReplicas', expression: 'variables.replicas % 2 == 1' },
      ],
      validations: [
        { expression: 'variables.replicas > 1', message: 'too few' },
        { expression: 'variables.oddReplicas', message: 'not odd' },
      ],
    };
    await bind('validating', 'variables', spec, { validationActions: ['Deny'] });
    assert.match((await createDeployment('one', 1)).body.message ?? '', /too few/);
    assert.match((await createDeployment('four', 4)).body.message ?? '', /not odd/);
    assert.equal((await createDeployment('three', 3)).status, 201);
    assert.equal((await createDeployment('unmarked', 4, {})).status, 201);
  });

  const mutation = (expression: string) => ({
    reinvocationPolicy: 'Never',
    mutations: [{ patchType: 'ApplyConfiguration', applyConfiguration: { expression } }],
  });

  it('MutatingAdmissionPolicy should mutate a Deployment', bounds, async () => {
    await bind('mutating', 'replicas', mutation('Object{spec: Object.spec{replicas: object.spec.replicas + 100}}'), {});
    assert.equal((await createDeployment('mutated', 1)).body.spec.replicas, 101);
    assert.equal((await createDeployment('not-mutated', 1, {})).body.spec.replicas, 1);
  });

  it('MutatingAdmissionPolicy should mutate a Deployment with annotations', bounds, async () => {
    const expression = 'Object{metadata: Object.metadata{annotations: {"my-foo-annotation": "myAnnotationValue"}}}';
    await bind('mutating', 'annotations', mutation(expression), {});
    const created = await createDeployment('annotated', 1);
    assert.equal(created.body.metadata.annotations?.['my-foo-annotation'], 'myAnnotationValue', created.text);
  });
});
