// Requests that are passed on to an agent: plain answers, streams, and upgraded connections of either protocol.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer, request as httpsRequest, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { issueServingCertificate } from '../../../control-plane-lite/pki/index.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

const core = '/api/v1/namespaces/default';

interface Seen {
  url: string;
  headers: IncomingMessage['headers'];
  client: string;
}

describe('proxying to an agent', () => {
  let server: TestServer;
  let agent: Server;
  const seen: Seen[] = [];

  const note = (request: IncomingMessage) => {
    const socket = request.socket as import('node:tls').TLSSocket;
    const client = String(socket.getPeerCertificate().subject?.CN);
    seen.push({ url: request.url ?? '', headers: request.headers, client });
  };

  /** Upgrades through the API server and answers what the agent's side echoed. */
  const upgrade = async (path: string, headers: Record<string, string>, text: string) => {
    const { port, pki } = server;
    const outgoing = httpsRequest({
      host: '127.0.0.1',
      port,
      path,
      ca: pki.ca.certPem,
      cert: pki.admin.certPem,
      key: pki.admin.keyPem,
      headers: { connection: 'Upgrade', ...headers },
    });
    outgoing.end();
    const [answer, socket] = (await once(outgoing, 'upgrade')) as [IncomingMessage, Duplex];
    socket.write(text);
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    return { answer, echoed: chunk.toString() };
  };

  before(async () => {
    server = await startApiServer();
    const { certPem, keyPem } = await issueServingCertificate(server.pki, {
      commonName: 'system:node:n1',
      dnsNames: [],
      ipAddresses: ['127.0.0.1'],
    });
    agent = createServer(
      { cert: certPem, key: keyPem, ca: server.pki.ca.certPem, requestCert: true },
      (request, response) => {
        note(request);
        if (request.url?.startsWith('/containerLogs/default/p/broken')) {
          response.writeHead(400).end('container "broken" in pod "p" is waiting to start: ContainerCreating');
          return;
        }
        if (request.url?.startsWith('/page')) {
          response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<a href="/x">t</a>');
          return;
        }
        if (request.url === '/redirect') {
          response.writeHead(302, { location: '/elsewhere' }).end();
          return;
        }
        response.writeHead(200, { 'content-type': 'text/plain' });
        response.end(`answer to ${request.method} ${request.url}`);
      },
    );
    agent.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
      note(request);
      const protocol = String(
        request.headers['sec-websocket-protocol'] ?? request.headers['x-stream-protocol-version'],
      );
      const name =
        request.headers['sec-websocket-protocol'] === undefined
          ? 'X-Stream-Protocol-Version'
          : 'Sec-WebSocket-Protocol';
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n${name}: ${protocol}\r\n\r\n`,
      );
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    });
    agent.listen(0, '127.0.0.1');
    await once(agent, 'listening');
    const { port } = agent.address() as AddressInfo;
    await server.call('POST', '/api/v1/nodes', { body: { metadata: { name: 'n1' } } });
    await server.call('PATCH', '/api/v1/nodes/n1/status', {
      body: {
        status: {
          addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
          daemonEndpoints: { kubeletEndpoint: { Port: port } },
        },
      },
      contentType: 'application/merge-patch+json',
    });
    await server.call('POST', `${core}/serviceaccounts`, { body: { metadata: { name: 'default' } } });
    const containers = ['c', 'broken'].map((name) => ({ name, image: 'i' }));
    await server.call('POST', `${core}/pods`, {
      body: { metadata: { name: 'p' }, spec: { nodeName: 'n1', containers } },
    });
  });
  after(async () => {
    agent.closeAllConnections();
    agent.close();
    await server.close();
  });

  it('fetches a log with the options of the API, as the API server itself', async () => {
    const answer = await server.call('GET', `${core}/pods/p/log?container=c&follow=true&tailLines=5`);
    assert.equal(answer.text, 'answer to GET /containerLogs/default/p/c?follow=true&tailLines=5');
    assert.equal(seen.at(-1)?.client, 'kube-apiserver-kubelet-client');
    assert.equal(seen.at(-1)?.headers.authorization, undefined);
  });

  it('turns what the agent refuses into a Status', async () => {
    const answer = await server.call<{ reason: string; message: string }>('GET', `${core}/pods/p/log?container=broken`);
    assert.equal(answer.status, 400);
    assert.equal(answer.body.message, 'container "broken" in pod "p" is waiting to start: ContainerCreating');
  });

  it('asks which container when there are several', async () => {
    const answer = await server.call<{ message: string }>('GET', `${core}/pods/p/log`);
    assert.equal(answer.body.message, 'a container name must be specified for pod p, choose one of: [c broken]');
  });

  it('joins a SPDY connection for exec and keeps its subprotocol', async () => {
    const path = `${core}/pods/p/exec?container=c&command=sh&command=-c&stdin=true&stdout=true&tty=true`;
    const headers = { upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v4.channel.k8s.io' };
    const { answer, echoed } = await upgrade(path, headers, 'hello');
    assert.equal(echoed, 'hello');
    assert.equal(answer.headers.upgrade, 'SPDY/3.1');
    assert.equal(answer.headers['x-stream-protocol-version'], 'v4.channel.k8s.io');
    assert.equal(seen.at(-1)?.url, '/exec/default/p/c?input=1&output=1&tty=1&command=sh&command=-c');
  });

  it('joins a WebSocket connection for attach and port-forward', async () => {
    const headers = {
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'sec-websocket-protocol': 'v5.channel.k8s.io',
    };
    const { answer, echoed } = await upgrade(`${core}/pods/p/attach?container=c&stdout=true`, headers, 'frames');
    assert.equal(echoed, 'frames');
    assert.equal(answer.headers['sec-websocket-protocol'], 'v5.channel.k8s.io');
    await upgrade(`${core}/pods/p/portforward`, headers, 'frames');
    assert.equal(seen.at(-1)?.url, '/portForward/default/p');
  });

  it('lets nobody run commands who may only read', async () => {
    const rbac = '/apis/rbac.authorization.k8s.io/v1/namespaces/default';
    const role = { metadata: { name: 'reader' }, rules: [{ apiGroups: [''], resources: ['*'], verbs: ['get'] }] };
    await server.call('POST', `${rbac}/roles`, { body: role });
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' };
    const subjects = [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'reader' }];
    await server.call('POST', `${rbac}/rolebindings`, { body: { metadata: { name: 'reader' }, roleRef, subjects } });
    const { certPem, keyPem } = await server.user('reader');
    const outgoing = httpsRequest({
      host: '127.0.0.1',
      port: server.port,
      path: `${core}/pods/p/exec?container=c&command=id&stdout=true`,
      ca: server.pki.ca.certPem,
      cert: certPem,
      key: keyPem,
      headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-protocol': 'v5.channel.k8s.io' },
    });
    outgoing.end();
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    const text = (await answer.toArray()).join('');
    assert.equal(answer.statusCode, 403);
    assert.match(text, /User \\"reader\\" cannot create resource \\"pods\/exec\\"/);
  });

  it('refuses an upgrade like any other request', async () => {
    const nobody = await server.user('nobody');
    const answer = await server.call('GET', `${core}/pods/p/exec?command=sh`, {
      as: nobody,
      headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1' },
    });
    assert.equal(answer.status, 403);
  });

  it('passes any path on to a node', async () => {
    const answer = await server.call('GET', '/api/v1/nodes/n1/proxy/stats/summary?only_cpu=true');
    assert.equal(answer.text, 'answer to GET /stats/summary?only_cpu=true');
  });

  it('keeps nothing of requests on a connection that goes on', async () => {
    const warnings: string[] = [];
    const note = ({ name }: Error) => warnings.push(name);
    process.on('warning', note);
    try {
      for (let request = 0; request < 15; request += 1) {
        assert.equal((await server.call('GET', '/api/v1/nodes/n1/proxy/healthz')).status, 200);
      }
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      process.off('warning', note);
    }
    assert.deepEqual(warnings, []);
  });

  it('knows its own part of a path, whatever the names in it are', async () => {
    await server.call('POST', '/api/v1/nodes', { body: { metadata: { name: 'proxy' } } });
    const { port } = agent.address() as AddressInfo;
    await server.call('PATCH', '/api/v1/nodes/proxy/status', {
      body: {
        status: {
          addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
          daemonEndpoints: { kubeletEndpoint: { Port: port } },
        },
      },
      contentType: 'application/merge-patch+json',
    });
    const base = '/api/v1/nodes/proxy/proxy';
    const answer = await server.call('GET', `${base}/nodes/proxy?a=b%20c&d`);
    assert.equal(answer.text, 'answer to GET /nodes/proxy?a=b%20c&d');
    for (const method of ['GET', 'HEAD']) {
      const redirect = await server.call(method, `${base}?a=b%20c`);
      assert.equal(redirect.status, 301);
      assert.equal(redirect.headers.location, `${base}/?a=b%20c`);
    }
    assert.equal((await server.call('POST', base)).text, 'answer to POST /');
    assert.equal((await server.call('OPTIONS', `${base}/x`)).text, 'answer to OPTIONS /x');
    assert.equal((await server.call('OPTIONS', '/api/v1/nodes/proxy')).status, 405);
    const reader = await server.user('somebody');
    assert.equal((await server.call('OPTIONS', `${base}/x`, { as: reader })).status, 403);
  });

  it('lets pages and redirects of a proxied server lead through the proxy', async () => {
    const base = '/api/v1/nodes/n1/proxy';
    const page = `<a href="${base}/x">t</a>`;
    assert.equal((await server.call('GET', `${base}/page`)).text, page);
    const redirect = await server.call('GET', `${base}/redirect`);
    assert.equal(redirect.headers.location, `${base}/elsewhere`);
  });

  it('ends joined connections when the server stops', async () => {
    const { port, pki } = server;
    const headers = { connection: 'Upgrade', upgrade: 'SPDY/3.1' };
    const path = `${core}/pods/p/exec?container=c&command=sh&stdout=true`;
    const outgoing = httpsRequest({
      host: '127.0.0.1',
      port,
      path,
      ca: pki.ca.certPem,
      cert: pki.admin.certPem,
      key: pki.admin.keyPem,
      headers,
    });
    outgoing.end();
    const [, socket] = (await once(outgoing, 'upgrade')) as [IncomingMessage, Duplex];
    socket.on('error', () => socket.destroy());
    const closed = once(socket, 'close');
    await server.close();
    await closed;
    server = await startApiServer();
  });
});
