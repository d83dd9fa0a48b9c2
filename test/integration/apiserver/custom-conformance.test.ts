// What upstream's conformance suite checks of custom resource definitions: their own lifecycle, discovery and OpenAPI.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

interface Thing {
  metadata: { name: string; resourceVersion: string };
  items: Thing[];
  groups: { name: string; versions: { groupVersion: string }[] }[];
  resources: { name: string }[];
  versions: { version: string; resources: { resource: string }[] }[];
  definitions: Record<string, { properties?: Record<string, unknown> }>;
  components: { schemas: Record<string, Record<string, unknown>> };
  status: { conditions: { type: string; status: string; message?: string }[] };
  spec?: Record<string, unknown>;
}

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const json = 'application/json-patch+json';
const merge = 'application/merge-patch+json';
const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };

interface DefinitionOptions {
  group: string;
  plural: string;
  kind: string;
  schema?: object;
  versions?: string[];
  labels?: Record<string, string>;
}

const version = (name: string, schema: object, index: number) => ({
  name,
  served: true,
  storage: index === 0,
  subresources: { status: {} },
  schema: { openAPIV3Schema: schema },
});

const definition = ({ group, plural, kind, schema = open, versions = ['v1'], labels = {} }: DefinitionOptions) => ({
  metadata: { name: `${plural}.${group}`, labels },
  spec: {
    group,
    scope: 'Namespaced',
    names: { plural, kind },
    versions: versions.map((name, index) => version(name, schema, index)),
  },
});

