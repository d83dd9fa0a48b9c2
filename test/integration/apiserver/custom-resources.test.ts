// Custom resources: served as soon as they are defined, validated and pruned by their schema, gone with their definition.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startApiServer, type TestServer } from './start-api-server.ts';

interface Thing {
  message?: string;
  apiVersion: string;
  metadata: { name: string; generation: number; managedFields: { manager: string }[] };
  spec: Record<string, unknown>;
  status?: { conditions?: { type: string; status: string }[]; ready?: boolean };
  columnDefinitions: { name: string }[];
  rows: { cells: unknown[] }[];
  resources: { name: string }[];
}

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const things = '/apis/example.com/v1/namespaces/default/things';

const definition = {
  metadata: { name: 'things.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'things', kind: 'Thing', shortNames: ['th'] },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: { status: {} },
        selectableFields: [{ jsonPath: '.spec.color' }],
        additionalPrinterColumns: [
          { name: 'Color', type: 'string', jsonPath: '.spec.color' },
          { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
        ],
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                required: ['color'],
                properties: {
                  color: { type: 'string', enum: ['red', 'green'] },
                  size: { type: 'integer', minimum: 1, default: 3 },
                  free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
                },
              },
              status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
            },
          },
        },
      },
      {
        name: 'v2',
        served: true,
        storage: false,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
};

describe('custom resources', () => {
  let server: TestServer;
  const call = (method: string, path: string, body?: unknown, contentType?: string) =>
    server.call<Thing>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });

  /** Definitions are followed a moment after they are written. */
  const until = async (path: string, wanted: (answer: { status: number; body: Thing }) => boolean) => {
    for (let attempt = 0; attempt < 500; attempt += 1) {
      const answer = await call('GET', path);
      if (wanted(answer)) return answer;
      await delay(10);
    }
    throw new Error(`${path} never became what it should be`);
  };

  before(async () => {
    server = await startApiServer();
    assert.equal((await call('POST', definitions, definition)).status, 201);
    await until(`${definitions}/things.example.com`, ({ body }) =>
      (body.status?.conditions ?? []).some(({ type, status }) => type === 'Established' && status === 'True'),
    );
  });
  after(() => server.close());

  it('are discovered like all others', async () => {
    const { body } = await call('GET', '/apis/example.com/v1');
    assert.deepEqual(
      body.resources.map(({ name }) => name),
      ['things', 'things/status'],
    );
    const openApi = await server.call('GET', '/openapi/v3/apis/example.com/v1');
    assert.match(openApi.text, /"com\.example\.v1\.Thing"/);
  });

  it('get their defaults, lose unknown fields and keep free ones', async () => {
    const body = { metadata: { name: 'a' }, spec: { color: 'red', nope: 1, free: { any: { thing: [] } } } };
    const created = await call('POST', things, body);
    assert.equal(created.status, 201, created.text);
    assert.deepEqual(created.body.spec, { color: 'red', size: 3, free: { any: { thing: [] } } });
  });

  it('are refused when they break their schema, with all that is wrong', async () => {
    const answer = await call('POST', things, { metadata: { name: 'b' }, spec: { color: 'blue', size: 0 } });
    assert.equal(answer.status, 422);
    assert.equal(
      answer.body.message,
      'Thing.example.com "b" is invalid: [spec.color: Unsupported value: "blue": supported values: "red", "green", spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1]',
    );
    const missing = await call('POST', things, { metadata: { name: 'b' }, spec: { size: 'x' } });
    assert.match(missing.body.message ?? '', /spec.color: Required value/);
    assert.match(missing.body.message ?? '', /spec.size in body must be of type integer: "string"/);
  });

  it('keep status and generation apart from the rest', async () => {
    const merge = 'application/merge-patch+json';
    await call('POST', things, { metadata: { name: 'c' }, spec: { color: 'red' } });
    const status = await call(
      'PATCH',
      `${things}/c/status`,
      { spec: { color: 'green' }, status: { ready: true } },
      merge,
    );
    assert.deepEqual(
      [status.body.spec['color'], status.body.status?.ready, status.body.metadata.generation],
      ['red', true, 1],
    );
    const main = await call('PATCH', `${things}/c`, { spec: { color: 'green' }, status: { ready: false } }, merge);
    assert.deepEqual(
      [main.body.spec['color'], main.body.status?.ready, main.body.metadata.generation],
      ['green', true, 2],
    );
  });

  it('are applied by field ownership, and take no strategic merge patch', async () => {
    const configuration = {
      apiVersion: 'example.com/v1',
      kind: 'Thing',
      metadata: { name: 'd' },
      spec: { color: 'red' },
    };
    const applied = await call('PATCH', `${things}/d?fieldManager=one`, configuration, 'application/apply-patch+yaml');
    assert.equal(applied.status, 201);
    const other = { ...configuration, spec: { color: 'green' } };
    const refused = await call('PATCH', `${things}/d?fieldManager=two`, other, 'application/apply-patch+yaml');
    assert.equal(refused.body.message, 'Apply failed with 1 conflict: conflict with "one": .spec.color');
    assert.equal((await call('PATCH', `${things}/d`, {}, 'application/strategic-merge-patch+json')).status, 415);
  });

  it('show the same objects in every version that is served', async () => {
    const { body } = await call('GET', '/apis/example.com/v2/namespaces/default/things/a');
    assert.equal(body.apiVersion, 'example.com/v2');
    assert.equal(body.spec['color'], 'red');
  });

  it('print the columns of their definition', async () => {
    const ready = { status: { conditions: [{ type: 'Ready', status: 'True' }] } };
    await call('PATCH', `${things}/a/status`, ready, 'application/merge-patch+json');
    const headers = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };
    const { body } = await server.call<Thing>('GET', `${things}/a`, { headers });
    assert.deepEqual(
      body.columnDefinitions.map(({ name }) => name),
      ['Name', 'Color', 'Ready'],
    );
    assert.deepEqual(body.rows[0]?.cells, ['a', 'red', 'True']);
  });

  it('are selected by the fields that their definition names', async () => {
    await call('POST', things, { metadata: { name: 'green' }, spec: { color: 'green' } });
    const { body } = await call('GET', `${things}?fieldSelector=spec.color%3Dgreen,metadata.name%3Dgreen`);
    const { items } = body as unknown as { items: Thing[] };
    assert.deepEqual(
      items.map(({ metadata }) => metadata.name),
      ['green'],
    );
    const wrong = await call('GET', `${things}?fieldSelector=spec.size%3D3`);
    assert.equal(wrong.body.message, 'field label not supported: spec.size');
  });

  it('are watched', async () => {
    const stream = server.stream(`${things}?watch=1`, (line) => line.includes('"watched"'));
    await call('POST', things, { metadata: { name: 'watched' }, spec: { color: 'red' } });
    assert.ok((await stream).length > 1);
  });

  it('go with their definition', async () => {
    await call('DELETE', `${definitions}/things.example.com`);
    await until(`${definitions}/things.example.com`, ({ status }) => status === 404);
    await until(things, ({ status }) => status === 404);
    await call('POST', definitions, definition);
    const again = await until(things, ({ status }) => status === 200);
    assert.deepEqual((again.body as unknown as { items: unknown[] }).items, []);
  });
});
