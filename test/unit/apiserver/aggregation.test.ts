// Aggregated APIs: which come first, whether they can be used, what they say of themselves, and how users are told.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { computeServiceFault, judgeAnswer } from '../../../control-plane-lite/apiserver/aggregation/availability.ts';
import {
  byPriority,
  type RemoteApi,
  remoteApiOf,
} from '../../../control-plane-lite/apiserver/aggregation/remote-api.ts';
import {
  openApiUrlOf,
  parseOpenApiV2,
  parseResourceList,
} from '../../../control-plane-lite/apiserver/aggregation/remote-documents.ts';
import { userHeaders } from '../../../control-plane-lite/apiserver/aggregation/remote-target.ts';
import type { ObjectReader } from '../../../control-plane-lite/registry/object-reader.ts';

const api = (group: string, version: string, groupPriority: number, versionPriority: number): RemoteApi => ({
  name: `${version}.${group}`,
  group,
  version,
  groupVersion: `${group}/${version}`,
  service: { namespace: 'n', name: 's', port: 443 },
  caPem: undefined,
  isInsecure: false,
  groupPriority,
  versionPriority,
  isAvailable: true,
});

describe('aggregated APIs', () => {
  it('come in the order of their priorities', () => {
    const list = [api('b', 'v1', 10, 1), api('a', 'v1', 10, 5), api('a', 'v2', 10, 9), api('c', 'v1', 20, 1)];
    assert.deepEqual(
      list.sort(byPriority).map(({ name }) => name),
      ['v1.c', 'v2.a', 'v1.a', 'v1.b'],
    );
  });

  it('are those whose APIService names a service', () => {
    const base = { apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService', metadata: { name: 'v1.g' } };
    const spec = { group: 'g', version: 'v1', groupPriorityMinimum: 1, versionPriority: 1 };
    assert.equal(remoteApiOf({ ...base, spec }), undefined);
    const remote = remoteApiOf({ ...base, spec: { ...spec, service: { namespace: 'n', name: 's' } } });
    assert.deepEqual([remote?.service.port, remote?.isAvailable, remote?.caPem], [443, false, undefined]);
  });

  const objects = (service: object | undefined, slices: object[] = []) =>
    ({ get: () => service, list: () => slices }) as unknown as ObjectReader;
  const service = { spec: { ports: [{ name: 'https', port: 443 }] } };
  const slice = (ready: boolean, name = 'https') => ({
    metadata: { labels: { 'kubernetes.io/service-name': 's' } },
    ports: [{ name, port: 8443 }],
    endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready } }],
  });
  const faults: [string, ObjectReader, string | undefined][] = [
    ['no service', objects(undefined), 'ServiceNotFound'],
    ['another port', objects({ spec: { ports: [{ port: 80 }] } }), 'ServicePortError'],
    ['no endpoints', objects(service), 'EndpointsNotFound'],
    ['no ready endpoint', objects(service, [slice(false)]), 'MissingEndpoints'],
    ['endpoints of another port', objects(service, [slice(true, 'http')]), 'MissingEndpoints'],
    ['a ready endpoint', objects(service, [slice(true)]), undefined],
  ];
  for (const [what, reader, reason] of faults) {
    it(`with ${what}: ${reason ?? 'can be asked'}`, () =>
      assert.equal(computeServiceFault(api('g', 'v1', 1, 1), reader)?.reason, reason));
  }

  it('are judged by their answer', () => {
    const url = new URL('https://s.n.svc/apis/g/v1');
    assert.equal(judgeAnswer(url, { code: 200 }).status, 'True');
    assert.match(judgeAnswer(url, { code: 404 }).message, /bad status from https:\/\/s\.n\.svc\/apis\/g\/v1: 404/);
    assert.equal(judgeAnswer(url, new Error('refused')).reason, 'FailedDiscoveryCheck');
  });

  it('are believed nothing that has not the right form', () => {
    for (const text of ['', 'null', '[]', '{"kind":"APIResourceList"}', '{"kind":"Other","resources":[]}']) {
      assert.equal(parseResourceList(text), undefined);
    }
    const list = {
      kind: 'APIResourceList',
      resources: [{ name: 'a', kind: 'A', verbs: ['get', 1] }, { name: 5 }, null],
    };
    assert.deepEqual(parseResourceList(JSON.stringify(list)), [
      { name: 'a', kind: 'A', singularName: '', namespaced: false, verbs: ['get'] },
    ]);
    const index = (serverRelativeURL: unknown) => JSON.stringify({ paths: { 'apis/g/v1': { serverRelativeURL } } });
    assert.equal(openApiUrlOf(index('/openapi/v3/apis/g/v1?hash=1'), 'g/v1'), '/openapi/v3/apis/g/v1?hash=1');
    for (const wrong of ['https://elsewhere/', '/api/v1/secrets', 5])
      assert.equal(openApiUrlOf(index(wrong), 'g/v1'), undefined);
    assert.equal(parseOpenApiV2('{}'), undefined);
  });

  it('are told of users in headers', () => {
    const user = { username: 'jane', uid: '7', groups: ['a', 'b'], extra: { 'example.com/Team Blue': ['x', 'y'] } };
    assert.deepEqual(userHeaders(user), {
      'x-remote-user': 'jane',
      'x-remote-uid': '7',
      'x-remote-group': ['a', 'b'],
      'x-remote-extra-example.com%2Fteam%20blue': ['x', 'y'],
    });
  });
});
