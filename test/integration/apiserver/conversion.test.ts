// Custom resources of several versions, converted by a webhook over TLS: reads, lists, watches, writes and selectors.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { answerJson, startTlsServer, type TlsServer } from '../../support/tls-server.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

interface Host {
  message?: string;
  apiVersion: string;
  metadata: { name: string; labels?: Record<string, string> };
  hostPort?: string;
  host?: string;
  port?: string;
  items: Host[];
  status?: { storedVersions?: string[] };
}

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const at = (version: string) => `/apis/convert.example.com/${version}/namespaces/default/hosts`;
const text = { type: 'string' };

function convert(object: Host, wanted: string): object {
  const { hostPort, host, port, ...rest } = object;
  if (wanted.endsWith('/v2')) {
    const [first = '', second = ''] = (hostPort ?? '').split(':');
    return { ...rest, apiVersion: wanted, host: first, port: second };
  }
  return { ...rest, apiVersion: wanted, hostPort: `${host ?? ''}:${port ?? ''}` };
}

describe('custom resources of several versions', () => {
  let server: TestServer;
  let webhook: TlsServer;
  let isBroken = false;
  const call = (method: string, path: string, body?: unknown, contentType?: string) =>
    server.call<Host>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });

  const versionOf = (name: string, storage: boolean) => ({
    name,
    served: true,
    storage,
    selectableFields: name === 'v1' ? [{ jsonPath: '.hostPort' }] : [{ jsonPath: '.host' }],
    schema: {
      openAPIV3Schema: { type: 'object', properties: name === 'v1' ? { hostPort: text } : { host: text, port: text } },
    },
  });

  before(async () => {
    server = await startApiServer();
    webhook = await startTlsServer({
      handle: (_request, response, body) => {
        const review = JSON.parse(body) as {
          apiVersion: string;
          request: { uid: string; desiredAPIVersion: string; objects: Host[] };
        };
        const { uid, desiredAPIVersion, objects } = review.request;
        const converted = {
          result: { status: 'Success' },
          convertedObjects: objects.map((each) => convert(each, desiredAPIVersion)),
        };
        const failed = { result: { status: 'Failed', message: 'no conversion today' } };
        answerJson(response, {
          apiVersion: review.apiVersion,
          kind: 'ConversionReview',
          response: { uid, ...(isBroken ? failed : converted) },
        });
      },
    });
    const created = await call('POST', definitions, {
      metadata: { name: 'hosts.convert.example.com' },
      spec: {
        group: 'convert.example.com',
        scope: 'Namespaced',
        names: { plural: 'hosts', kind: 'Host' },
        versions: [versionOf('v1', true), versionOf('v2', false)],
        conversion: {
          strategy: 'Webhook',
          webhook: {
            clientConfig: { url: `https://127.0.0.1:${webhook.port}/convert`, caBundle: webhook.caBundle },
            conversionReviewVersions: ['v1'],
          },
        },
      },
    });
    assert.equal(created.status, 201, created.text);
    for (let attempt = 0; (await call('GET', at('v2'))).status !== 200; attempt += 1) {
      assert.ok(attempt < 1000, 'the definition is never served');
      await delay(10);
    }
  });
  after(async () => {
    await server.close();
    await webhook.close();
  });

  it('CustomResourceConversionWebhook should be able to convert from CR v1 to CR v2', async () => {
    const created = await call('POST', at('v1'), { metadata: { name: 'a' }, hostPort: 'one:80' });
    assert.equal(created.status, 201, created.text);
    const read = (await call('GET', `${at('v2')}/a`)).body;
    assert.deepEqual(
      [read.apiVersion, read.host, read.port, read.hostPort],
      ['convert.example.com/v2', 'one', '80', undefined],
    );
  });

  it('are stored in one version, whichever they are written in', async () => {
    const created = await call('POST', at('v2'), { metadata: { name: 'b' }, host: 'two', port: '81' });
    assert.deepEqual(
      [created.status, created.body.apiVersion, created.body.host],
      [201, 'convert.example.com/v2', 'two'],
    );
    assert.equal((await call('GET', `${at('v1')}/b`)).body.hostPort, 'two:81');
    const patched = await call('PATCH', `${at('v2')}/b`, { port: '82' }, 'application/merge-patch+json');
    assert.equal(patched.body.port, '82');
    assert.equal((await call('GET', `${at('v1')}/b`)).body.hostPort, 'two:82');
  });

  it('MUST list and watch custom resources matching the field selector', async () => {
    const names = (body: Host) => body.items.map(({ metadata }) => metadata.name);
    assert.deepEqual(names((await call('GET', `${at('v2')}?fieldSelector=host%3Dtwo`)).body), ['b']);
    assert.deepEqual(names((await call('GET', `${at('v1')}?fieldSelector=hostPort%3Done%3A80`)).body), ['a']);
    const lines = server.stream(`${at('v2')}?watch=true&fieldSelector=host%3Dthree&timeoutSeconds=20`, (line) =>
      line.includes('"DELETED"'),
    );
    await call('POST', at('v1'), { metadata: { name: 'c' }, hostPort: 'three:83' });
    await call('PATCH', `${at('v2')}/c`, { port: '84' }, 'application/merge-patch+json');
    await call('PATCH', `${at('v1')}/c`, { hostPort: 'four:84' }, 'application/merge-patch+json');
    const events = (await lines)
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { type: string; object: Host });
    assert.equal(events.at(-1)?.type, 'DELETED');
    assert.equal(events[0]?.type, 'ADDED');
    assert.ok(events.every(({ object }) => object.apiVersion === 'convert.example.com/v2'));
  });

  it('say what the webhook says when it fails', async () => {
    await call('POST', at('v1'), { metadata: { name: 'd' }, hostPort: 'x:1' });
    isBroken = true;
    try {
      const failed = await call('GET', `${at('v2')}/d`);
      assert.deepEqual(
        [failed.status, failed.body.message],
        [500, 'conversion webhook for convert.example.com/v1, Kind=Host failed: no conversion today'],
      );
      assert.equal((await call('GET', `${at('v1')}/d`)).status, 200);
    } finally {
      isBroken = false;
    }
  });

  it('CustomResourceConversionWebhook should be able to convert a non homogeneous list of CRs', async () => {
    const path = `${definitions}/hosts.convert.example.com`;
    const patch = [
      { op: 'replace', path: '/spec/versions/0/storage', value: false },
      { op: 'replace', path: '/spec/versions/1/storage', value: true },
    ];
    const changed = await call('PATCH', path, patch, 'application/json-patch+json');
    assert.deepEqual(changed.body.status?.storedVersions, ['v1', 'v2']);
    await call('POST', at('v2'), { metadata: { name: 'e' }, host: 'five', port: '85' });
    const { items } = (await call('GET', at('v2'))).body;
    assert.ok(items.length >= 5);
    assert.ok(items.every(({ apiVersion, host }) => apiVersion === 'convert.example.com/v2' && host !== undefined));
    const older = (await call('GET', at('v1'))).body.items;
    assert.ok(
      older.every(({ apiVersion, hostPort }) => apiVersion === 'convert.example.com/v1' && hostPort !== undefined),
    );
  });
});
