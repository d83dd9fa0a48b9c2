// The agent's HTTPS server as the API server and Prometheus meet it: certificates, access, logs, streams.
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { request } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { pino } from 'pino';
import type { ApiClient } from '#kube/client/types.ts';
import { systemClock } from '#kube/process/clock.ts';
import { loadConfiguration } from '../../../agent/config/load-configuration.ts';
import { resolveSettings } from '../../../agent/config/settings.ts';
import type { RuntimeService } from '../../../agent/cri/runtime-service.ts';
import { runAgentServer } from '../../../agent/server/agent-server.ts';
import type { NodeView } from '../../../agent/server/node-view.ts';
import { ensureClusterPki, issueClientCertificate } from '../../../control-plane-lite/pki/index.ts';
import { container, ended, podOf, run, runtimeOf } from '../../unit/agent/fixtures.ts';

interface Identity {
  cert: string;
  key: string;
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("the agent's server", async () => {
  const directory = mkdtempSync(join(tmpdir(), 'agent-server-'));
  const logs = join(directory, 'logs');
  mkdirSync(logs);
  const log = join(logs, '0.log');
  const stop = new AbortController();
  const running = run('c', { logPath: log }, 1);
  const runtimes = runtimeOf([running, ended('c', 1, 0)]);
  const pod = podOf({ containers: [container('c'), container('late')] });
  const reviews: { user?: string; resourceAttributes?: { verb: string; subresource: string } }[] = [];
  const retried: string[] = [];
  let port = 0;
  let healthPort = 0;
  let streams: Server;
  let admin: Identity;
  let serving: Promise<void>;
  let streamUrl = '';

  const view: NodeView = {
    nodeName: 'n',
    pods: () => [pod],
    findPod: (namespace, name) => (namespace === 'shop' && name === 'web' ? pod : undefined),
    runtimeOf: () => runtimes,
    allRuntimes: () => [runtimes],
  };

  before(async () => {
    const pki = await ensureClusterPki({ dir: join(directory, 'pki'), serverNames: [], nowMs: Date.now() });
    const issued = await issueClientCertificate(pki, { commonName: 'admin', organizations: ['ops'] });
    admin = { cert: issued.certPem, key: issued.keyPem };
    // A streaming server that upgrades and then echoes.
    streams = createServer();
    streams.on('upgrade', (incoming, socket) => {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${incoming.headers.upgrade}\r\n\r\n`,
      );
      socket.pipe(socket);
    });
    streams.listen(0, '127.0.0.1');
    await new Promise((resolve) => streams.once('listening', resolve));
    streamUrl = `http://127.0.0.1:${(streams.address() as AddressInfo).port}/exec/token`;
    port = await freePort();
    healthPort = await freePort();
    const loaded = loadConfiguration(
      [
        `--port=${port}`,
        '--address=127.0.0.1',
        `--healthz-port=${healthPort}`,
        `--client-ca-file=${join(directory, 'pki', 'ca.crt')}`,
        '--authorization-mode=Webhook',
        '--authentication-token-webhook=true',
        `--cert-dir=${join(directory, 'certs')}`,
      ],
      'v1.36.2',
    );
    if ('print' in loaded) throw new Error(loaded.print);
    const client = {
      async raw({
        body,
        path,
      }: {
        body: { spec: { user?: string; token?: string; resourceAttributes?: { verb: string; subresource: string } } };
        path: string;
      }) {
        const { spec } = body;
        if (path.endsWith('tokenreviews')) {
          return {
            status: { authenticated: spec.token === 'good', user: { username: 'prometheus', groups: ['scrapers'] } },
          };
        }
        reviews.push(spec);
        const allowed = spec.user === 'admin' || spec.resourceAttributes?.subresource === 'metrics';
        return { status: { allowed } };
      },
    } as unknown as ApiClient;
    const runtime = { exec: async () => streamUrl, portForward: async () => streamUrl } as unknown as RuntimeService;
    serving = runAgentServer(
      {
        settings: resolveSettings(loaded),
        view,
        runtime,
        client,
        clock: systemClock,
        logger: pino({ level: 'silent' }),
        nodeIps: ['127.0.0.1'],
        problem: () => undefined,
        metricRoutes: (server) => void server.get('/metrics', () => 'metrics'),
        explain: async (pod) => ({
          namespace: pod.metadata.namespace ?? '',
          name: pod.metadata.name,
          uid: pod.metadata.uid ?? '',
          phase: 'Running',
          step: 'none',
          message: 'the pod is ready',
        }),
        retry: (uid) => void retried.push(uid),
        observe: () => undefined,
        listening: () => undefined,
      },
      stop.signal,
    );
    for (let turn = 0; turn < 100; turn += 1) {
      const up = await get('/healthz', admin).catch(() => undefined);
      if (up !== undefined) return;
      await systemClock.sleep(20);
    }
  });

  after(async () => {
    stop.abort();
    await serving;
    streams.closeAllConnections();
    streams.close();
    rmSync(directory, { recursive: true, force: true });
  });

  function get(path: string, identity?: Identity, headers: Record<string, string> = {}, method = 'GET') {
    return new Promise<{ status: number; body: string }>((resolve, reject) => {
      const options = {
        host: '127.0.0.1',
        port,
        path,
        method,
        rejectUnauthorized: false,
        headers,
        agent: false as const,
        ...identity,
      };
      request(options, (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => {
          body += chunk.toString();
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      })
        .on('error', reject)
        .end();
    });
  }

  /** Sends an upgrade request, then `text`; resolves with all that came back until it contains `until`. */
  function upgrade(
    path: string,
    identity: Identity | undefined,
    headers: Record<string, string>,
    text: string,
    until: string,
  ) {
    return new Promise<string>((resolve, reject) => {
      const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...identity }, () => {
        const lines = Object.entries({ Host: 'n', Connection: 'Upgrade', ...headers }).map(
          ([name, value]) => `${name}: ${value}`,
        );
        socket.write(`POST ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
      });
      let received = '';
      socket.on('data', (chunk) => {
        if (received === '' && text !== '') socket.write(text);
        received += chunk.toString();
        if (received.includes(until)) {
          socket.destroy();
          resolve(received);
        }
      });
      socket.on('error', reject);
      socket.on('close', () => resolve(received));
    });
  }

  it('answers 401 to a caller it does not know', async () => {
    assert.equal((await get('/pods')).status, 401);
    assert.equal((await get('/pods', undefined, { authorization: 'Bearer bad' })).status, 401);
  });

  it('asks for the subresource of the path, and remembers the answer', async () => {
    const before = reviews.length;
    assert.equal((await get('/metrics', undefined, { authorization: 'Bearer good' })).status, 200);
    assert.equal((await get('/metrics', undefined, { authorization: 'Bearer good' })).status, 200);
    const asked = reviews.slice(before);
    assert.deepEqual(
      asked.map(({ user, resourceAttributes }) => [user, resourceAttributes?.verb, resourceAttributes?.subresource]),
      [['prometheus', 'get', 'metrics']],
    );
  });

  it('answers 403 where the caller may not', async () => {
    const { status, body } = await get('/pods', undefined, { authorization: 'Bearer good' });
    assert.equal(status, 403);
    assert.match(body, /^Forbidden \(user=prometheus, verb=get, resource=nodes, subresource\(s\)=\[pods,proxy\]\)/);
  });

  it('lists pods and shows its configuration', async () => {
    assert.equal(JSON.parse((await get('/pods', admin)).body).items[0].metadata.name, 'web');
    assert.equal(JSON.parse((await get('/configz', admin)).body).kubeletconfig.port, port);
  });

  it('explains a pod, and tries it again at once', async () => {
    const explained = await get('/explain/shop/web', admin);
    assert.equal(JSON.parse(explained.body).message, 'the pod is ready');
    assert.equal((await get('/explain/shop/none', admin)).status, 404);
    assert.equal((await get('/retry/shop/web', admin, {}, 'POST')).status, 200);
    assert.equal(retried.length, 1);
    assert.equal((await get('/explain/shop/web')).status, 401);
  });

  it('answers health checks on loopback without identity', async () => {
    const answer = await fetch(`http://127.0.0.1:${healthPort}/healthz`);
    assert.equal(await answer.text(), 'ok');
  });

  it('serves the end of a log, with times, from a time, and up to a size', async () => {
    const lines = ['01', '02', '03'].map((second) => `2026-01-01T00:00:${second}Z stdout F line ${second}\n`);
    writeFileSync(
      log,
      [...lines, '2026-01-01T00:00:04Z stderr P half ', '2026-01-01T00:00:04Z stderr F whole\n']
        .join('')
        .replace('half 2026', 'half \n2026'),
    );
    const read = async (query: string) => (await get(`/containerLogs/shop/web/c?${query}`, admin)).body;
    assert.equal(await read(''), 'line 01\nline 02\nline 03\nhalf whole\n');
    assert.equal(await read('tailLines=3'), 'line 03\nhalf whole\n');
    assert.equal(await read('tailLines=0'), '');
    assert.equal(await read('sinceTime=2026-01-01T00:00:03Z'), 'line 03\nhalf whole\n');
    assert.equal(await read('stream=Stdout&timestamps=true&tailLines=3'), '2026-01-01T00:00:03.000000000Z line 03\n');
    assert.equal(await read('limitBytes=10'), 'line 01\nli');
  });

  it('follows a log until the container ends', async () => {
    writeFileSync(log, '2026-01-01T00:00:01Z stdout F one\n');
    const following = get('/containerLogs/shop/web/c?follow=true', admin);
    await systemClock.sleep(300);
    appendFileSync(log, '2026-01-01T00:00:02Z stdout F two\n');
    running.state = 'exited';
    const { body } = await following;
    running.state = 'running';
    assert.equal(body, 'one\ntwo\n');
  });

  it('says why there is no log', async () => {
    const waiting = await get('/containerLogs/shop/web/late', admin);
    assert.equal(waiting.status, 400);
    assert.match(waiting.body, /^container "late" in pod "web" is waiting to start: /);
    assert.equal((await get('/containerLogs/shop/web/none', admin)).status, 404);
    assert.equal((await get('/containerLogs/shop/none/c', admin)).status, 404);
    assert.equal((await get('/containerLogs/shop/web/c?tailLines=x', admin)).status, 400);
  });

  it('passes an upgraded connection through to the runtime', async () => {
    const path = '/exec/shop/web/c?command=cat&input=1&output=1';
    const received = await upgrade(path, admin, { Upgrade: 'SPDY/3.1' }, 'ping', 'ping');
    assert.match(received, /^HTTP\/1\.1 101 Switching Protocols\r\n[\s\S]*Upgrade: SPDY\/3\.1\r\n\r\nping$/);
    assert.match(await upgrade('/portForward/shop/web', admin, { Upgrade: 'SPDY/3.1' }, 'x', 'x'), /^HTTP\/1\.1 101/);
  });

  it('refuses protocols that the runtime does not speak, so that clients fall back', async () => {
    const headers = {
      Upgrade: 'websocket',
      'Sec-WebSocket-Protocol': 'v9.channel.k8s.io',
      'Sec-WebSocket-Key': 'x',
      'Sec-WebSocket-Version': '13',
    };
    assert.match(
      await upgrade('/exec/shop/web/c?command=ls&output=1', admin, headers, '', '\r\n\r\n'),
      /^HTTP\/1\.1 400 /,
    );
  });

  it('lets nobody stream who may not', async () => {
    assert.match(
      await upgrade('/exec/shop/web/c?command=ls&output=1', undefined, { Upgrade: 'SPDY/3.1' }, '', '\r\n\r\n'),
      /^HTTP\/1\.1 401 /,
    );
    const token = { Upgrade: 'SPDY/3.1', Authorization: 'Bearer good' };
    assert.match(
      await upgrade('/exec/shop/web/c?command=ls&output=1', undefined, token, '', '\r\n\r\n'),
      /^HTTP\/1\.1 403 /,
    );
  });

  it('says what is not there in words, and answers 404 for paths', async () => {
    assert.match(
      await upgrade('/exec/shop/web/none?command=ls&output=1', admin, { Upgrade: 'SPDY/3.1' }, '', '"none")'),
      /^HTTP\/1\.1 500 [\s\S]*\r\n\r\ncontainer not found \("none"\)$/,
    );
    assert.match(await upgrade('/nowhere', admin, { Upgrade: 'SPDY/3.1' }, '', '\r\n\r\n'), /^HTTP\/1\.1 404 /);
  });
});
