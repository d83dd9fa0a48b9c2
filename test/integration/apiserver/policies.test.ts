// Admission policies in the expression language: what they refuse, warn of, note and change, and with which parameters.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

interface Thing {
  message?: string;
  reason?: string;
  metadata: { name: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  data?: Record<string, string>;
  spec: { replicas?: number; failurePolicy?: string; matchConstraints?: object };
  status?: {
    typeChecking?: { expressionWarnings?: { fieldRef: string; warning: string }[] };
    observedGeneration?: number;
  };
}

const group = '/apis/admissionregistration.k8s.io/v1';
const maps = '/api/v1/namespaces/default/configmaps';
const deployments = '/apis/apps/v1/namespaces/default/deployments';
const ruleOf = (resources: string[], apiGroups = [''], operations = ['CREATE', 'UPDATE']) => ({
  resourceRules: [{ apiGroups, apiVersions: ['v1'], operations, resources }],
});
const deployment = (name: string, replicas: number, labels: object = {}) => ({
  metadata: { name, labels },
  spec: {
    replicas,
    selector: { matchLabels: { a: 'b' } },
    template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
  },
});

describe('admission policies', () => {
  let server: TestServer;
  const call = (method: string, path: string, body?: unknown, contentType?: string): Promise<Answer<Thing>> =>
    server.call<Thing>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });
  const labels = { test: 'yes' };
  const policy = async (
    kind: 'validating' | 'mutating',
    name: string,
    spec: object,
    binding: object,
  ): Promise<void> => {
    const made = await call('POST', `${group}/${kind}admissionpolicies`, { metadata: { name, labels }, spec });
    assert.equal(made.status, 201, made.text);
    const bound = await call('POST', `${group}/${kind}admissionpolicybindings`, {
      metadata: { name: `${name}-binding`, labels },
      spec: { policyName: name, ...binding },
    });
    assert.equal(bound.status, 201, bound.text);
  };
  const deny = { validationActions: ['Deny'] };

  before(async () => {
    server = await startApiServer();
  });
  afterEach(async () => {
    for (const kind of ['validatingadmissionpolic', 'mutatingadmissionpolic']) {
      await call('DELETE', `${group}/${kind}ybindings?labelSelector=test%3Dyes`);
      await call('DELETE', `${group}/${kind}ies?labelSelector=test%3Dyes`);
    }
  });
  after(() => server.close());

  it('ValidatingAdmissionPolicy should validate against a Deployment', async () => {
    const spec = {
      matchConstraints: ruleOf(['deployments'], ['apps']),
      variables: [{ name: 'replicas', expression: 'object.spec.replicas' }],
      validations: [
        { expression: 'variables.replicas > 1', messageExpression: "'wants ' + string(variables.replicas)" },
        {
          expression: 'namespaceObject.metadata.name == "default" && request.operation == "CREATE"',
          message: 'elsewhere',
        },
      ],
    };
    await policy('validating', 'replicas', spec, deny);
    const refused = await call('POST', deployments, deployment('one', 1));
    assert.equal(refused.status, 422);
    assert.equal(
      refused.body.message,
      "deployments.apps \"one\" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'replicas-binding' denied request: wants 1",
    );
    assert.equal(refused.body.reason, 'Invalid');
    assert.equal((await call('POST', deployments, deployment('two', 2))).status, 201);
    const scaled = await call('PATCH', `${deployments}/two`, { spec: { replicas: 3 } }, 'application/merge-patch+json');
    assert.match(scaled.body.message ?? '', /denied request: elsewhere$/);
  });

  it('are completed and checked', async () => {
    const spec = { matchConstraints: ruleOf(['configmaps']), validations: [{ expression: 'true' }] };
    const made = await call('POST', `${group}/validatingadmissionpolicies`, {
      metadata: { name: 'defaults', labels },
      spec,
    });
    assert.equal(made.body.spec.failurePolicy, 'Fail');
    assert.match(JSON.stringify(made.body.spec.matchConstraints), /"matchPolicy":"Equivalent".*|"scope":"\*"/);
    const broken: [object, RegExp][] = [
      [
        { ...spec, validations: [{ expression: 'object.x >' }] },
        /spec\.validations\[0\]\.expression: Invalid value: .*compilation failed: ERROR: <input>/s,
      ],
      [{ ...spec, validations: [{ expression: '1' }] }, /must evaluate to bool/],
      [{ ...spec, validations: [{ expression: 'variables.nope' }] }, /undefined field 'nope'/],
      [{ ...spec, validations: [{ expression: 'params.x == 1' }] }, /undeclared reference to 'params'/],
      [{ validations: [{ expression: 'true' }] }, /spec\.matchConstraints: Required value/],
    ];
    for (const [wrong, wanted] of broken) {
      const answer = await call('POST', `${group}/validatingadmissionpolicies`, {
        metadata: { name: 'broken' },
        spec: wrong,
      });
      assert.equal(answer.status, 422, answer.text);
      assert.match(answer.body.message ?? '', wanted);
    }
    const both = { policyName: 'x', validationActions: ['Deny', 'Warn'] };
    const binding = await call('POST', `${group}/validatingadmissionpolicybindings`, {
      metadata: { name: 'both' },
      spec: both,
    });
    assert.match(binding.body.message ?? '', /must not contain both Deny and Warn/);
  });