describe('custom resource definitions, as upstream tries them', () => {
  let server: TestServer;
  const call = (
    method: string,
    path: string,
    body?: unknown,
    contentType?: string,
    accept?: string,
  ): Promise<Answer<Thing>> =>
    server.call<Thing>(method, path, {
      body,
      ...(contentType === undefined ? {} : { contentType }),
      ...(accept === undefined ? {} : { headers: { accept } }),
    });
  const define = async (options: DefinitionOptions): Promise<void> => {
    const created = await call('POST', definitions, definition(options));
    assert.equal(created.status, 201, created.text);
    const path = `/apis/${options.group}/${options.versions?.[0] ?? 'v1'}/${options.plural}`;
    await eventually('the kind is served', async () => (await call('GET', path)).status === 200);
  };
  const inOpenApi = async (name: string): Promise<boolean> =>
    (await call('GET', '/openapi/v2')).body.definitions[name] !== undefined;

  before(async () => {
    server = await startApiServer();
  });
  after(() => server.close());

  it('CustomResourceDefinition resources Simple CustomResourceDefinition creating/deleting custom resource definition objects works', async () => {
    await define({ group: 'simple.example.com', plural: 'simples', kind: 'Simple' });
    assert.equal((await call('DELETE', `${definitions}/simples.simple.example.com`)).status, 200);
    await eventually(
      'it is gone',
      async () => (await call('GET', `${definitions}/simples.simple.example.com`)).status === 404,
    );
    await eventually(
      'its kind is gone',
      async () => (await call('GET', '/apis/simple.example.com/v1/simples')).status === 404,
    );
  });

  it('CustomResourceDefinition resources Simple CustomResourceDefinition listing custom resource definition objects works', async () => {
    for (let index = 0; index < 10; index += 1) {
      await call(
        'POST',
        definitions,
        definition({
          group: 'listed.example.com',
          plural: `listed${index}s`,
          kind: `Listed${index}`,
          labels: { list: 'yes' },
        }),
      );
    }
    await call('POST', definitions, definition({ group: 'listed.example.com', plural: 'others', kind: 'Other' }));
    const selector = `${definitions}?labelSelector=list%3Dyes`;
    assert.equal((await call('GET', selector)).body.items.length, 10);
    assert.equal((await call('DELETE', selector)).status, 200);
    await eventually('they are gone', async () => (await call('GET', selector)).body.items.length === 0);
    assert.equal((await call('GET', `${definitions}/others.listed.example.com`)).status, 200);
  });

  it('CustomResourceDefinition resources Simple CustomResourceDefinition getting/updating/patching custom resource definition status sub-resource works', async () => {
    await define({ group: 'status.example.com', plural: 'states', kind: 'State' });
    const path = `${definitions}/states.status.example.com`;
    const condition = { type: 'StatusUpdate', status: 'True', reason: 'Test', message: 'set by the test' };
    await eventually('the status is written', async () => {
      const { body } = await call('GET', `${path}/status`);
      const status = { ...body.status, conditions: [...body.status.conditions, condition] };
      return (await call('PUT', `${path}/status`, { ...body, status })).status === 200;
    });
    const updated = (await call('GET', path)).body.status.conditions;
    assert.ok(updated.some(({ type, message }) => type === 'StatusUpdate' && message === 'set by the test'));
    const conditions = [...updated.filter(({ type }) => type !== 'StatusUpdate'), { ...condition, message: 'patched' }];
    assert.equal((await call('PATCH', `${path}/status`, { status: { conditions } }, merge)).status, 200);
    const patched = (await call('GET', path)).body.status.conditions;
    assert.ok(patched.some(({ type, message }) => type === 'StatusUpdate' && message === 'patched'));
    assert.ok(patched.some(({ type, status }) => type === 'Established' && status === 'True'));
  });

  it('CustomResourceDefinition Watch CustomResourceDefinition Watch watch on custom resource definition objects', async () => {
    await define({ group: 'watched.example.com', plural: 'watcheds', kind: 'Watched' });
    const path = '/apis/watched.example.com/v1/namespaces/default/watcheds';
    const lines = server.stream(`${path}?watch=true&timeoutSeconds=20`, (line) => line.includes('"DELETED"'));
    await call('POST', path, { metadata: { name: 'a' } });
    await call('PATCH', `${path}/a`, { spec: { x: 1 } }, merge);
    await call('DELETE', `${path}/a`);
    const types = (await lines)
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { type: string }).type);
    assert.deepEqual(types, ['ADDED', 'MODIFIED', 'DELETED']);
  });

  it('CustomResourceDefinition resources should include custom resource definition resources in discovery documents', async () => {
    const found = (await call('GET', '/apis')).body.groups.find(({ name }) => name === 'apiextensions.k8s.io');
    assert.ok(found?.versions.some(({ groupVersion }) => groupVersion === 'apiextensions.k8s.io/v1'));
    assert.equal((await call('GET', '/apis/apiextensions.k8s.io')).status, 200);
    const { resources } = (await call('GET', '/apis/apiextensions.k8s.io/v1')).body;
    assert.ok(resources.some(({ name }) => name === 'customresourcedefinitions'));
  });

  const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  for (const name of [
    'AggregatedDiscovery should support aggregated discovery interface for CRDs',
    'AggregatedDiscovery should support raw aggregated discovery request for CRDs',
  ]) {
    it(name, async () => {
      const group = `d${name.length}.example.com`;
      await define({ group, plural: 'founds', kind: 'Found' });
      const { body, headers } = await call('GET', '/apis', undefined, undefined, aggregated);
      assert.match(String(headers['content-type']), /as=APIGroupDiscoveryList/);
      const found = body.items.find(({ metadata }) => metadata.name === group) as unknown as Thing | undefined;
      assert.deepEqual(
        found?.versions.map((each) => [each.version, each.resources[0]?.resource]),
        [['v1', 'founds']],
      );
    });
  }

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

  it('CustomResourcePublishOpenAPI works for multiple CRDs of different groups', async () => {
    await define({ group: 'one.example.com', plural: 'sames', kind: 'Same' });
    await define({ group: 'two.example.com', plural: 'sames', kind: 'Same' });
    assert.ok(await inOpenApi('com.example.one.v1.Same'));
    assert.ok(await inOpenApi('com.example.two.v1.Same'));
  });

  it('CustomResourcePublishOpenAPI works for multiple CRDs of same group but different versions', async () => {
    await define({ group: 'versions.example.com', plural: 'olds', kind: 'Old', versions: ['v2', 'v3'] });
    await define({ group: 'versions.example.com', plural: 'news', kind: 'New', versions: ['v4'] });
    for (const name of ['v2.Old', 'v3.Old', 'v4.New']) assert.ok(await inOpenApi(`com.example.versions.${name}`), name);
  });

  it('CustomResourcePublishOpenAPI works for multiple CRDs of same group and version but different kinds', async () => {
    await define({ group: 'kinds.example.com', plural: 'cats', kind: 'Cat' });
    await define({ group: 'kinds.example.com', plural: 'dogs', kind: 'Dog' });
    assert.ok((await inOpenApi('com.example.kinds.v1.Cat')) && (await inOpenApi('com.example.kinds.v1.Dog')));
  });

  it('CustomResourcePublishOpenAPI updates the published spec when one version gets renamed', async () => {
    await define({ group: 'renamed.example.com', plural: 'names', kind: 'Name', versions: ['v2', 'v3'] });
    const patch = [
      { op: 'test', path: '/spec/versions/1/name', value: 'v3' },
      { op: 'replace', path: '/spec/versions/1/name', value: 'v4' },
    ];
    const changed = await call('PATCH', `${definitions}/names.renamed.example.com`, patch, json);
    assert.equal(changed.status, 200, changed.text);
    await eventually('the new name is published', () => inOpenApi('com.example.renamed.v4.Name'));
    assert.deepEqual(
      [await inOpenApi('com.example.renamed.v3.Name'), await inOpenApi('com.example.renamed.v2.Name')],
      [false, true],
    );
  });

  it('CustomResourcePublishOpenAPI removes definition from spec when one version gets changed to not be served', async () => {
    await define({ group: 'unserved.example.com', plural: 'gones', kind: 'Gone', versions: ['v5', 'v6'] });
    assert.ok(await inOpenApi('com.example.unserved.v6.Gone'));
    const patch = [{ op: 'replace', path: '/spec/versions/1/served', value: false }];
    await call('PATCH', `${definitions}/gones.unserved.example.com`, patch, json);
    await eventually('it is published no more', async () => !(await inOpenApi('com.example.unserved.v6.Gone')));
    assert.ok(await inOpenApi('com.example.unserved.v5.Gone'));
    assert.equal((await call('GET', '/apis/unserved.example.com/v6/gones')).status, 404);
  });
});
