// Hostile definitions, rules, policies and webhooks: answered in the API's form, in bounded time, and nothing else stops.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startApiServer, type TestServer } from './start-api-server.ts';

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const group = '/apis/admissionregistration.k8s.io/v1';
const boundMs = 20_000;

/** A chain of a schema within itself. */
const nested = (depth: number): object =>
  Array.from({ length: depth }).reduce<object>((inner) => ({ type: 'object', properties: { a: inner } }), {
    type: 'string',
  });
const rule = (
  text: string,
  schema: object = {
    type: 'object',
    properties: { a: { type: 'integer' }, s: { type: 'string' }, l: { type: 'array', items: { type: 'string' } } },
  },
) => ({
  ...schema,
  'x-kubernetes-validations': [{ rule: text }],
});

describe('hostile extensions', () => {
  let server: TestServer;
  let count = 0;
  const timed = async (method: string, path: string, body: unknown) => {
    const startedMs = performance.now();
    const answer = await server.call<{ kind?: string; message?: string }>(method, path, { body });
    const tookMs = performance.now() - startedMs;
    assert.ok(tookMs < boundMs, `took ${tookMs} ms: ${JSON.stringify(body).slice(0, 200)}`);
    assert.ok(
      answer.status < 500,
      `${answer.status} ${answer.text.slice(0, 300)} for ${JSON.stringify(body).slice(0, 300)}`,
    );
    return answer;
  };
  const define = (spec: object) => {
    count += 1;
    return timed('POST', definitions, {
      metadata: { name: `h${count}s.hostile.example.com` },
      spec: {
        group: 'hostile.example.com',
        scope: 'Cluster',
        names: { plural: `h${count}s`, kind: `H${count}` },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            schema: { openAPIV3Schema: { type: 'object', properties: { spec } } },
          },
        ],
      },
    });
  };

  before(async () => {
    server = await startApiServer();
  });
  after(() => server.close());

  const rules = [
    Array(5000).fill('self.a == 1').join(' && '),
    `${Array(5000).fill('self.a').join(' + ')} > 0`,
    `${'('.repeat(5000)}self.a${')'.repeat(5000)} == 1`,
    `${'!'.repeat(20_000)}true`,
    `${'-'.repeat(20_000)}1 == 1`,
    `self.l${'.map(x, x)'.repeat(500)}.size() > 0`,
    `self.l${'.all(x, self.l'.repeat(60)}.size() > 0${')'.repeat(60)}`,
    `[${Array(20_000).fill('1').join(',')}].size() == 1`,
    `self.s.matches('${'(a+)+'.repeat(50)}$')`,
    `self.s.matches('${'a{1000}'.repeat(50)}')`,
    `"${'x'.repeat(90_000)}" == self.s`,
    'self.s'.repeat(40_000),
    '{'.repeat(5000),
    '['.repeat(5000),
    'Object{'.repeat(500),
    '`'.repeat(5000),
    '"\\u0000\\ud800" == self.s',
    'self.__proto__.constructor == 1',
    'self["constructor"] == 1',
    'cel.bind(a, [1,2,3,4,5,6,7,8,9,10], cel.bind(b, a.map(x, a), cel.bind(c, b.map(x, b), c.map(x, c).size() > 0)))',
    'lists.range(1000000).map(x, lists.range(1000000)).size() > 0',
    '"%s".format([self])  == "" && "%999999d".format([1]) == ""',
    'timestamp("9999-99-99T99:99:99Z") > timestamp("x")',
    '9223372036854775807 + 1 > 0 && 1 / 0 == 0',
  ];
  for (const text of rules) {
    it(`take or refuse the rule ${text.slice(0, 60)}`, async () => {
      await define(rule(text));
      await timed('POST', `${group}/validatingadmissionpolicies`, {
        metadata: { name: `h${count}` },
        spec: {
          matchConstraints: {
            resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['secrets'] }],
          },
          validations: [{ expression: text.replaceAll('self', 'object') }],
        },
      });
    });
  }

  const schemas: [string, object][] = [
    ['deep', nested(2000)],
    [
      'a tower of choices',
      Array.from({ length: 300 }).reduce<object>(
        (inner) => ({ anyOf: [inner, inner === undefined ? {} : { minLength: 1 }] }),
        {},
      ),
    ],
    [
      'wrong everywhere',
      {
        type: ['object'],
        properties: [],
        required: 'x',
        items: [],
        enum: 5,
        pattern: 7,
        'x-kubernetes-validations': {},
      },
    ],
    ['nulls', { type: null, properties: { a: null }, items: null, default: null }],
    [
      'a prototype',
      JSON.parse(
        '{"type":"object","properties":{"__proto__":{"type":"object","default":{"polluted":true}},"constructor":{"type":"string","default":"x"}}}',
      ) as object,
    ],
    ['a pattern without end', { type: 'string', pattern: `${'('.repeat(2000)}a${')*'.repeat(2000)}` }],
    [
      'huge bounds',
      { type: 'array', maxItems: 1e308, items: { type: 'integer', minimum: -1e308, multipleOf: 1e-300 } },
    ],
  ];
  for (const [what, schema] of schemas)
    it(`take or refuse a schema that is ${what}`, async () => assert.ok((await define(schema)).status >= 200));

  it('leave the server as it was', async () => {
    const created = await timed('POST', '/api/v1/namespaces/default/configmaps', {
      metadata: { name: 'still-here' },
      data: { a: 'b' },
    });
    assert.equal(created.status, 201);
    assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  });
});
