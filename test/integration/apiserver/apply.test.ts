// Server-side apply: ownership, conflicts, force, removal of what is no longer applied, list items by key.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startApiServer, type TestServer } from './start-api-server.ts';

interface Entry {
  manager: string;
  operation: string;
  subresource?: string;
  fieldsV1: Record<string, unknown>;
}

interface Workload {
  message?: string;
  details?: { causes: { reason: string; message: string; field: string }[] };
  metadata: { name: string; managedFields: Entry[]; labels?: Record<string, string>; resourceVersion: string };
  spec: {
    replicas: number;
    template: { spec: { containers: { name: string; image: string; env?: { name: string }[] }[] } };
  };
}

const path = '/apis/apps/v1/namespaces/default/deployments';

function deployment(
  name: string,
  spec: Record<string, unknown> = {},
  containers: object[] = [{ name: 'c', image: 'i:1' }],
) {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      ...spec,
      selector: { matchLabels: { a: 'b' } },
      template: { metadata: { labels: { a: 'b' } }, spec: { containers } },
    },
  };
}

describe('server-side apply', () => {
  let server: TestServer;
  const apply = (name: string, manager: string, body: object, query = '') =>
    server.call<Workload>('PATCH', `${path}/${name}?fieldManager=${manager}${query}`, {
      body,
      contentType: 'application/apply-patch+yaml',
    });

  before(async () => {
    server = await startApiServer();
  });
  after(() => server.close());

  it('refuses another version, and fields that the type does not have', async () => {
    const other = await apply('odd', 'one', { ...deployment('odd'), apiVersion: 'v1' });
    assert.equal(other.status, 400);
    assert.equal(
      other.body.message,
      'Incorrect version specified in apply patch. Specified patch version: v1, expected: apps/v1',
    );
    const unknown = await apply('odd', 'one', deployment('odd', { nope: 1 }));
    assert.equal(unknown.status, 500);
    assert.equal(
      unknown.body.message,
      'failed to create typed patch object (/odd; apps/v1, Kind=Deployment): .spec.nope: field not declared in schema',
    );
  });

  it('creates what is not there and owns exactly the applied fields', async () => {
    const answer = await apply('fresh', 'one', deployment('fresh', { replicas: 2 }));
    assert.equal(answer.status, 201);
    const [entry] = answer.body.metadata.managedFields;
    assert.deepEqual([entry?.manager, entry?.operation], ['one', 'Apply']);
    assert.deepEqual(entry?.fieldsV1, {
      'f:spec': {
        'f:replicas': {},
        'f:selector': {},
        'f:template': {
          'f:metadata': { 'f:labels': { 'f:a': {} } },
          'f:spec': { 'f:containers': { 'k:{"name":"c"}': { '.': {}, 'f:image': {}, 'f:name': {} } } },
        },
      },
    });
  });

  it('refuses to change a field of another manager, says which, and takes it over when forced', async () => {
    await apply('fought', 'one', deployment('fought', { replicas: 2 }));
    const refused = await apply('fought', 'two', deployment('fought', { replicas: 3 }));
    assert.equal(refused.status, 409);
    assert.equal(refused.body.message, 'Apply failed with 1 conflict: conflict with "one": .spec.replicas');
    assert.deepEqual(refused.body.details?.causes, [
      { reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.spec.replicas' },
    ]);
    const forced = await apply('fought', 'two', deployment('fought', { replicas: 3 }), '&force=true');
    assert.equal(forced.body.spec.replicas, 3);
    const owner = forced.body.metadata.managedFields.find(
      ({ fieldsV1 }) => 'f:replicas' in (fieldsV1['f:spec'] as object),
    );
    assert.equal(owner?.manager, 'two');
  });

  it('shares a field that both apply with the same value', async () => {
    await apply('shared', 'one', deployment('shared', { replicas: 2 }));
    const answer = await apply('shared', 'two', deployment('shared', { replicas: 2 }));
    assert.equal(answer.status, 200);
    assert.equal(answer.body.metadata.managedFields.length, 2);
  });

  it('removes a field that its only manager no longer applies, and keeps one that another still owns', async () => {
    const labelled = (name: string, labels: object) => ({ ...deployment(name), metadata: { name, labels } });
    await apply('pruned', 'one', labelled('pruned', { x: '1', y: '1' }));
    await apply('pruned', 'two', labelled('pruned', { y: '1' }));
    const answer = await apply('pruned', 'one', labelled('pruned', {}));
    assert.deepEqual(answer.body.metadata.labels, { y: '1' });
  });

  it('merges items of lists by their keys', async () => {
    await apply(
      'listed',
      'one',
      deployment('listed', {}, [{ name: 'c', image: 'i:1', env: [{ name: 'A', value: '1' }] }]),
    );
    const more = {
      ...deployment('listed', {}, [
        { name: 'c', env: [{ name: 'B', value: '2' }] },
        { name: 'side', image: 's' },
      ]),
    };
    const answer = await apply('listed', 'two', more);
    const [first, second] = answer.body.spec.template.spec.containers;
    assert.deepEqual(
      first?.env?.map(({ name }) => name),
      ['A', 'B'],
    );
    assert.equal(first?.image, 'i:1');
    assert.equal(second?.name, 'side');
  });

  it('notes plain updates as managers too, and conflicts with them', async () => {
    await apply('updated', 'one', deployment('updated', { replicas: 1 }));
    await server.call('PATCH', `${path}/updated?fieldManager=scaler`, {
      body: { spec: { replicas: 4 } },
      contentType: 'application/merge-patch+json',
    });
    const refused = await apply('updated', 'one', deployment('updated', { replicas: 1 }));
    assert.equal(
      refused.body.message,
      'Apply failed with 1 conflict: conflict with "scaler" using apps/v1: .spec.replicas',
    );
  });

  it('writes nothing when the same configuration is applied again', async () => {
    const first = await apply('again', 'one', deployment('again'));
    const second = await apply('again', 'one', deployment('again'));
    assert.equal(second.body.metadata.resourceVersion, first.body.metadata.resourceVersion);
  });

  it('asks for a manager', async () => {
    const answer = await server.call<Workload>('PATCH', `${path}/x`, {
      body: deployment('x'),
      contentType: 'application/apply-patch+yaml',
    });
    assert.equal(answer.status, 422);
    assert.match(answer.body.message ?? '', /fieldManager: Required value: is required for apply patch/);
  });
});
