// Aggregated API servers over TLS: discovered beside this one's own, reached through it, told who asks, and checked.
import assert from 'node:assert/strict';
import { request as httpsRequest } from 'node:https';
import { after, before, describe, it } from 'node:test';
import { defaultAdvertiseAddress } from '../../../control-plane-lite/config.ts';
import { eventually } from '../../support/eventually.ts';
import { answerJson, clientNameOf, startTlsServer, type TlsServer } from '../../support/tls-server.ts';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

interface Body {
  message?: string;
  kind: string;
  data: Record<string, string>;
  items: Body[];
  metadata: { name: string };
  groups: { name: string }[];
  resources: { name: string }[];
  paths: Record<string, { serverRelativeURL: string }>;
  definitions: Record<string, unknown>;
  status?: { conditions?: { type: string; status: string; reason: string; message: string }[] };
}

interface Seen {
  url: string;
  method: string;
  client: string;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

const services = '/apis/apiregistration.k8s.io/v1/apiservices';
const group = 'wardle.example.com';
const api = `/apis/${group}/v1alpha1`;

describe('aggregated API servers', {
  skip: defaultAdvertiseAddress() === '127.0.0.1' && 'this machine has no address but loopback',
}, () => {
  let server: TestServer;
  let remote: TlsServer;
  let frontProxyCa = '';
  const seen: Seen[] = [];
  let isWell = true;
  const call = (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<Body>> => server.call<Body>(method, path, { body, headers });
  const available = async (name = `v1alpha1.${group}`) =>
    ((await call('GET', `${services}/${name}`)).body.status?.conditions ?? []).find(({ type }) => type === 'Available');
  const register = (more: object = {}) =>
    call('POST', services, {
      metadata: { name: `v1alpha1.${group}` },
      spec: {
        group,
        version: 'v1alpha1',
        groupPriorityMinimum: 2000,
        versionPriority: 200,
        service: { name: 'sample', namespace: 'default', port: 7443 },
        caBundle: remote.caBundle,
        ...more,
      },
    });

  before(async () => {
    server = await startApiServer();
    const config = await call('GET', '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication');
    frontProxyCa = config.body.data['requestheader-client-ca-file'] ?? '';
    remote = await startTlsServer({
      host: '0.0.0.0',
      names: ['sample.default.svc'],
      clientCaPem: frontProxyCa,
      handle: (request, response, body) => {
        const url = request.url ?? '';
        seen.push({ url, method: request.method ?? '', client: clientNameOf(request), headers: request.headers, body });
        if (!isWell) {
          answerJson(response, { kind: 'Status' }, 500);
          return;
        }
        if (url === api) {
          const verbs = ['create', 'get', 'list', 'watch'];
          const resources = [{ name: 'flunders', singularName: 'flunder', namespaced: true, kind: 'Flunder', verbs }];
          answerJson(response, {
            kind: 'APIResourceList',
            apiVersion: 'v1',
            groupVersion: `${group}/v1alpha1`,
            resources,
          });
        } else if (url === '/openapi/v3')
          answerJson(response, {
            paths: { [`apis/${group}/v1alpha1`]: { serverRelativeURL: `/openapi/v3${api}?hash=1` } },
          });
        else if (url.startsWith('/openapi/v3/')) answerJson(response, { openapi: '3.0.0', kind: 'Flunders' });
        else if (url === '/openapi/v2')
          answerJson(response, {
            swagger: '2.0',
            paths: {},
            definitions: { 'com.example.Flunder': { type: 'object' } },
          });
        else if (url.includes('watch=true')) {
          response.writeHead(200, { 'Content-Type': 'application/json' });
          response.write(
            `${JSON.stringify({ type: 'ADDED', object: { kind: 'Flunder', metadata: { name: 'a' } } })}\n`,
          );
          setImmediate(() => response.end());
        } else answerJson(response, { kind: 'FlunderList', items: [{ kind: 'Flunder', metadata: { name: 'a' } }] });
      },
    });
    remote.server.on('upgrade', (request, socket) => {
      seen.push({
        url: request.url ?? '',
        method: 'UPGRADE',
        client: clientNameOf(request),
        headers: request.headers,
        body: '',
      });
      socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello');
    });
  });
  after(async () => {
    await server.close();
    await remote.close();
  });

  it('are told by a config map whom to believe', async () => {
    const { body } = await call('GET', '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication');
    assert.match(body.data['client-ca-file'] ?? '', /BEGIN CERTIFICATE/);
    assert.match(frontProxyCa, /BEGIN CERTIFICATE/);
    assert.notEqual(body.data['client-ca-file'], frontProxyCa);
    assert.equal(body.data['requestheader-allowed-names'], '["front-proxy-client"]');
    assert.equal(body.data['requestheader-username-headers'], '["X-Remote-User"]');
  });

  it('are refused what cannot be', async () => {
    const spec = { group, version: 'v1', groupPriorityMinimum: 0, versionPriority: 2000, insecureSkipTLSVerify: true };
    const { status, body } = await call('POST', services, { metadata: { name: 'wrong' }, spec });
    assert.equal(status, 422);
    const wanted = [
      'metadata.name: Invalid value: "wrong": must be `spec.version+"."+spec.group`: "v1.wardle.example.com"',
      'spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000',
      'spec.versionPriority: Invalid value: 2000: must be positive and less than 1000',
      'spec.insecureSkipTLSVerify: Forbidden: local APIServices may not have insecureSkipTLSVerify',
    ];
    assert.equal(body.message, `APIService.apiregistration.k8s.io "wrong" is invalid: [${wanted.join(', ')}]`);
  });

  it('are said to be unavailable for as long as they cannot be asked, and why', async () => {
    assert.equal((await register()).status, 201);
    await eventually('the service is missed', async () => (await available())?.reason === 'ServiceNotFound');
    assert.equal((await call('GET', `${api}/namespaces/default/flunders`)).status, 503);
    await call('POST', '/api/v1/namespaces/default/services', {
      metadata: { name: 'sample' },
      spec: { ports: [{ port: 7443 }] },
    });
    await eventually('the endpoints are missed', async () => (await available())?.reason === 'EndpointsNotFound');
    const slice = await call('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
      metadata: { name: 'sample-1', labels: { 'kubernetes.io/service-name': 'sample' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [defaultAdvertiseAddress()], conditions: { ready: true } }],
      ports: [{ name: '', port: remote.port }],
    });
    assert.equal(slice.status, 201, slice.text);
    await eventually('the API is available', async () => (await available())?.status === 'True');
    assert.deepEqual(await available().then((found) => [found?.reason, found?.message]), [
      'Passed',
      'all checks passed',
    ]);
  });

  it('are discovered, in all forms', async () => {
    await eventually('the group is listed', async () =>
      (await call('GET', '/apis')).body.groups.some(({ name }) => name === group),
    );
    const aggregated = await call('GET', '/apis', undefined, {
      accept: 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
    });
    assert.ok(aggregated.body.items.some(({ metadata }) => metadata.name === group));
    assert.match(
      aggregated.text,
      /"resource":"flunders","responseKind":\{"group":"wardle\.example\.com","version":"v1alpha1","kind":"Flunder"\}/,
    );
    assert.deepEqual(
      (await call('GET', api)).body.resources.map(({ name }) => name),
      ['flunders'],
    );
    const index = (await call('GET', '/openapi/v3')).body.paths[`apis/${group}/v1alpha1`];
    assert.equal(index?.serverRelativeURL, `/openapi/v3${api}?hash=1`);
    assert.equal((await call('GET', index?.serverRelativeURL ?? '')).body.kind, 'Flunders');
    assert.ok((await call('GET', '/openapi/v2')).body.definitions['com.example.Flunder']);
  });

  it('get requests as they are, and are told who asks', async () => {
    const user = await server.user('jane', 'system:masters', 'developers');
    const answer = await server.call<Body>('POST', `${api}/namespaces/default/flunders?dryRun=All`, {
      body: { metadata: { name: 'b' } },
      as: user,
      headers: { 'x-remote-user': 'root', 'x-remote-group': 'evil', 'x-remote-extra-a': 'b', authorization: '' },
    });
    assert.equal(answer.status, 200, answer.text);
    const last = seen.at(-1) ?? assert.fail();
    assert.deepEqual(
      [last.method, last.url, last.client],
      ['POST', `${api}/namespaces/default/flunders?dryRun=All`, 'front-proxy-client'],
    );
    assert.equal(last.headers['x-remote-user'], 'jane');
    assert.equal(last.headers['x-remote-group'], 'system:masters, developers, system:authenticated');
    assert.equal(last.headers['x-remote-extra-a'], undefined);
    assert.match(
      String(last.headers['x-remote-extra-authentication.kubernetes.io%2Fcredential-id'.toLowerCase()]),
      /X509SHA256/,
    );
    assert.equal(last.headers.authorization, undefined);
    assert.equal(last.headers['host'], 'sample.default.svc');
    assert.deepEqual(JSON.parse(last.body), { metadata: { name: 'b' } });
  });

  it('serve only whom this server lets through', async () => {
    const before = seen.length;
    const answer = await server.call<Body>('GET', `${api}/namespaces/default/flunders`, {
      as: await server.user('nobody'),
    });
    assert.equal(answer.status, 403);
    assert.match(
      answer.body.message ?? '',
      /flunders\.wardle\.example\.com is forbidden: User "nobody" cannot list resource "flunders"/,
    );
    assert.equal(seen.length, before);
  });

  it('stream watches', async () => {
    const lines = await server.stream(`${api}/namespaces/default/flunders?watch=true`, (line) =>
      line.includes('ADDED'),
    );
    assert.match(lines[0] ?? '', /"Flunder"/);
  });

  it('join connections that are upgraded', async () => {
    const { admin, ca } = server.pki;
    const text = await new Promise<string>((resolve, reject) => {
      const outgoing = httpsRequest({
        host: '127.0.0.1',
        port: server.port,
        path: `${api}/namespaces/default/flunders/a/connect`,
        ca: ca.certPem,
        cert: admin.certPem,
        key: admin.keyPem,
        headers: { Connection: 'Upgrade', Upgrade: 'echo' },
        signal: AbortSignal.timeout(20_000),
      });
      outgoing.once('error', reject);
      outgoing.once('response', ({ statusCode }) => reject(new Error(`answered with ${statusCode}`)));
      outgoing.once('upgrade', (_answer, socket, head) => {
        const parts: Buffer[] = [head];
        socket.on('data', (part: Buffer) => parts.push(part));
        socket.on('close', () => resolve(Buffer.concat(parts).toString()));
      });
      outgoing.end();
    });
    assert.equal(text, 'hello');
    const last = seen.at(-1) ?? assert.fail();
    assert.deepEqual(
      [last.method, last.client, last.headers['x-remote-user']],
      ['UPGRADE', 'front-proxy-client', 'kubernetes-admin'],
    );
  });

  it('are unavailable again when they fail, and gone with their APIService', async () => {
    isWell = false;
    const patch = { body: { spec: { versionPriority: 100 } }, contentType: 'application/merge-patch+json' };
    assert.equal((await server.call('PATCH', `${services}/v1alpha1.${group}`, patch)).status, 200);
    await eventually('the failure is noticed', async () => (await available())?.reason === 'FailedDiscoveryCheck');
    assert.match(
      (await available())?.message ?? '',
      /bad status from https:\/\/sample\.default\.svc:7443\/apis\/wardle\.example\.com\/v1alpha1: 500/,
    );
    assert.equal((await call('GET', api)).text, 'service unavailable\n');
    assert.equal((await call('DELETE', `${services}/v1alpha1.${group}`)).status, 200);
    await eventually(
      'the group is gone',
      async () => !(await call('GET', '/apis')).body.groups.some(({ name }) => name === group),
    );
  });

  it('are not believed without the authority that their APIService names', async () => {
    isWell = true;
    const other = await startTlsServer({ handle: (_request, response) => answerJson(response, {}) });
    await register({ caBundle: other.caBundle });
    await eventually('the certificate is refused', async () => (await available())?.reason === 'FailedDiscoveryCheck');
    await other.close();
    await call('DELETE', `${services}/v1alpha1.${group}`);
    await register({ caBundle: undefined, insecureSkipTLSVerify: true });
    await eventually('the API is available unverified', async () => (await available())?.status === 'True');
  });

  it('have APIServices beside those of this server, which come and go with custom resources', async () => {
    const local = await available('v1.apps');
    assert.deepEqual([local?.status, local?.reason], ['True', 'Local']);
    await call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      metadata: { name: 'things.local.example.com' },
      spec: {
        group: 'local.example.com',
        scope: 'Cluster',
        names: { plural: 'things', kind: 'Thing' },
        versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
      },
    });
    await eventually(
      'the APIService is there',
      async () => (await available('v1.local.example.com'))?.reason === 'Local',
    );
    await call('DELETE', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.local.example.com');
    await eventually(
      'the APIService is gone',
      async () => (await call('GET', `${services}/v1.local.example.com`)).status === 404,
    );
  });
});
