// What clients rely on when they read, write and watch, against a running server.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startApiServer, type TestServer } from './start-api-server.ts';

interface Meta {
  name: string;
  resourceVersion: string;
  uid: string;
  generation?: number;
  deletionTimestamp?: string;
  finalizers?: string[];
  labels?: Record<string, string>;
  continue?: string;
  remainingItemCount?: number;
}

interface Thing {
  kind: string;
  metadata: Meta;
  data?: Record<string, string>;
  message?: string;
  reason?: string;
  code?: number;
  items: Thing[];
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
}

const maps = '/api/v1/namespaces/default/configmaps';

describe('the verbs of the API', () => {
  let server: TestServer;
  const call = (method: string, path: string, body?: unknown, contentType?: string) =>
    server.call<Thing>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });

  before(async () => {
    server = await startApiServer();
    await call('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  });
  after(() => server.close());

  it('pages a list at one revision while objects come and go', async () => {
    for (let index = 0; index < 5; index += 1) {
      await call('POST', maps, { metadata: { name: `page-${index}`, labels: { set: 'page' } } });
    }
    const first = await call('GET', `${maps}?limit=2`);
    assert.equal(first.body.items.length, 2);
    assert.ok((first.body.metadata.remainingItemCount ?? 0) >= 3);
    await call('DELETE', `${maps}/page-3`);
    await call('POST', maps, { metadata: { name: 'page-9' } });
    const names = first.body.items.map(({ metadata }) => metadata.name);
    let token = first.body.metadata.continue;
    while (token !== undefined) {
      const next = await call('GET', `${maps}?limit=2&continue=${token}`);
      assert.equal(next.body.metadata.resourceVersion, first.body.metadata.resourceVersion);
      names.push(...next.body.items.map(({ metadata }) => metadata.name));
      token = next.body.metadata.continue;
    }
    assert.deepEqual(
      names.filter((name) => name.startsWith('page-')),
      ['page-0', 'page-1', 'page-2', 'page-3', 'page-4'],
    );
  });

  it('tells how to go on when the revision of a page is gone', async () => {
    for (let index = 0; index < 3; index += 1) await call('POST', maps, { metadata: { name: `chunk-${index}` } });
    const first = await call('GET', `${maps}?limit=1`);
    await call('POST', maps, { metadata: { name: 'chunk-9' } });
    await server.compact();
    const expired = await call('GET', `${maps}?limit=1&continue=${first.body.metadata.continue}`);
    assert.deepEqual([expired.status, expired.body.reason], [410, 'Expired']);
    const rest = await call('GET', `${maps}?continue=${expired.body.metadata.continue}`);
    assert.equal(rest.status, 200);
    assert.ok(rest.body.items.some(({ metadata }) => metadata.name === 'chunk-9'));
  });

  it('selects by labels and fields', async () => {
    const byLabel = await call('GET', `${maps}?labelSelector=set%20in%20(page),set!=other`);
    assert.ok(byLabel.body.items.length >= 4);
    const byField = await call('GET', `${maps}?fieldSelector=metadata.name=page-1`);
    assert.deepEqual(
      byField.body.items.map(({ metadata }) => metadata.name),
      ['page-1'],
    );
    const wrong = await call('GET', `${maps}?fieldSelector=spec.nope=1`);
    assert.equal(wrong.status, 400);
  });

  it('refuses an update that is based on an older version', async () => {
    const created = await call('POST', maps, { metadata: { name: 'conflict' } });
    await call('PUT', `${maps}/conflict`, { ...created.body, data: { a: '1' } });
    const late = await call('PUT', `${maps}/conflict`, { ...created.body, data: { a: '2' } });
    assert.equal(late.status, 409);
    assert.equal(late.body.reason, 'Conflict');
  });

  it('writes nothing when an update changes nothing', async () => {
    const created = await call('POST', maps, { metadata: { name: 'same' }, data: { a: '1' } });
    const { metadata } = created.body;
    const again = await call('PUT', `${maps}/same`, { metadata: { name: 'same' }, data: { a: '1' } });
    assert.equal(again.body.metadata.resourceVersion, metadata.resourceVersion);
  });

  it('checks a dry run in full and stores nothing', async () => {
    const created = await call('POST', `${maps}?dryRun=All`, { metadata: { name: 'dry' } });
    assert.equal(created.status, 201);
    assert.ok(created.body.metadata.uid);
    assert.equal((await call('GET', `${maps}/dry`)).status, 404);
    const service = { metadata: { name: 'dry' }, spec: { clusterIP: '10.96.77.77', ports: [{ port: 1 }] } };
    const services = '/api/v1/namespaces/default/services';
    assert.equal((await call('POST', `${services}?dryRun=All`, service)).status, 201);
    assert.equal((await call('POST', services, service)).status, 201);
  });

  it('gives a service address and node port back when the service is gone', async () => {
    const services = '/api/v1/namespaces/default/services';
    const spec = { type: 'NodePort', clusterIP: '10.96.88.88', ports: [{ port: 80, nodePort: 31999 }] };
    assert.equal((await call('POST', services, { metadata: { name: 'one' }, spec })).status, 201);
    const taken = await call('POST', services, { metadata: { name: 'two' }, spec });
    assert.equal(taken.status, 422);
    assert.match(taken.body.message ?? '', /provided IP is already allocated/);
    await call('DELETE', `${services}/one`);
    assert.equal((await call('POST', services, { metadata: { name: 'two' }, spec })).status, 201);
  });

  it('never gives one address to two services that are created at once', async () => {
    const services = '/api/v1/namespaces/default/services';
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        call('POST', services, { metadata: { name: `many-${index}` }, spec: { ports: [{ port: 80 }] } }),
      ),
    );
    const addresses = answers.map(({ body }) => body.spec?.['clusterIP']);
    assert.equal(new Set(addresses).size, 40);
  });

  it('keeps an object with finalizers until they are removed', async () => {
    await call('POST', maps, { metadata: { name: 'held', finalizers: ['example.com/hold'] } });
    const deleted = await call('DELETE', `${maps}/held`);
    assert.ok(deleted.body.metadata.deletionTimestamp);
    const added = await call(
      'PATCH',
      `${maps}/held`,
      { metadata: { finalizers: ['example.com/hold', 'example.com/more'] } },
      'application/merge-patch+json',
    );
    assert.equal(added.status, 422);
    await call('PATCH', `${maps}/held`, { metadata: { finalizers: null } }, 'application/merge-patch+json');
    assert.equal((await call('GET', `${maps}/held`)).status, 404);
  });

  it('sets the finalizers of foreground and orphaning deletions', async () => {
    for (const [policy, finalizer] of [
      ['Foreground', 'foregroundDeletion'],
      ['Orphan', 'orphan'],
    ]) {
      const name = `policy-${policy?.toLowerCase()}`;
      await call('POST', maps, { metadata: { name } });
      const deleted = await call('DELETE', `${maps}/${name}`, { propagationPolicy: policy });
      assert.deepEqual(deleted.body.metadata.finalizers, [finalizer]);
    }
  });

  it('honours the preconditions of a deletion', async () => {
    const { body } = await call('POST', maps, { metadata: { name: 'guarded' } });
    const wrong = await call('DELETE', `${maps}/guarded`, { preconditions: { uid: 'another' } });
    assert.equal(wrong.status, 409);
    const right = await call('DELETE', `${maps}/guarded`, { preconditions: { uid: body.metadata.uid } });
    assert.equal(right.status, 200);
  });

  it('ends a pod gracefully once it is bound, and at once before', async () => {
    const pods = '/api/v1/namespaces/default/pods';
    const pod = (name: string) => ({ metadata: { name }, spec: { containers: [{ name: 'c', image: 'i' }] } });
    await call('POST', pods, pod('unbound'));
    await call('DELETE', `${pods}/unbound`);
    assert.equal((await call('GET', `${pods}/unbound`)).status, 404);
    await call('POST', pods, pod('bound'));
    const bound = await call('POST', `${pods}/bound/binding`, {
      metadata: { name: 'bound' },
      target: { kind: 'Node', name: 'n' },
    });
    assert.equal(bound.status, 201);
    const again = await call('POST', `${pods}/bound/binding`, { metadata: { name: 'bound' }, target: { name: 'm' } });
    assert.equal(again.status, 409);
    const deleting = await call('DELETE', `${pods}/bound`);
    assert.ok(deleting.body.metadata.deletionTimestamp);
    assert.equal((await call('GET', `${pods}/bound`)).status, 200);
    await call('DELETE', `${pods}/bound`, { gracePeriodSeconds: 0 });
    assert.equal((await call('GET', `${pods}/bound`)).status, 404);
  });

  it('keeps a claim while a pod uses it, and lets it go afterwards', async () => {
    const core = '/api/v1/namespaces/default';
    const spec = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } };
    await call('POST', `${core}/persistentvolumeclaims`, { metadata: { name: 'used' }, spec });
    const volumes = [{ name: 'v', persistentVolumeClaim: { claimName: 'used' } }];
    const pod = {
      metadata: { name: 'user' },
      spec: { nodeName: 'n', volumes, containers: [{ name: 'c', image: 'i' }] },
    };
    await call('POST', `${core}/pods`, pod);
    const deleting = await call('DELETE', `${core}/persistentvolumeclaims/used`);
    assert.ok(deleting.body.metadata.deletionTimestamp);
    await call('DELETE', `${core}/pods/user`, { gracePeriodSeconds: 0 });
    for (let attempt = 0; attempt < 500; attempt += 1) {
      if ((await call('GET', `${core}/persistentvolumeclaims/used`)).status === 404) return;
      await delay(10);
    }
    assert.fail('the claim is still there');
  });

  it('lets the status subresource change the status only, and the object everything else', async () => {
    const path = '/apis/apps/v1/namespaces/default/deployments';
    const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
    await call('POST', path, { metadata: { name: 'd' }, spec: { selector: { matchLabels: { a: 'b' } }, template } });
    const merge = 'application/merge-patch+json';
    const change = { spec: { replicas: 7 }, status: { replicas: 3 } };
    const status = await call('PATCH', `${path}/d/status`, change, merge);
    assert.deepEqual([status.body.spec?.['replicas'], status.body.status?.['replicas']], [1, 3]);
    assert.equal(status.body.metadata.generation, 1);
    const main = await call('PATCH', `${path}/d`, { spec: { replicas: 5 }, status: { replicas: 9 } }, merge);
    assert.deepEqual([main.body.spec?.['replicas'], main.body.status?.['replicas']], [5, 3]);
    assert.equal(main.body.metadata.generation, 2);
    const scale = await call('PATCH', `${path}/d/scale`, { spec: { replicas: 2 } }, merge);
    assert.equal(scale.body.kind, 'Scale');
    assert.equal((await call('GET', `${path}/d`)).body.spec?.['replicas'], 2);
  });

  it('deletes a collection by selector', async () => {
    await call('DELETE', `${maps}?labelSelector=set%3Dpage`);
    const left = await call('GET', `${maps}?labelSelector=set%3Dpage`);
    assert.equal(left.body.items.length, 0);
  });

  it('shows the same events in both of their versions', async () => {
    const event = {
      metadata: { name: 'seen' },
      involvedObject: { kind: 'Pod', name: 'p', namespace: 'default' },
      reason: 'Tested',
      message: 'it was seen',
      type: 'Normal',
    };
    await call('POST', '/api/v1/namespaces/default/events', event);
    const answer = await server.call<{ note: string; regarding: object; apiVersion: string }>(
      'GET',
      '/apis/events.k8s.io/v1/namespaces/default/events/seen',
    );
    assert.equal(answer.body.note, 'it was seen');
    assert.equal(answer.body.apiVersion, 'events.k8s.io/v1');
    const selected = await call('GET', '/api/v1/events?fieldSelector=involvedObject.name%3Dp,reason%3DTested');
    assert.equal(selected.body.items.length, 1);
  });

  it('warns in ASCII about fields of any name, and goes on', async () => {
    const answer = await call('POST', `${maps}?dryRun=All`, { metadata: { name: 'names' }, 'поле\n': 1 });
    assert.equal(answer.status, 201);
    assert.match(String(answer.headers['warning']), /^299 - "unknown field [\x20-\x7e]*"$/);
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`unknown${index}`, 1]));
    assert.equal((await call('POST', `${maps}?dryRun=All`, { metadata: { name: 'names' }, ...many })).status, 201);
  });

  it('answers 413 to a body that is too large, and goes on', async () => {
    const large = await call('POST', maps, { metadata: { name: 'large' }, data: { a: 'x'.repeat(4_000_000) } });
    assert.equal(large.status, 413);
    assert.equal((await call('GET', maps)).status, 200);
  });

  it('refuses a list at an exact revision that has not happened yet', async () => {
    const answer = await call('GET', `${maps}?resourceVersion=999999999&resourceVersionMatch=Exact`);
    assert.equal(answer.status, 504);
  });

  it('answers 405 where the method does not fit the path, and touches nothing', async () => {
    await call('POST', maps, { metadata: { name: 'kept' } });
    const body = { metadata: { name: 'kept' } };
    for (const [method, path] of [
      ['POST', `${maps}/kept`],
      ['PUT', maps],
      ['PATCH', maps],
      ['POST', '/api/v1/configmaps'],
      ['DELETE', '/api/v1/configmaps'],
      ['GET', '/apis/authentication.k8s.io/v1/tokenreviews'],
    ] as const) {
      const { status, body: answer } = await call(method, path, method === 'GET' ? undefined : body);
      assert.equal(status, 405, `${method} ${path}`);
      assert.equal(answer.message, 'the server does not allow this method on the requested resource');
    }
    assert.equal((await call('GET', `${maps}/kept`)).status, 200);
  });

  it('answers unknown paths of known groups with a Status', async () => {
    for (const path of ['/api/v1/foos', '/api/v9/pods', '/apis/apps/v1beta1/deployments', `${maps}/kept/nope`]) {
      const { status, body } = await call('GET', path);
      assert.deepEqual([status, body.message], [404, 'the server could not find the requested resource'], path);
    }
  });

  it('says why an object of another kind or none cannot be taken', async () => {
    const post = async (body: unknown) => (await call('POST', maps, body)).body.message;
    const claim = (kind: string) => `${kind} in version "v1" cannot be handled as a ConfigMap: `;
    assert.equal(
      await post({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'a' } }),
      `${claim('Secret')}converting (v1.Secret) to (core.ConfigMap): unknown conversion`,
    );
    assert.equal(
      await post({ apiVersion: 'v1', kind: 'Zoo', metadata: { name: 'a' } }),
      `${claim('Zoo')}no kind "Zoo" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30"`,
    );
  });

  it('indents what people read: as asked, or for the programs they use', async () => {
    const text = async (query: string, agent: string) =>
      (await server.call('GET', `${maps}?limit=1${query}`, { headers: { 'user-agent': agent } })).text;
    assert.match(await text('', 'curl/8.0'), /^\{\n {2}"kind": "ConfigMapList",\n/);
    assert.match(await text('&pretty=true', 'test'), /^\{\n/);
    assert.match(await text('&pretty=false', 'curl/8.0'), /^\{"kind"/);
    assert.match(await text('', 'kubectl/v1.36'), /^\{"kind"/);
  });

  it('deletes nothing by a policy that it does not know', async () => {
    await call('POST', maps, { metadata: { name: 'safe' } });
    const wrong = await call('DELETE', `${maps}/safe`, { propagationPolicy: 'Foo' });
    assert.equal(wrong.status, 422);
    assert.equal(
      wrong.body.message,
      'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Foo": supported values: "Foreground", "Background", "Orphan", "nil"',
    );
    const both = await call('DELETE', `${maps}/safe?propagationPolicy=Orphan&orphanDependents=true`);
    assert.equal(both.status, 422);
    assert.equal((await call('GET', `${maps}/safe`)).status, 200);
  });

  it('names the options of the verb that cannot be', async () => {
    const force = await server.call<Thing>('PATCH', `${maps}/kept?force=true`, {
      body: {},
      contentType: 'application/merge-patch+json',
    });
    assert.equal(
      force.body.message,
      'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
    );
    const validation = await call('POST', `${maps}?fieldValidation=Foo`, { metadata: { name: 'a' } });
    assert.match(
      validation.body.message ?? '',
      /^CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported/,
    );
  });

  it('names unknown fields as asked: refuses, warns, or keeps quiet', async () => {
    const body = { metadata: { name: 'extra' }, data: {}, nope: 1 };
    const strict = await call('POST', `${maps}?fieldValidation=Strict&dryRun=All`, body);
    assert.equal(strict.status, 400);
    assert.match(strict.body.message ?? '', /strict decoding error: unknown field "nope"/);
    const twice = await server.call<Thing>('POST', `${maps}?fieldValidation=Strict&dryRun=All`, {
      body: '{"metadata":{"name":"twice"},"immutable":true,"immutable":false}',
    });
    assert.match(twice.body.message ?? '', /strict decoding error: duplicate field "immutable"/);
    const warned = await call('POST', `${maps}?dryRun=All`, body);
    assert.match(String(warned.headers['warning']), /299 - "unknown field \\"nope\\""/);
    const repeated = await server.call<Thing>('POST', `${maps}?dryRun=All`, {
      body: '{"metadata":{"name":"twice"},"nope":1,"immutable":true,"immutable":false}',
    });
    assert.equal(repeated.status, 201, repeated.text);
    const said = String(repeated.headers['warning']);
    assert.match(said, /299 - "unknown field \\"nope\\"", 299 - "duplicate field \\"immutable\\""/);
    const ignored = await call('POST', `${maps}?fieldValidation=Ignore&dryRun=All`, body);
    assert.equal(ignored.headers['warning'], undefined);
  });
});