  it('should type check validation expressions', async () => {
    const validations = [
      { expression: 'object.spec.replicas > "1"' },
      { expression: 'object.spec.nope == 1' },
      { expression: 'object.spec.replicas > 1' },
    ];
    await policy('validating', 'typed', { matchConstraints: ruleOf(['deployments'], ['apps']), validations }, deny);
    const checked = await eventually('the policy is checked', async () => {
      const { body } = await call('GET', `${group}/validatingadmissionpolicies/typed`);
      return body.status?.observedGeneration === 1 ? body : undefined;
    });
    const warnings = checked.status?.typeChecking?.expressionWarnings ?? [];
    assert.deepEqual(
      warnings.map(({ fieldRef }) => fieldRef),
      ['spec.validations[0].expression', 'spec.validations[1].expression'],
    );
    assert.match(
      warnings[0]?.warning ?? '',
      /^apps\/v1, Kind=Deployment: ERROR: <input>:1:\d+: found no matching overload for '_>_' applied to '\(int, string\)'/,
    );
    assert.match(warnings[1]?.warning ?? '', /undefined field 'nope'/);
  });

  it('should type check a CRD', async () => {
    const schema = {
      openAPIV3Schema: {
        type: 'object',
        properties: { spec: { type: 'object', properties: { size: { type: 'integer' } } } },
      },
    };
    const made = await call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      metadata: { name: 'boxes.policies.example.com' },
      spec: {
        group: 'policies.example.com',
        scope: 'Cluster',
        names: { plural: 'boxes', kind: 'Box' },
        versions: [{ name: 'v1', served: true, storage: true, schema }],
      },
    });
    assert.equal(made.status, 201, made.text);
    await eventually(
      'the definition is served',
      async () => (await call('GET', '/apis/policies.example.com/v1/boxes')).status === 200,
    );
    const validations = [{ expression: 'object.spec.size > "1" && object.metadata.labels["a"] == "b"' }];
    await policy(
      'validating',
      'boxes',
      { matchConstraints: ruleOf(['boxes'], ['policies.example.com']), validations },
      deny,
    );
    const warning = await eventually('the policy is checked', async () => {
      const { body } = await call('GET', `${group}/validatingadmissionpolicies/boxes`);
      return body.status?.typeChecking?.expressionWarnings?.[0]?.warning;
    });
    assert.match(
      warning,
      /^policies\.example\.com\/v1, Kind=Box: ERROR: <input>:1:\d+: found no matching overload for '_>_' applied to '\(int, string\)'/,
    );
  });

  it('warn instead of refusing where their binding says so', async () => {
    const spec = {
      matchConstraints: ruleOf(['configmaps']),
      validations: [{ expression: 'has(object.data)', message: 'no data', reason: 'Forbidden' }],
    };
    await policy('validating', 'warned', spec, { validationActions: ['Warn', 'Audit'] });
    const warned = await call('POST', maps, { metadata: { name: 'warned' } });
    assert.equal(warned.status, 201);
    assert.match(
      String(warned.headers['warning']),
      /Validation failed for ValidatingAdmissionPolicy 'warned' with binding 'warned-binding': no data/,
    );
    await policy('validating', 'denied', spec, deny);
    const denied = await call('POST', maps, { metadata: { name: 'denied' } });
    assert.deepEqual([denied.status, denied.body.reason], [403, 'Forbidden']);
  });

  it('take parameters by name and by selector', async () => {
    const paramKind = { apiVersion: 'v1', kind: 'ConfigMap' };
    const limit = (name: string, max: string, more: object = {}) =>
      call('POST', maps, { metadata: { name, labels: more }, data: { max } });
    await limit('limit', '2');
    const spec = {
      paramKind,
      matchConstraints: ruleOf(['deployments'], ['apps']),
      validations: [
        {
          expression: 'object.spec.replicas <= int(params.data.max)',
          messageExpression: "'at most ' + params.data.max",
        },
      ],
    };
    await policy('validating', 'named', spec, {
      ...deny,
      paramRef: { name: 'limit', namespace: 'default', parameterNotFoundAction: 'Deny' },
    });
    const refused = await call('POST', deployments, deployment('three', 3));
    assert.match(refused.body.message ?? '', /denied request: at most 2$/);
    await policy('validating', 'selected', spec, {
      ...deny,
      paramRef: { selector: { matchLabels: { limits: 'yes' } }, parameterNotFoundAction: 'Allow' },
    });
    assert.equal((await call('POST', deployments, deployment('allowed', 2))).status, 201);
    await limit('other', '1', { limits: 'yes' });
    assert.match(
      (await call('POST', deployments, deployment('four', 2))).body.message ?? '',
      /denied request: at most 1$/,
    );
    await policy('validating', 'absent', spec, {
      ...deny,
      paramRef: { name: 'absent', namespace: 'default', parameterNotFoundAction: 'Deny' },
    });
    assert.match(
      (await call('POST', deployments, deployment('five', 1))).body.message ?? '',
      /no params found for policy binding with `Deny` parameterNotFoundAction/,
    );
  });

  it('look only at what their conditions, rules and bindings are about', async () => {
    const spec = {
      matchConstraints: {
        ...ruleOf(['configmaps']),
        excludeResourceRules: [
          {
            apiGroups: [''],
            apiVersions: ['v1'],
            operations: ['*'],
            resources: ['configmaps'],
            resourceNames: ['excluded'],
          },
        ],
      },
      matchConditions: [{ name: 'not-me', expression: "object.metadata.name != 'me'" }],
      validations: [{ expression: 'false' }],
    };
    await policy('validating', 'narrow', spec, {
      ...deny,
      matchResources: { objectSelector: { matchLabels: { watched: 'yes' } } },
    });
    const create = async (name: string, more: object) =>
      (await call('POST', `${maps}?dryRun=All`, { metadata: { name, labels: more } })).status;
    const watched = { watched: 'yes' };
    assert.deepEqual(
      [
        await create('x', watched),
        await create('x', {}),
        await create('me', watched),
        await create('excluded', watched),
      ],
      [422, 201, 201, 201],
    );
  });

  it('ask the authorizer, and fail open where they are told to', async () => {
    const spec = {
      matchConstraints: ruleOf(['configmaps']),
      validations: [
        {
          expression:
            "authorizer.group('').resource('secrets').namespace('default').check('get').allowed() && authorizer.requestResource.check('create').allowed()",
        },
      ],
    };
    await policy('validating', 'asking', spec, deny);
    assert.equal((await call('POST', `${maps}?dryRun=All`, { metadata: { name: 'x' } })).status, 201);
    const failing = {
      matchConstraints: ruleOf(['configmaps']),
      validations: [{ expression: "object.data.nope == 'x'" }],
    };
    await policy('validating', 'open', { ...failing, failurePolicy: 'Ignore' }, deny);
    assert.equal((await call('POST', `${maps}?dryRun=All`, { metadata: { name: 'x' } })).status, 201);
    await policy('validating', 'shut', failing, deny);
    const shut = await call('POST', `${maps}?dryRun=All`, { metadata: { name: 'x' } });
    assert.match(
      shut.body.message ?? '',
      /expression 'object\.data\.nope == 'x'' resulted in error: no such key: data$/,
    );
  });

  it('should support MutatingAdmissionPolicy with ApplyConfiguration and JSONPatch', async () => {
    const spec = {
      matchConstraints: ruleOf(['deployments'], ['apps'], ['CREATE']),
      reinvocationPolicy: 'IfNeeded',
      variables: [{ name: 'team', expression: "'blue'" }],
      mutations: [
        {
          patchType: 'ApplyConfiguration',
          applyConfiguration: {
            expression: `Object{
              metadata: Object.metadata{labels: Object.metadata.labels{team: variables.team}},
              spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
                containers: [Object.spec.template.spec.containers{name: "c", imagePullPolicy: "Never"}]
              }}}
            }`,
          },
        },
        {
          patchType: 'JSONPatch',
          jsonPatch: {
            expression:
              '[JSONPatch{op: "add", path: "/metadata/annotations", value: {"example.com/was": string(object.metadata.labels.team)}}]',
          },
        },
      ],
    };
    await policy('mutating', 'team', spec, {});
    const made = await call('POST', deployments, deployment('mutated', 2));
    assert.equal(made.status, 201, made.text);
    assert.equal(made.body.metadata.labels?.['team'], 'blue');
    assert.equal(made.body.metadata.annotations?.['example.com/was'], 'blue');
    assert.match(made.text, /"image":"i","imagePullPolicy":"Never"|"imagePullPolicy":"Never"/);
  });

  it('refuse what a mutation cannot be applied to', async () => {
    const json = (expression: string) => ({
      matchConstraints: ruleOf(['configmaps']),
      reinvocationPolicy: 'Never',
      mutations: [{ patchType: 'JSONPatch', jsonPatch: { expression } }],
    });
    await policy('mutating', 'wrong', json('[JSONPatch{op: "remove", path: "/data/nope"}]'), {});
    const refused = await call('POST', maps, { metadata: { name: 'never' } });
    assert.equal(refused.status, 422);
    assert.match(
      refused.body.message ?? '',
      /configmaps "never" is forbidden: policy 'wrong' with binding 'wrong-binding' denied request: /,
    );
    const bad = await call('POST', `${group}/mutatingadmissionpolicies`, {
      metadata: { name: 'bad' },
      spec: json('Object{'),
    });
    assert.match(bad.body.message ?? '', /spec\.mutations\[0\]\.jsonPatch\.expression: Invalid value/);
  });
});
