// Stock clients that speak protobuf alone, over TLS: kubelet's, kube-proxy's and kube-scheduler's ways of asking.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  type Message,
  protobufBody,
  protobufType,
  readFrames,
  readProtobufBody,
} from '../../support/protobuf-bodies.ts';
import { type CallOptions, startApiServer, type TestServer } from './start-api-server.ts';

const stockAccept = `${protobufType},application/json`;
const deadlineMs = 30_000;

const podFields = (name: string): Message => ({
  metadata: { name, labels: { app: 'web' } },
  spec: {
    containers: [
      {
        name: 'c',
        image: 'registry.invalid/app:1',
        resources: { requests: { cpu: { string: '100m' }, memory: { string: '64Mi' } } },
        readinessProbe: { handler: { httpGet: { path: '/', port: { type: 1, intVal: 0, strVal: 'http' } } } },
        livenessProbe: { handler: { tcpSocket: { port: { type: 0, intVal: 8080, strVal: '' } } } },
      },
    ],
    volumes: [{ name: 'v', volumeSource: { emptyDir: { sizeLimit: { string: '1Gi' } } } }],
    dnsConfig: { options: [{ name: 'ndots', value: '2' }] },
    terminationGracePeriodSeconds: 0,
  },
});

describe('clients that speak protobuf', () => {
  let server: TestServer;
  before(async () => {
    server = await startApiServer();
    await server.call('POST', '/api/v1/namespaces/default/serviceaccounts', {
      body: { metadata: { name: 'default' } },
    });
  });
  after(() => server.close());

  const ask = async (method: string, path: string, body?: Buffer, accept = protobufType, options: CallOptions = {}) => {
    const answer = await server.call(method, path, {
      ...options,
      ...(body === undefined ? {} : { body, contentType: protobufType }),
      headers: { accept, ...options.headers },
    });
    assert.equal(answer.headers['content-type'], protobufType, answer.text);
    return { status: answer.status, ...readProtobufBody(answer.bytes) };
  };

  /** Events of a watch until one is of the name. */
  const watchUntil = async (path: string, name: string): Promise<string[]> => {
    const stream = await server.open('GET', path, {
      headers: { accept: `${protobufType};stream=watch,${stockAccept}` },
    });
    assert.equal(stream.headers['content-type'], `${protobufType};stream=watch`);
    const timer = setTimeout(() => stream.destroy(new Error(`no event of ${name} in time`)), deadlineMs);
    const seen: string[] = [];
    let rest = Buffer.alloc(0);
    try {
      for await (const chunk of stream) {
        const read = readFrames(Buffer.concat([rest, chunk as Buffer]));
        rest = Buffer.from(read.rest);
        for (const { type, body } of read.frames) {
          seen.push(`${type} ${body.kind} ${body.object['metadata']?.name ?? ''}`);
          if (body.object['metadata']?.name === name) return seen;
        }
      }
    } finally {
      clearTimeout(timer);
      stream.destroy();
    }
    return seen;
  };

  const objects: [string, string, string, Message, (fields: Message) => void][] = [
    ['/api/v1/namespaces/default/pods', 'v1', 'Pod', podFields('n'), (pod) => (pod['metadata'].labels.more = 'yes')],
    ['/api/v1/nodes', 'v1', 'Node', { metadata: { name: 'n' } }, (node) => (node['spec'].podCIDR = '10.244.9.0/24')],
    [
      '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases',
      'coordination.k8s.io/v1',
      'Lease',
      {
        metadata: { name: 'n' },
        spec: {
          holderIdentity: 'me',
          leaseDurationSeconds: 40,
          renewTime: { seconds: 1_767_225_600, nanos: 123_456_000 },
        },
      },
      (lease) => (lease['spec'].renewTime = { seconds: 1_767_225_610, nanos: 1000 }),
    ],
    [
      '/apis/events.k8s.io/v1/namespaces/default/events',
      'events.k8s.io/v1',
      'Event',
      {
        metadata: { name: 'n' },
        eventTime: { seconds: 1_767_225_600, nanos: 5000 },
        reportingController: 'example.com/c',
        reportingInstance: 'i',
        action: 'Acted',
        reason: 'Because',
        regarding: { kind: 'Pod', namespace: 'default', name: 'n', apiVersion: 'v1' },
        note: 'a note',
        type: 'Normal',
      },
      (event) => (event['series'] = { count: 2, lastObservedTime: { seconds: 1_767_225_700, nanos: 0 } }),
    ],
    [
      '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
      'discovery.k8s.io/v1',
      'EndpointSlice',
      {
        metadata: { name: 'n', labels: { 'kubernetes.io/service-name': 's' } },
        addressType: 'IPv4',
        endpoints: [{ addresses: ['10.1.2.3'], conditions: { ready: false, serving: true }, nodeName: 'node-a' }],
        ports: [{ name: '', protocol: 'TCP', port: 80 }],
      },
      (slice) => (slice['endpoints'][0].conditions.ready = true),
    ],
  ];

  for (const [path, apiVersion, kind, fields, change] of objects) {
    it(`create, get, list, watch, update and delete a ${kind}`, async () => {
      const list = await ask('GET', path);
      assert.equal(list.kind, `${kind}List`);
      const since = String(list.object['metadata'].resourceVersion);
      const created = await ask('POST', path, protobufBody(apiVersion, kind, fields));
      assert.deepEqual([created.status, created.apiVersion, created.kind], [201, apiVersion, kind]);
      assert.equal(created.object['metadata'].name, 'n');
      const got = await ask('GET', `${path}/n`, undefined, stockAccept);
      assert.deepEqual(got.object, created.object);
      const { object: listed } = await ask('GET', path, undefined, stockAccept);
      assert.deepEqual(
        (listed['items'] as Message[]).find(({ metadata }) => metadata.name === 'n'),
        created.object,
      );

      const update = structuredClone(created.object);
      change(update);
      const updated = await ask('PUT', `${path}/n`, protobufBody(apiVersion, kind, update));
      assert.equal(updated.status, 200, JSON.stringify(updated.object));
      assert.notEqual(updated.object['metadata'].resourceVersion, created.object['metadata'].resourceVersion);
      assert.deepEqual({ ...updated.object, metadata: {} }, { ...updated.object, ...update, metadata: {} });

      const watch = watchUntil(`${path}?watch=1&resourceVersion=${since}`, 'end');
      const removed = await ask('DELETE', `${path}/n`, protobufBody('v1', 'DeleteOptions', { gracePeriodSeconds: 0 }));
      assert.equal(removed.status, 200);
      const end = structuredClone(fields);
      end['metadata'].name = 'end';
      await ask('POST', path, protobufBody(apiVersion, kind, end));
      const seen = (await watch).filter((line) => line.endsWith(' n') || line.endsWith(' end'));
      assert.deepEqual(seen, [`ADDED ${kind} n`, `MODIFIED ${kind} n`, `DELETED ${kind} n`, `ADDED ${kind} end`]);
    });
  }

  it('get what JSON clients wrote, value by value', async () => {
    const path = '/api/v1/namespaces/default/pods/end';
    const { object } = await ask('GET', path);
    const [container] = object['spec'].containers;
    assert.equal(container.resources.requests.memory.string, '64Mi');
    assert.deepEqual(container.readinessProbe.handler.httpGet.port, { type: 1, intVal: 0, strVal: 'http' });
    assert.deepEqual(container.livenessProbe.handler.tcpSocket.port, { type: 0, intVal: 8080, strVal: '' });
    assert.equal(object['spec'].volumes[0].volumeSource.emptyDir.sizeLimit.string, '1Gi');
    assert.deepEqual(object['spec'].dnsConfig.options, [{ name: 'ndots', value: '2' }]);
    const { body } = await server.call<Message>('GET', path);
    assert.equal(object['metadata'].creationTimestamp.seconds, Date.parse(body['metadata'].creationTimestamp) / 1000);
    assert.equal(body['spec'].containers[0].readinessProbe.httpGet.port, 'http');
    assert.equal(body['spec'].terminationGracePeriodSeconds, 0);
  });

  it('are told of failures in protobuf', async () => {
    const { status, kind, object } = await ask('GET', '/api/v1/namespaces/default/pods/nobody');
    assert.deepEqual([status, kind, object['reason'], object['code']], [404, 'Status', 'NotFound', 404]);
    const wrong = await ask('POST', '/api/v1/namespaces', Buffer.from('k8s\0\xff\xff\xff', 'latin1'));
    assert.deepEqual([wrong.status, wrong.kind], [400, 'Status']);
    const ill = await ask('POST', '/api/v1/namespaces', protobufBody('v1', 'Namespace', { metadata: { name: 'A_' } }));
    assert.deepEqual([ill.status, ill.object['details'].causes[0].field], [422, 'metadata.name']);
  });

  it('have their reviews, evictions, scales and tokens', async () => {
    const spec = {
      resourceAttributes: { verb: 'get', resource: 'pods' },
      user: 'nobody',
      extra: { a: { items: ['b'] } },
    };
    const review = await ask(
      'POST',
      '/apis/authorization.k8s.io/v1/subjectaccessreviews',
      protobufBody('authorization.k8s.io/v1', 'SubjectAccessReview', { metadata: {}, spec }),
    );
    assert.equal(review.object['status'].allowed, false);
    assert.deepEqual(review.object['spec'].extra, { a: { items: ['b'] } });
    const token = protobufBody('authentication.k8s.io/v1', 'TokenRequest', { spec: { expirationSeconds: 3600 } });
    const issued = await ask('POST', '/api/v1/namespaces/default/serviceaccounts/default/token', token);
    const tokenReview = protobufBody('authentication.k8s.io/v1', 'TokenReview', {
      spec: { token: issued.object['status'].token },
    });
    const { object: who } = await ask('POST', '/apis/authentication.k8s.io/v1/tokenreviews', tokenReview);
    assert.equal(who['status'].user.username, 'system:serviceaccount:default:default');
    const evicted = await ask(
      'POST',
      '/api/v1/namespaces/default/pods/end/eviction',
      protobufBody('policy/v1', 'Eviction', { metadata: { name: 'end', namespace: 'default' } }),
    );
    assert.deepEqual([evicted.status, evicted.kind], [201, 'Status']);
  });

  it('read discovery', async () => {
    const { kind, object } = await ask('GET', '/apis/apps/v1');
    assert.equal(kind, 'APIResourceList');
    const deployments = (object['resources'] as Message[]).find(({ name }) => name === 'deployments');
    assert.ok(deployments?.['verbs'].items.includes('watch'));
    const aggregated = await server.call('GET', '/apis', {
      headers: { accept: `${protobufType};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList` },
    });
    const groups = readProtobufBody(aggregated.bytes).object['items'] as Message[];
    assert.ok(groups.some(({ metadata }) => metadata.name === 'apps'));
  });

  it('get metadata alone, in lists and watches', async () => {
    const as = `${protobufType};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`;
    const list = await server.call('GET', '/api/v1/nodes', { headers: { accept: `${as},application/json` } });
    const { kind, object } = readProtobufBody(list.bytes);
    assert.equal(kind, 'PartialObjectMetadataList');
    assert.deepEqual(
      (object['items'] as Message[]).map(({ metadata }) => metadata.name),
      ['end'],
    );
  });

  it('get bookmarks, and failures of watches, as events', async () => {
    const query =
      'watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1';
    const answer = await server.call('GET', `/api/v1/nodes?${query}`, { headers: { accept: stockAccept } });
    const { frames, rest } = readFrames(answer.bytes);
    assert.equal(rest.length, 0);
    assert.deepEqual(
      frames.map(({ type, body }) => `${type} ${body.kind}`),
      ['ADDED Node', 'BOOKMARK Node'],
    );
    assert.equal(frames[1]?.body.object['metadata'].annotations['k8s.io/initial-events-end'], 'true');
  });

  it('are answered in JSON, or refused, where there is no protobuf form', async () => {
    const definition = {
      metadata: { name: 'things.w.example.com' },
      spec: {
        group: 'w.example.com',
        names: { plural: 'things', singular: 'thing', kind: 'Thing', listKind: 'ThingList' },
        scope: 'Cluster',
        versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
      },
    };
    await server.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { body: definition });
    const path = '/apis/w.example.com/v1/things';
    const deadline = Date.now() + deadlineMs;
    let json = await server.call('GET', path, { headers: { accept: stockAccept } });
    while (json.status !== 200 && Date.now() < deadline)
      json = await server.call('GET', path, { headers: { accept: stockAccept } });
    assert.deepEqual([json.status, json.headers['content-type']], [200, 'application/json']);
    const refused = await server.call('GET', path, { headers: { accept: protobufType } });
    assert.equal(refused.status, 406);
    const metadata = await server.call('GET', path, {
      headers: { accept: `${protobufType};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1` },
    });
    assert.equal(readProtobufBody(metadata.bytes).kind, 'PartialObjectMetadataList');
    const body = Buffer.concat([Buffer.from('k8s\0'), Buffer.from([0x0a, 0x00])]);
    const post = await server.call('POST', path, { body, contentType: protobufType });
    assert.equal(post.status, 415);
    const patch = await server.call('PATCH', '/api/v1/nodes/end', {
      body: protobufBody('v1', 'Node', {}),
      contentType: protobufType,
    });
    assert.equal(patch.status, 415);
    const table = await server.call('GET', '/api/v1/nodes', {
      headers: { accept: `${protobufType};as=Table;g=meta.k8s.io;v=v1` },
    });
    assert.equal(table.status, 406);
  });

  it('are weighed by q as they ask', async () => {
    const typeFor = async (accept: string) =>
      (await server.call('GET', '/api/v1/nodes/end', { headers: { accept } })).headers['content-type'];
    assert.equal(await typeFor(`application/json;q=0.5,${protobufType};q=0.9`), protobufType);
    assert.equal(await typeFor(`${protobufType};q=0.5,application/json`), 'application/json');
    assert.equal(await typeFor(`*/*,${protobufType}`), protobufType);
    assert.equal(await typeFor('text/plain,application/*;q=0.1'), 'application/json');
  });
});
