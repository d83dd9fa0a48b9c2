// What upstream's conformance suite checks of the schemas of custom resource definitions: published, and strict or open.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

interface Documents {
  definitions: Record<string, unknown>;
  components: { schemas: Record<string, unknown> };
}

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };

interface DefinitionOptions {
  group: string;
  plural: string;
  kind: string;
  schema: object;
}

const definition = ({ group, plural, kind, schema }: DefinitionOptions) => ({
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope: 'Namespaced',
    names: { plural, kind },
    versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
  },
});

describe('custom resource definitions, as upstream tries them', () => {
  let server: TestServer;
  const call = (method: string, path: string, body?: unknown): Promise<Answer<Documents>> =>
    server.call<Documents>(method, path, { body });
  const define = async (options: DefinitionOptions): Promise<void> => {
    const created = await call('POST', definitions, definition(options));
    assert.equal(created.status, 201, created.text);
    const path = `/apis/${options.group}/v1/${options.plural}`;
    await eventually('the kind is served', async () => (await call('GET', path)).status === 200);
  };
  const inOpenApi = async (name: string): Promise<boolean> =>
    (await call('GET', '/openapi/v2')).body.definitions[name] !== undefined;

  before(async () => {
    server = await startApiServer();
  });
  after(() => server.close());

  const validating = {
    type: 'object',
    description: 'Foo CRD for Testing',
    properties: {
      spec: {
        type: 'object',
        description: 'Specification of Foo',
        required: ['bars'],
        properties: {
          bars: {
            type: 'array',
            items: {
              type: 'object',
              required: ['name'],
              properties: { name: { type: 'string' }, age: { type: 'string' } },
            },
          },
        },
      },
    },
  };

  it('CustomResourcePublishOpenAPI works for CRD with validation schema', async () => {
    await define({ group: 'open.example.com', plural: 'foos', kind: 'Foo', schema: validating });
    assert.ok(await inOpenApi('com.example.open.v1.Foo'));
    const path = '/apis/open.example.com/v1/namespaces/default/foos?fieldValidation=Strict';
    assert.equal(
      (await call('POST', path, { metadata: { name: 'a' }, spec: { bars: [{ name: 'x', age: '1' }] } })).status,
      201,
    );
    const unknown = await call('POST', path, { metadata: { name: 'b' }, spec: { bars: [{ name: 'x', nope: 1 }] } });
    assert.deepEqual([unknown.status, /unknown field \\"spec\.bars\[0\]\.nope\\"/.test(unknown.text)], [400, true]);
    const missing = await call('POST', path, { metadata: { name: 'c' }, spec: { bars: [{ age: '1' }] } });
    assert.match(missing.text, /spec\.bars\[0\]\.name: Required value/);
    const { schemas } = (await call('GET', '/openapi/v3/apis/open.example.com/v1')).body.components;
    assert.match(JSON.stringify(schemas['com.example.open.v1.Foo']), /"description":"Specification of Foo"/);
  });

  for (const [name, plural, schema, field] of [
    ['CustomResourcePublishOpenAPI works for CRD without validation schema', 'wilds', open, 'anything'],
    [
      'CustomResourcePublishOpenAPI works for CRD preserving unknown fields at the schema root',
      'roots',
      { ...open, properties: { spec: open } },
      'anything',
    ],
    [
      'CustomResourcePublishOpenAPI works for CRD preserving unknown fields in an embedded object',
      'inners',
      { type: 'object', properties: { spec: { ...open, 'x-kubernetes-embedded-resource': true } } },
      'spec',
    ],
  ] as const) {
    it(name, async () => {
      const kind = `${plural[0]?.toUpperCase()}${plural.slice(1, -1)}`;
      await define({ group: 'loose.example.com', plural, kind, schema });
      assert.ok(await inOpenApi(`com.example.loose.v1.${kind}`));
      const value = { apiVersion: 'example.com/v1', kind: 'Inner', metadata: { name: 'x' }, unknown: { a: ['b'] } };
      const path = `/apis/loose.example.com/v1/namespaces/default/${plural}?fieldValidation=Strict`;
      const created = await call('POST', path, { metadata: { name: 'a' }, [field]: value });
      assert.equal(created.status, 201, created.text);
      assert.match(created.text, /"unknown":\{"a":\["b"\]\}/);
    });
  }
});
