// An API server of the test's own, with objects it keeps, is registered, used through this server and taken away again.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { defaultAdvertiseAddress } from '../../../control-plane-lite/config.ts';
import { eventually } from '../../support/eventually.ts';
import { answerJson, startTlsServer, type TlsServer } from '../../support/tls-server.ts';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

interface Thing {
  metadata: { name: string; labels?: Record<string, string> };
  items: Thing[];
  resources: { name: string }[];
  spec: { groupPriorityMinimum: number };
  status: { conditions: { type: string; status: string }[] };
}

const services = '/apis/apiregistration.k8s.io/v1/apiservices';
const group = 'wardle.example.com';
const api = `/apis/${group}/v1alpha1`;
const flunders = `${api}/namespaces/default/flunders`;
const own = `${services}/v1alpha1.${group}`;

describe('the aggregator by conformance', {
  skip: defaultAdvertiseAddress() === '127.0.0.1' && 'this machine has no address but loopback',
  timeout: 90_000,
}, () => {
  let server: TestServer;
  let sample: TlsServer;
  const kept = new Map<string, Thing>();
  const call = (method: string, path: string, body?: unknown, contentType?: string): Promise<Answer<Thing>> =>
    server.call<Thing>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });

  before(async () => {
    server = await startApiServer();
    sample = await startTlsServer({
      host: '0.0.0.0',
      names: ['sample-api.default.svc'],
      handle: ({ url = '', method = '' }, response, body) => {
        const path = url.split('?')[0] ?? '';
        const apiVersion = `${group}/v1alpha1`;
        if (path === api) {
          const verbs = ['create', 'delete', 'get', 'list'];
          const resources = [{ name: 'flunders', singularName: 'flunder', namespaced: true, kind: 'Flunder', verbs }];
          answerJson(response, { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersion, resources });
          return;
        }
        const name = path.startsWith(`${flunders}/`) ? path.slice(flunders.length + 1) : undefined;
        const known = kept.get(name ?? '');
        if (path === flunders && method === 'POST') {
          const object = JSON.parse(body) as Thing;
          kept.set(object.metadata.name, object);
          answerJson(response, { ...object, apiVersion, kind: 'Flunder' }, 201);
        } else if (path === flunders) {
          answerJson(response, { apiVersion, kind: 'FlunderList', metadata: {}, items: [...kept.values()] });
        } else if (known !== undefined) {
          if (method === 'DELETE') kept.delete(known.metadata.name);
          answerJson(response, { ...known, apiVersion, kind: 'Flunder' });
        } else answerJson(response, { kind: 'Status', status: 'Failure', reason: 'NotFound', code: 404 }, 404);
      },
    });
  });
  after(async () => {
    await server?.close();
    await sample?.close();
  });

  it('Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator', async () => {
    await call('POST', '/api/v1/namespaces/default/services', {
      metadata: { name: 'sample-api' },
      spec: { ports: [{ port: 7443 }] },
    });
    const slice = await call('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
      metadata: { name: 'sample-api-1', labels: { 'kubernetes.io/service-name': 'sample-api' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [defaultAdvertiseAddress()], conditions: { ready: true } }],
      ports: [{ name: '', port: sample.port }],
    });
    assert.equal(slice.status, 201, slice.text);
    const registered = await call('POST', services, {
      metadata: { name: `v1alpha1.${group}`, labels: { aggregated: 'sample' } },
      spec: {
        group,
        version: 'v1alpha1',
        groupPriorityMinimum: 2000,
        versionPriority: 200,
        service: { name: 'sample-api', namespace: 'default', port: 7443 },
        caBundle: sample.caBundle,
      },
    });
    assert.equal(registered.status, 201, registered.text);
    await eventually('it is available', async () => {
      const { conditions } = (await call('GET', `${own}/status`)).body.status;
      return conditions.some(({ type, status }) => type === 'Available' && status === 'True');
    });
    await eventually('its resources are served', async () => (await call('GET', flunders)).status === 200);
    assert.deepEqual(
      (await call('GET', api)).body.resources.map(({ name }) => name),
      ['flunders'],
    );

    const created = await call('POST', flunders, { metadata: { name: 'rest-flunder' } });
    assert.equal(created.status, 201, created.text);
    const names = async () => (await call('GET', flunders)).body.items.map(({ metadata }) => metadata.name);
    assert.deepEqual(await names(), ['rest-flunder']);
    assert.equal((await call('GET', `${flunders}/rest-flunder`)).body.metadata.name, 'rest-flunder');
    assert.equal((await call('DELETE', `${flunders}/rest-flunder`)).status, 200);
    assert.deepEqual(await names(), []);
    assert.equal((await call('GET', `${flunders}/rest-flunder`)).status, 404);

    const merge = 'application/merge-patch+json';
    const patched = await call(
      'PATCH',
      own,
      { metadata: { labels: { patched: 'yes' } }, spec: { groupPriorityMinimum: 2001 } },
      merge,
    );
    assert.deepEqual(
      [patched.body.metadata.labels?.['patched'], patched.body.spec.groupPriorityMinimum],
      ['yes', 2001],
    );
    const condition = { type: 'StatusUpdated', status: 'True', reason: 'E2E', message: 'Set by a test' };
    await eventually('an update of the newest status', async () => {
      const { body } = await call('GET', `${own}/status`);
      const conditions = [...body.status.conditions.filter(({ type }) => type !== condition.type), condition];
      const updated = await call('PUT', `${own}/status`, { ...body, status: { conditions } });
      return updated.status === 200 && updated.body.status.conditions.some(({ type }) => type === condition.type);
    });

    assert.equal((await call('DELETE', `${services}?labelSelector=aggregated%3Dsample`)).status, 200);
    assert.equal((await call('GET', own)).status, 404);
    await eventually('nothing of it is served', async () => (await call('GET', flunders)).status === 404);
  });
});
