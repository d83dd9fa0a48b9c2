// Definitions of custom resources as every cluster takes them: their own life, discovery, published schemas, strict fields.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
}

interface Thing {
  message?: string;
  apiVersion: string;
  kind: string;
  metadata: { name: string; resourceVersion: string; labels?: Record<string, string> };
  spec: Record<string, unknown>;
  status?: { conditions?: Condition[] };
  items: Thing[];
}

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  [extension: `x-kubernetes-${string}`]: unknown;
}

const bounds = { timeout: 60_000 };
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const merge = 'application/merge-patch+json';
const apply = 'application/apply-patch+yaml';

const free = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
const foo = {
  description: 'Foo CRD for Testing',
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      description: 'Specification of Foo',
      properties: {
        bars: {
          description: 'List of Bars and their specs',
          type: 'array',
          items: {
            type: 'object',
            required: ['name'],
            properties: { name: { type: 'string' }, age: { type: 'string' } },
          },
        },
      },
    },
    status: { type: 'object', description: 'Status of Foo', properties: { ready: { type: 'boolean' } } },
  },
};
const waldo = {
  description: 'Waldo CRD for Testing',
  type: 'object',
  properties: { spec: { description: 'Specification of Waldo', type: 'object' } },
};
const port = {
  type: 'object',
  required: ['containerPort', 'protocol'],
  properties: {
    containerPort: { type: 'integer', format: 'int32' },
    hostPort: { type: 'integer', format: 'int32' },
    name: { type: 'string' },
    protocol: { type: 'string' },
  },
};
const strictProperties = {
  foo: { type: 'string' },
  cronSpec: { type: 'string', pattern: String.raw`^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$` },
  ports: {
    type: 'array',
    'x-kubernetes-list-map-keys': ['containerPort', 'protocol'],
    'x-kubernetes-list-type': 'map',
    items: port,
  },
};

interface Definition {
  group: string;
  plural: string;
  kind: string;
  /** Version -> schema. The first is stored. */
  versions: Record<string, object>;
  scope?: string;
  labels?: Record<string, string>;
}

