// Rules of custom resources in the expression language, defaults that come later, names that are taken, and scale.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

interface Thing {
  message?: string;
  metadata: { name: string; resourceVersion: string };
  spec: Record<string, unknown>;
  status?: {
    conditions?: { type: string; status: string; reason: string; message: string }[];
    storedVersions?: string[];
  };
}

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const merge = 'application/merge-patch+json';

function definitionOf(plural: string, kind: string, spec: object, more: object = {}): object {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.rules.example.com` },
    spec: {
      group: 'rules.example.com',
      scope: 'Namespaced',
      names: { plural, kind },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: 'object', properties: { spec } } },
          ...more,
        },
      ],
    },
  };
}

describe('rules of custom resources', () => {
  let server: TestServer;
  const call = (method: string, path: string, body?: unknown, contentType?: string): Promise<Answer<Thing>> =>
    server.call<Thing>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });
  const until = async (what: () => Promise<boolean>): Promise<void> => {
    for (let attempt = 0; attempt < 1000; attempt += 1) {
      if (await what()) return;
      await delay(10);
    }
    throw new Error('it never became true');
  };
  const define = async (plural: string, kind: string, spec: object, more: object = {}): Promise<string> => {
    const created = await call('POST', definitions, definitionOf(plural, kind, spec, more));
    assert.equal(created.status, 201, created.text);
    const path = `/apis/rules.example.com/v1/namespaces/default/${plural}`;
    await until(async () => (await call('GET', path)).status === 200);
    return path;
  };

  before(async () => {
    server = await startApiServer();
  });
  after(() => server.close());

  it('are run on what is written, with their messages, paths and reasons', async () => {
    const path = await define('scales', 'Scaled', {
      type: 'object',
      'x-kubernetes-validations': [
        { rule: 'self.min <= self.max', message: 'min must not exceed max' },
        {
          rule: 'self.min > 0',
          messageExpression: '"min is %d".format([self.min])',
          fieldPath: '.min',
          reason: 'FieldValueForbidden',
        },
      ],
      properties: {
        min: { type: 'integer' },
        max: { type: 'integer' },
        name: {
          type: 'string',
          maxLength: 20,
          'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'name is immutable' }],
        },
        items: {
          type: 'array',
          maxItems: 5,
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['key'],
          items: {
            type: 'object',
            required: ['key'],
            properties: {
              key: { type: 'string', maxLength: 10 },
              value: {
                type: 'integer',
                'x-kubernetes-validations': [{ rule: 'self >= oldSelf', message: 'may only grow' }],
              },
            },
          },
        },
        maybe: {
          type: 'string',
          maxLength: 10,
          'x-kubernetes-validations': [{ rule: 'oldSelf.hasValue() || self == "first"', optionalOldSelf: true }],
        },
      },
    });
    const refused = await call('POST', path, { metadata: { name: 'a' }, spec: { min: 3, max: 2 } });
    assert.equal(refused.status, 422);
    assert.equal(
      refused.body.message,
      'Scaled.rules.example.com "a" is invalid: spec: Invalid value: "object": min must not exceed max',
    );
    const forbidden = await call('POST', path, { metadata: { name: 'a' }, spec: { min: 0, max: 2 } });
    assert.equal(forbidden.body.message, 'Scaled.rules.example.com "a" is invalid: spec.min: Forbidden: min is 0');
    const missing = await call('POST', path, { metadata: { name: 'a' }, spec: { max: 2 } });
    assert.match(
      missing.body.message ?? '',
      /spec: Invalid value: "object": no such key: min evaluating rule: min must not exceed max/,
    );
    const notFirst = await call('POST', path, { metadata: { name: 'a' }, spec: { min: 1, max: 2, maybe: 'x' } });
    assert.match(
      notFirst.body.message ?? '',
      /spec\.maybe: Invalid value: "string": failed rule: oldSelf\.hasValue\(\)/,
    );
    const spec = {
      min: 1,
      max: 2,
      name: 'n',
      maybe: 'first',
      items: [
        { key: 'x', value: 1 },
        { key: 'y', value: 5 },
      ],
    };
    assert.equal((await call('POST', path, { metadata: { name: 'a' }, spec })).status, 201);
    const renamed = await call('PATCH', `${path}/a`, { spec: { name: 'other' } }, merge);
    assert.match(renamed.body.message ?? '', /spec\.name: Invalid value: "string": name is immutable/);
    const shrunk = await call(
      'PATCH',
      `${path}/a`,
      {
        spec: {
          items: [
            { key: 'y', value: 4 },
            { key: 'x', value: 1 },
          ],
        },
      },
      merge,
    );
    assert.match(shrunk.body.message ?? '', /spec\.items\[0\]\.value: Invalid value: "integer": may only grow/);
    const grown = await call(
      'PATCH',
      `${path}/a`,
      {
        spec: {
          maybe: 'z',
          items: [
            { key: 'y', value: 6 },
            { key: 'x', value: 1 },
          ],
        },
      },
      merge,
    );
    assert.equal(grown.status, 200, grown.text);
    const twice = await call('PATCH', `${path}/a`, { spec: { items: [{ key: 'y' }, { key: 'y' }] } }, merge);
    assert.match(twice.body.message ?? '', /spec\.items\[1\]: Duplicate value: \{"key":"y"\}/);
  });

  it('are checked with their definition', async () => {
    const broken: [object, RegExp][] = [
      [
        { type: 'object', 'x-kubernetes-validations': [{ rule: 'self.nope > 1' }] },
        /properties\[spec\]\.x-kubernetes-validations\[0\]\.rule: Invalid value: .*compilation failed: ERROR: <input>:1:6: undefined field 'nope'/s,
      ],
      [{ type: 'object', 'x-kubernetes-validations': [{ rule: '1 + 1' }] }, /must evaluate to bool/],
      [{ type: 'object', 'x-kubernetes-validations': [{ rule: '' }] }, /rule: Required value: rule is not specified/],
      [
        { properties: { a: { type: 'string' } } },
        /properties\[spec\]\.type: Required value: must not be empty for specified object fields/,
      ],
      [{ type: 'array' }, /properties\[spec\]\.items: Required value: must be specified/],
      [{ type: 'string', pattern: '(?=x)' }, /pattern: Invalid value: .*must be a valid regular expression/],
      [{ type: 'string', default: 5 }, /properties\[spec\]\.default.*must be of type string/],
      [
        { type: 'object', properties: { a: { type: 'string' } }, anyOf: [{ properties: { b: { minLength: 1 } } }] },
        /Required value: because it is defined in/,
      ],
      [
        {
          type: 'object',
          properties: { list: { type: 'array', items: { type: 'array', items: { type: 'string' } } } },
          'x-kubernetes-validations': [{ rule: 'self.list.all(a, a.all(b, self.list.all(c, c.all(d, b == d))))' }],
        },
        /estimated rule cost exceeds budget by factor of more than 100x/,
      ],
    ];
    for (const [spec, wanted] of broken) {
      const answer = await call('POST', definitions, definitionOf('broken', 'Broken', spec));
      assert.equal(answer.status, 422, JSON.stringify(spec));
      assert.match(answer.body.message ?? '', wanted);
    }
  });

  it('let be what was wrong before and has not changed', async () => {
    const path = await define('loose', 'Loose', {
      type: 'object',
      properties: { a: { type: 'string' }, b: { type: 'string' } },
    });
    await call('POST', path, { metadata: { name: 'old' }, spec: { a: 'longer than allowed', b: 'x' } });
    const stricter = {
      openAPIV3Schema: {
        type: 'object',
        properties: {
          spec: { type: 'object', properties: { a: { type: 'string', maxLength: 3 }, b: { type: 'string' } } },
        },
      },
    };
    const patch = [{ op: 'replace', path: '/spec/versions/0/schema', value: stricter }];
    assert.equal(
      (await call('PATCH', `${definitions}/loose.rules.example.com`, patch, 'application/json-patch+json')).status,
      200,
    );
    await until(
      async () =>
        (await call('POST', `${path}?dryRun=All`, { metadata: { name: 'new' }, spec: { a: 'longer' } })).status === 422,
    );
    assert.equal((await call('PATCH', `${path}/old`, { spec: { b: 'y' } }, merge)).status, 200);
    assert.equal((await call('PATCH', `${path}/old`, { spec: { a: 'still longer' } }, merge)).status, 422);
  });

  it('CustomResourceDefinition resources custom resource defaulting for requests and from storage works', async () => {
    const properties = { a: { type: 'string' }, b: { type: 'string' } };
    const path = await define('later', 'Later', { type: 'object', properties });
    await call('POST', path, { metadata: { name: 'one' }, spec: {} });
    const withDefault = (a: object, b: object) => [
      {
        op: 'replace',
        path: '/spec/versions/0/schema/openAPIV3Schema/properties/spec',
        value: { type: 'object', properties: { a: { ...properties.a, ...a }, b: { ...properties.b, ...b } } },
      },
    ];
    const change = (patch: object) =>
      call('PATCH', `${definitions}/later.rules.example.com`, patch, 'application/json-patch+json');
    await change(withDefault({ default: 'A' }, {}));
    await until(async () => (await call('GET', `${path}/one`)).body.spec['a'] === 'A');
    assert.deepEqual((await call('POST', path, { metadata: { name: 'two' }, spec: {} })).body.spec, { a: 'A' });
    await change(withDefault({}, { default: 'B' }));
    await until(async () => (await call('GET', `${path}/two`)).body.spec['b'] === 'B');
    assert.equal((await call('GET', `${path}/two`)).body.spec['a'], 'A');
    assert.equal((await call('GET', `${path}/one`)).body.spec['a'], undefined);
  });

  it('scale where the definition keeps its replicas', async () => {
    const paths = {
      specReplicasPath: '.spec.size.wanted',
      statusReplicasPath: '.status.found',
      labelSelectorPath: '.status.selector',
    };
    const path = await define(
      'sized',
      'Sized',
      { type: 'object', properties: { size: { type: 'object', properties: { wanted: { type: 'integer' } } } } },
      { subresources: { status: {}, scale: paths } },
    );
    await call('POST', path, { metadata: { name: 'a' }, spec: { size: { wanted: 2 } } });
    const changed = await call('PATCH', `${path}/a/scale`, { spec: { replicas: 7 } }, merge);
    assert.equal(changed.status, 200, changed.text);
    assert.deepEqual((await call('GET', `${path}/a`)).body.spec, { size: { wanted: 7 } });
    assert.deepEqual((await call('GET', `${path}/a/scale`)).body.spec, { replicas: 7 });
  });

  it('wait for their names where others have them', async () => {
    const taken = definitionOf('others', 'Scaled', { type: 'object' });
    assert.equal((await call('POST', definitions, taken)).status, 201);
    const conditions = async () =>
      (await call('GET', `${definitions}/others.rules.example.com`)).body.status?.conditions ?? [];
    await until(async () => (await conditions()).length >= 2);
    const shown = (await conditions()).map(({ type, status, reason, message }) => [type, status, reason, message]);
    assert.deepEqual(shown, [
      ['NamesAccepted', 'False', 'ListKindConflict', '"ScaledList" is already in use'],
      ['Established', 'False', 'NotAccepted', 'not all names are accepted'],
    ]);
    await call('DELETE', `${definitions}/scales.rules.example.com`);
    await until(async () => (await conditions()).every(({ status }) => status === 'True'));
  });

  it('hold their definition until the last object has lost its finalizers', async () => {
    const path = await define('held', 'Held', { type: 'object' });
    await call('POST', path, { metadata: { name: 'a', finalizers: ['example.com/hold'] } });
    await call('DELETE', `${definitions}/held.rules.example.com`);
    await until(async () =>
      ((await call('GET', `${definitions}/held.rules.example.com`)).body.status?.conditions ?? []).some(
        ({ type }) => type === 'Terminating',
      ),
    );
    await until(async () => (await call('GET', `${path}/a`)).text.includes('deletionTimestamp'));
    const late = await call('POST', path, { metadata: { name: 'late' } });
    assert.deepEqual(
      [late.status, late.body.message],
      [405, 'create not allowed while custom resource definition is terminating'],
    );
    assert.equal((await call('PATCH', `${path}/a`, { metadata: { finalizers: null } }, merge)).status, 200);
    await until(async () => (await call('GET', `${definitions}/held.rules.example.com`)).status === 404);
  });
});
