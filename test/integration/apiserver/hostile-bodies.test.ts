// Objects of every kind with everything missing, null, empty or set: whatever the answer, it is never the server's
// own failure.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { loadResourceTable, type ServedResource } from '../../../control-plane-lite/registry/resource-table.ts';
import { loadSchema, type Type } from '../../../control-plane-lite/registry/schema.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

const schema = loadSchema();
const maxDepth = 6;
const formats: Record<string, unknown> = {
  'date-time': '2026-01-01T00:00:00Z',
  byte: 'YQ==',
  quantity: '1',
  'int-or-string': 1,
};

type Filling = 'everything' | 'with nulls' | 'empty';

/** A value of a type with all of its fields. */
function fill(type: Type, filling: Filling, depth = 0): unknown {
  switch (type.kind) {
    case 'any':
      return {};
    case 'scalar':
      if (type.type === 'boolean') return true;
      if (type.type !== 'string') return filling === 'empty' ? 0 : 1;
      return formats[type.format] ?? (filling === 'empty' ? '' : 'x');
    case 'map':
      return depth > maxDepth ? {} : { k: fill(type.values, filling, depth + 1) };
    case 'list':
      if (depth > maxDepth) return [];
      return [fill(type.items, filling, depth + 1), ...(filling === 'with nulls' ? [null] : [])];
    case 'object':
      if (depth > maxDepth) return {};
      return Object.fromEntries([...type.fields].map(([name, field]) => [name, fill(field.type, filling, depth + 1)]));
    default:
      return type satisfies never;
  }
}

function bodiesOf(served: ServedResource): unknown[] {
  const named = { name: 'hostile' };
  const filled = (['everything', 'with nulls', 'empty'] as const).map((filling) => {
    const {
      apiVersion: _version,
      kind: _kind,
      ...rest
    } = fill(schema.typeOf(served.resource), filling) as Record<string, unknown>;
    return { ...rest, metadata: named };
  });
  return [
    {},
    { metadata: null },
    { metadata: named },
    { metadata: named, spec: null },
    { metadata: named, spec: [] },
    [],
    null,
    'x',
    ...filled,
  ];
}

const patches: [string, unknown][] = [
  ['application/merge-patch+json', { spec: null }],
  ['application/strategic-merge-patch+json', { spec: { $patch: 'replace' } }],
  ['application/json-patch+json', [{ op: 'remove', path: '/spec' }]],
  ['application/merge-patch+json', { status: null }],
];

describe('hostile bodies', () => {
  let server: TestServer;
  before(async () => {
    server = await startApiServer();
    await server.call('POST', '/api/v1/namespaces/default/serviceaccounts', {
      body: { metadata: { name: 'default' } },
    });
  });
  after(() => server.close());

  /** Failures that the reference too answers with 500: they say what is wrong. */
  const isExplained = (text: string) => /target\.(name|kind)/.test(text);

  for (const served of loadResourceTable().all.filter(({ verbs }) => verbs.has('create'))) {
    const { group, plural, namespaced } = served.resource;
    const path = `${group === '' ? '/api' : '/apis'}/${served.apiVersion}${namespaced ? '/namespaces/default' : ''}/${plural}`;
    it(`never make ${served.apiVersion} ${plural} fail`, async () => {
      const check = async (method: string, at: string, body?: unknown, contentType = 'application/json') => {
        const answer = await server.call<{ metadata?: { name?: string } }>(method, at, {
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          contentType,
        });
        const isFailure = answer.status >= 500 && !isExplained(answer.text);
        assert.ok(!isFailure, `${method} ${at} ${JSON.stringify(body)?.slice(0, 300)} was answered ${answer.text}`);
        return answer;
      };
      for (const body of bodiesOf(served)) {
        const created = await check('POST', path, body);
        const name = created.body.metadata?.name;
        if (created.status !== 201 || name === undefined || !served.verbs.has('delete')) continue;
        const table = await server.call('GET', path, {
          headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
        });
        assert.equal(table.status, 200);
        for (const [contentType, patch] of patches) await check('PATCH', `${path}/${name}`, patch, contentType);
        await check('DELETE', `${path}/${name}`);
      }
    });
  }
});