describe('definitions of custom resources', () => {
  let server: TestServer;
  let groups = 0;
  before(async () => {
    server = await startApiServer();
  });
  after(() => server?.close());

  const call = (method: string, path: string, body?: unknown, contentType?: string): Promise<Answer<Thing>> =>
    server.call<Thing>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });
  const newGroup = (): string => `group-${++groups}.example.com`;

  const manifestOf = ({ group, plural, kind, versions, scope = 'Namespaced', labels = {} }: Definition) => ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, labels },
    spec: {
      group,
      scope,
      names: { plural, kind },
      versions: Object.entries(versions).map(([name, openAPIV3Schema], index) => ({
        name,
        served: true,
        storage: index === 0,
        subresources: { status: {} },
        schema: { openAPIV3Schema },
      })),
    },
  });

  const establishedAt = (name: string): Promise<Thing> =>
    eventually(`${name} is established`, async () => {
      const { body } = await call('GET', `${definitions}/${name}`);
      const isEstablished = body.status?.conditions?.some(
        ({ type, status }) => type === 'Established' && status === 'True',
      );
      return isEstablished === true ? body : undefined;
    });

  async function define(definition: Definition): Promise<Thing> {
    const created = await call('POST', definitions, manifestOf(definition));
    assert.equal(created.status, 201, created.text);
    const established = await establishedAt(created.body.metadata.name);
    const [version = ''] = Object.keys(definition.versions);
    await eventually('it is served', async () => {
      const { status } = await call('GET', `/apis/${definition.group}/${version}/${definition.plural}`);
      return status === 200;
    });
    return established;
  }

  const remove = async (name: string): Promise<void> => {
    assert.equal((await call('DELETE', `${definitions}/${name}`)).status, 200);
    await eventually(`${name} is gone`, async () => (await call('GET', `${definitions}/${name}`)).status === 404);
  };

  const simple = (group: string, labels?: Record<string, string>, plural = 'tests'): Definition => ({
    group,
    plural,
    kind: `Test${plural}`,
    versions: { v1: free },
    ...(labels === undefined ? {} : { labels }),
  });

  it(
    'CustomResourceDefinition resources Simple CustomResourceDefinition creating/deleting custom resource definition objects works',
    bounds,
    async () => {
      const defined = await define(simple(newGroup()));
      await remove(defined.metadata.name);
    },
  );

  it(
    'CustomResourceDefinition resources Simple CustomResourceDefinition listing custom resource definition objects works',
    bounds,
    async () => {
      const names: string[] = [];
      for (let index = 0; index < 10; index += 1) {
        const defined = await define(simple(newGroup(), { list: 'ten' }, `tests${index}`));
        names.push(defined.metadata.name);
      }
      const path = `${definitions}?labelSelector=list%3Dten`;
      const { items } = (await call('GET', path)).body;
      assert.deepEqual(items.map(({ metadata }) => metadata.name).sort(), names.sort());
      assert.equal((await call('DELETE', path)).status, 200);
      await eventually('all are gone', async () => (await call('GET', path)).body.items.length === 0);
    },
  );

  it(
    'CustomResourceDefinition resources Simple CustomResourceDefinition getting/updating/patching custom resource definition status sub-resource works',
    bounds,
    async () => {
      const { metadata } = await define(simple(newGroup()));
      const path = `${definitions}/${metadata.name}/status`;
      const condition = (type: string): Condition => ({
        type,
        status: 'True',
        reason: 'E2E',
        message: 'Set by a test',
      });
      const types = ({ status }: Thing) => (status?.conditions ?? []).map(({ type }) => type);
      await eventually('an update of the newest status', async () => {
        const { body } = await call('GET', path);
        assert.ok(types(body).includes('Established'));
        const conditions = [...(body.status?.conditions ?? []), condition('StatusUpdate')];
        return (await call('PUT', path, { ...body, status: { ...body.status, conditions } })).status === 200;
      });
      assert.ok(types((await call('GET', path)).body).includes('StatusUpdate'));
      const patch = [{ op: 'add', path: '/status/conditions/-', value: condition('StatusPatched') }];
      const patched = await call('PATCH', path, patch, 'application/json-patch+json');
      assert.equal(patched.status, 200, patched.text);
      assert.ok(types((await call('GET', path)).body).includes('StatusPatched'));
    },
  );

  it(
    'CustomResourceDefinition resources should include custom resource definition resources in discovery documents',
    bounds,
    async () => {
      const read = async <T>(path: string) => (await server.call<T>('GET', path)).body;
      interface Group {
        name: string;
        versions: { groupVersion: string; version: string }[];
      }
      const { groups: all } = await read<{ groups: Group[] }>('/apis');
      for (const group of [
        all.find(({ name }) => name === 'apiextensions.k8s.io'),
        await read<Group>('/apis/apiextensions.k8s.io'),
      ])
        assert.ok(group?.versions.some(({ groupVersion }) => groupVersion === 'apiextensions.k8s.io/v1'));
      const { resources } = await read<{ resources: { name: string }[] }>('/apis/apiextensions.k8s.io/v1');
      assert.ok(resources.some(({ name }) => name === 'customresourcedefinitions'));
    },
  );

  it(
    'CustomResourceDefinition Watch CustomResourceDefinition Watch watch on custom resource definition objects',
    bounds,
    async () => {
      const group = newGroup();
      await define({ ...simple(group), scope: 'Cluster' });
      const path = `/apis/${group}/v1/tests`;
      const { metadata } = (await call('GET', path)).body;
      const watching = (name: string) =>
        server.stream(
          `${path}?watch=true&timeoutSeconds=30&resourceVersion=${metadata.resourceVersion}&fieldSelector=metadata.name%3D${name}`,
          (line) => line.includes('"DELETED"'),
        );
      const seen = Promise.all([watching('name1'), watching('name2')]);
      const names = ['name1', 'name2'];
      for (const name of names)
        assert.equal(
          (await call('POST', path, { apiVersion: `${group}/v1`, kind: 'Testtests', metadata: { name }, num: 1 }))
            .status,
          201,
        );
      for (const name of names) await call('PATCH', `${path}/${name}`, { dummy: 'test' }, merge);
      for (const name of names) await call('DELETE', `${path}/${name}`);
      for (const [index, lines] of (await seen).entries()) {
        const events = lines
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as { type: string; object: Thing });
        assert.deepEqual(
          events.map(({ type, object }) => `${type} ${object.metadata.name}`),
          ['ADDED', 'MODIFIED', 'DELETED'].map((type) => `${type} ${names[index]}`),
        );
      }
    },
  );

  it(
    'CustomResourceFieldSelectors CustomResourceFieldSelectors MUST list and watch custom resources matching the field selector',
    bounds,
    async () => {
      const group = newGroup();
      const text = { type: 'string' };
      const manifest = manifestOf({
        group,
        plural: 'hosts',
        kind: 'Host',
        versions: { v1: { type: 'object', properties: { host: text, port: text } } },
      });
      const spec = {
        ...manifest.spec,
        versions: manifest.spec.versions.map((version) => ({ ...version, selectableFields: [{ jsonPath: '.host' }] })),
      };
      assert.equal((await call('POST', definitions, { ...manifest, spec })).status, 201);
      await establishedAt(manifest.metadata.name);
      const path = `/apis/${group}/v1/namespaces/default/hosts`;
      await eventually('it is served', async () => (await call('GET', path)).status === 200);
      const { metadata } = (await call('GET', path)).body;
      const selector = 'fieldSelector=host%3Dhost1';
      const watching = server.stream(
        `${path}?watch=true&timeoutSeconds=30&resourceVersion=${metadata.resourceVersion}&${selector}`,
        (line) => line.includes('"DELETED"'),
      );
      for (const [name, host] of [
        ['one', 'host1'],
        ['two', 'host2'],
        ['three', 'host1'],
      ])
        await call('POST', path, { metadata: { name }, host, port: '80' });
      const names = async (query: string) =>
        (await call('GET', `${path}?${query}`)).body.items.map((each) => each.metadata.name).sort();
      assert.deepEqual(await names(selector), ['one', 'three']);
      assert.deepEqual(await names('fieldSelector=host%21%3Dhost1'), ['two']);
      await call('PATCH', `${path}/one`, { host: 'host3' }, merge);
      const events = (await watching)
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as { type: string; object: Thing });
      assert.deepEqual(
        events.map(({ type, object }) => `${type} ${object.metadata.name}`),
        ['ADDED one', 'ADDED three', 'DELETED one'],
      );
    },
  );

  /** The published schema of a kind, in both forms; undefined when there is none. */
  async function published(
    group: string,
    version: string,
    kind: string,
  ): Promise<[v2: Schema | undefined, v3: Schema | undefined]> {
    const name = `${group.split('.').reverse().join('.')}.${version}.${kind}`;
    const v2 = await server.call<{ definitions: Record<string, Schema> }>('GET', '/openapi/v2');
    const v3 = await server.call<{ components?: { schemas: Record<string, Schema> } }>(
      'GET',
      `/openapi/v3/apis/${group}/${version}`,
    );
    return [v2.body.definitions[name], v3.status === 200 ? v3.body.components?.schemas[name] : undefined];
  }
  const publishedSoon = (group: string, version: string, kind: string): Promise<Schema[]> =>
    eventually(`${kind} of ${group}/${version} is published`, async () => {
      const [v2, v3] = await published(group, version, kind);
      return v2 === undefined || v3 === undefined ? undefined : [v2, v3];
    });
  const withdrawnSoon = (group: string, version: string, kind: string): Promise<boolean> =>
    eventually(`${kind} of ${group}/${version} is withdrawn`, async () =>
      (await published(group, version, kind)).every((each) => each === undefined),
    );
  const describes = (schemas: Schema[], description: string): void => {
    for (const schema of schemas) assert.equal(schema.description, description);
  };

  it('CustomResourcePublishOpenAPI works for multiple CRDs of different groups', bounds, async () => {
    const [one, two] = [newGroup(), newGroup()];
    await define({ group: one, plural: 'foos', kind: 'Foo', versions: { v1: foo } });
    await define({ group: two, plural: 'waldos', kind: 'Waldo', versions: { v1beta1: waldo } });
    describes(await publishedSoon(one, 'v1', 'Foo'), foo.description);
    describes(await publishedSoon(two, 'v1beta1', 'Waldo'), waldo.description);
    await remove(`foos.${one}`);
    await withdrawnSoon(one, 'v1', 'Foo');
  });

  it('CustomResourcePublishOpenAPI works for multiple CRDs of same group but different versions', bounds, async () => {
    const group = newGroup();
    await define({ group, plural: 'foos', kind: 'Foo', versions: { v2: foo, v3: foo } });
    describes(await publishedSoon(group, 'v2', 'Foo'), foo.description);
    describes(await publishedSoon(group, 'v3', 'Foo'), foo.description);
    await define({ group, plural: 'waldos', kind: 'Waldo', versions: { v4: waldo } });
    describes(await publishedSoon(group, 'v4', 'Waldo'), waldo.description);
    describes(await publishedSoon(group, 'v2', 'Foo'), foo.description);
  });

  it(
    'CustomResourcePublishOpenAPI works for multiple CRDs of same group and version but different kinds',
    bounds,
    async () => {
      const group = newGroup();
      await define({ group, plural: 'foos', kind: 'Foo', versions: { v6: foo } });
      await define({ group, plural: 'waldos', kind: 'Waldo', versions: { v6: waldo } });
      describes(await publishedSoon(group, 'v6', 'Foo'), foo.description);
      describes(await publishedSoon(group, 'v6', 'Waldo'), waldo.description);
      await remove(`foos.${group}`);
      await withdrawnSoon(group, 'v6', 'Foo');
      describes(await publishedSoon(group, 'v6', 'Waldo'), waldo.description);
    },
  );

  const changeVersions = async (name: string, patch: object[]): Promise<void> => {
    const changed = await call('PATCH', `${definitions}/${name}`, patch, 'application/json-patch+json');
    assert.equal(changed.status, 200, changed.text);
  };

  it('CustomResourcePublishOpenAPI updates the published spec when one version gets renamed', bounds, async () => {
    const group = newGroup();
    await define({ group, plural: 'foos', kind: 'Foo', versions: { v2: foo, v3: foo } });
    await publishedSoon(group, 'v3', 'Foo');
    await changeVersions(`foos.${group}`, [
      { op: 'test', path: '/spec/versions/1/name', value: 'v3' },
      { op: 'replace', path: '/spec/versions/1/name', value: 'v4' },
    ]);
    describes(await publishedSoon(group, 'v4', 'Foo'), foo.description);
    await withdrawnSoon(group, 'v3', 'Foo');
    describes(await publishedSoon(group, 'v2', 'Foo'), foo.description);
  });

  it(
    'CustomResourcePublishOpenAPI removes definition from spec when one version gets changed to not be served',
    bounds,
    async () => {
      const group = newGroup();
      await define({ group, plural: 'foos', kind: 'Foo', versions: { v5: foo, v6alpha1: foo } });
      await publishedSoon(group, 'v6alpha1', 'Foo');
      await changeVersions(`foos.${group}`, [{ op: 'replace', path: '/spec/versions/1/served', value: false }]);
      await withdrawnSoon(group, 'v6alpha1', 'Foo');
      describes(await publishedSoon(group, 'v5', 'Foo'), foo.description);
    },
  );

  /** Applies as YAML, refusing unknown fields, in the first version. */
  async function applyStrict(definition: Definition, manifest: string): Promise<Answer<Thing>> {
    await define(definition);
    const { group, plural, kind } = definition;
    const path = `/apis/${group}/v1/${plural}/mytest?fieldManager=field_validation_mgr&fieldValidation=Strict`;
    return call('PATCH', path, `apiVersion: ${group}/v1\nkind: ${kind}\n${manifest}`, apply);
  }
  const strict = (spec: object): Definition => ({
    group: newGroup(),
    plural: 'noxus',
    kind: 'WishIHadChosenNoxu',
    scope: 'Cluster',
    versions: { v1: { type: 'object', properties: { spec } } },
  });
  const closed = { type: 'object', properties: strictProperties };
  const open = {
    ...closed,
    'x-kubernetes-preserve-unknown-fields': true,
    properties: {
      ...strictProperties,
      template: {
        type: 'object',
        'x-kubernetes-embedded-resource': true,
        properties: {
          metadata: { type: 'object', properties: { name: { type: 'string' } } },
          spec: { type: 'object' },
        },
      },
    },
  };
  const metadata = 'metadata:\n  name: mytest\n  finalizers: [example.com/test-finalizer]\n';
  const known = '  cronSpec: "* * * * */5"\n  ports:\n  - {name: x, containerPort: 80, protocol: TCP}\n';

  it('FieldValidation should create/apply a valid CR for CRD with validation schema', bounds, async () => {
    const answer = await applyStrict(strict(closed), `${metadata}spec:\n  foo: foo1\n${known}`);
    assert.equal(answer.status, 201, answer.text);
  });

  it(
    'FieldValidation should create/apply a CR with unknown fields for CRD with no validation schema',
    bounds,
    async () => {
      const definition = { ...strict({}), versions: { v1: free } };
      const answer = await applyStrict(definition, `${metadata}spec:\n  unknown: uk1\n${known}`);
      assert.equal(answer.status, 201, answer.text);
      assert.equal(answer.body.spec['unknown'], 'uk1');
    },
  );

  it(
    'FieldValidation should create/apply an invalid CR with extra properties for CRD with validation schema',
    bounds,
    async () => {
      const answer = await applyStrict(
        strict(closed),
        `${metadata}unknownField: unknown\nspec:\n  foo: foo1\n${known}`,
      );
      assert.ok(answer.status >= 400);
      assert.match(answer.text, /\.unknownField: field not declared in schema/);
    },
  );

  it(
    'FieldValidation should detect unknown metadata fields in both the root and embedded object of a CR',
    bounds,
    async () => {
      const template =
        '  template:\n    apiVersion: foo/v1\n    kind: Sub\n    metadata:\n      unknownSubMeta: unknown\n      name: subobject\n      namespace: default\n';
      const answer = await applyStrict(
        strict(open),
        `${metadata}  unknownMeta: unknown\nspec:\n${template}  foo: foo1\n${known}`,
      );
      assert.ok(answer.status >= 400);
      assert.match(answer.body.message ?? '', /\.metadata\.unknownMeta: field not declared in schema/);
      const body = {
        metadata: { name: 'mytest', unknownMeta: 'unknown' },
        spec: {
          template: { apiVersion: 'foo/v1', kind: 'Sub', metadata: { name: 'sub', unknownSubMeta: 'unknown' } },
        },
      };
      const definition = strict(open);
      await define(definition);
      const created = await call('POST', `/apis/${definition.group}/v1/noxus?fieldValidation=Strict`, body);
      assert.equal(created.status, 400);
      assert.match(
        created.body.message ?? '',
        /strict decoding error: .*unknown field "(metadata\.unknownMeta|spec\.template\.metadata\.unknownSubMeta)", unknown field "(metadata\.unknownMeta|spec\.template\.metadata\.unknownSubMeta)"/,
      );
    },
  );

  it('FieldValidation should detect duplicates in a CR when preserving unknown fields', bounds, async () => {
    const answer = await applyStrict(
      strict(open),
      `${metadata}spec:\n  unknown: uk1\n  foo: foo1\n  foo: foo2\n${known}`,
    );
    assert.ok(answer.status >= 400);
    assert.match(answer.body.message ?? '', /line \d+: key "foo" already set in map/);
  });

  const deployment = (meta: string, spec: string): string =>
    `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"my-dep",${meta}"labels":{"app":"nginx"}},"spec":{${spec}"selector":{"matchLabels":{"app":"nginx"}},"template":{"metadata":{"labels":{"app":"nginx"}},"spec":{"containers":[{"name":"nginx","image":"nginx:latest"}]}}}}`;

  for (const [name, body, message] of [
    [
      'FieldValidation should detect unknown and duplicate fields of a typed object',
      deployment('', '"unknownField":"foo","replicas":2,"replicas":3,'),
      'strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas"',
    ],
    [
      'FieldValidation should detect unknown metadata fields of a typed object',
      deployment('"unknownMeta":"foo",', ''),
      'strict decoding error: unknown field "metadata.unknownMeta"',
    ],
  ] as const) {
    it(name, bounds, async () => {
      const path = '/apis/apps/v1/namespaces/default/deployments?fieldManager=m&fieldValidation=Strict';
      const answer = await call('POST', path, body);
      assert.equal(answer.status, 400);
      assert.ok(answer.body.message?.includes(message), answer.body.message);
    });
  }
});
