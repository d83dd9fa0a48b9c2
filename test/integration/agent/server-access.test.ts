// Who gets what from the agent's server, path by path, and what clients that are slow or hostile get.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect } from 'node:tls';
import { pino } from 'pino';
import type { ApiClient } from '#kube/client/types.ts';
import { systemClock } from '#kube/process/clock.ts';
import { loadConfiguration } from '../../../agent/config/load-configuration.ts';
import { resolveSettings } from '../../../agent/config/settings.ts';
import { CriError } from '../../../agent/cri/cri-error.ts';
import type { RuntimeService } from '../../../agent/cri/runtime-service.ts';
import { runAgentServer } from '../../../agent/server/agent-server.ts';
import { ensureClusterPki } from '../../../control-plane-lite/pki/index.ts';
import { container, podOf, run, runtimeOf } from '../../unit/agent/fixtures.ts';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Method, path, the subresources any of which is enough, and the verb. */
const table: [method: string, path: string, subresources: string[], verb: string][] = [
  ['GET', '/pods', ['pods', 'proxy'], 'get'],
  ['GET', '/runningpods/', ['pods', 'proxy'], 'get'],
  ['GET', '/healthz', ['healthz', 'proxy'], 'get'],
  ['GET', '/configz', ['configz', 'proxy'], 'get'],
  ['GET', '/statusz', ['statusz', 'proxy'], 'get'],
  ['GET', '/flagz', ['flagz', 'proxy'], 'get'],
  ['GET', '/metrics', ['metrics'], 'get'],
  ['GET', '/metrics/cadvisor', ['metrics'], 'get'],
  ['GET', '/stats/summary', ['stats'], 'get'],
  ['GET', '/logs/', ['log'], 'get'],
  ['POST', '/checkpoint/shop/web/c', ['checkpoint'], 'create'],
  ['GET', '/containerLogs/shop/web/none', ['proxy'], 'get'],
  ['POST', '/run/shop/web/none', ['proxy'], 'create'],
  ['GET', '/explain/shop/web', ['proxy'], 'get'],
  ['PUT', '/metrics/groups/cpu', ['metrics'], 'update'],
  ['GET', '/nowhere', ['proxy'], 'get'],
];

describe('access to the server of the agent', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'agent-access-'));
  mkdirSync(join(directory, 'config'));
  const stop = new AbortController();
  const pod = podOf({ containers: [container('c')] });
  const runtimes = runtimeOf([run('c', { logPath: '/nowhere' }, 1)]);
  const [port, readOnlyPort, healthPort] = [await freePort(), await freePort(), await freePort()];
  let serving: Promise<void>;

  before(async () => {
    await ensureClusterPki({ dir: join(directory, 'pki'), serverNames: [], nowMs: Date.now() });
    const config = join(directory, 'config', 'kubelet.yaml');
    writeFileSync(
      config,
      `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: ${port}
readOnlyPort: ${readOnlyPort}
healthzPort: ${healthPort}
tlsMinVersion: VersionTLS13
enableSystemLogQuery: true
authentication: {x509: {clientCAFile: ${join(directory, 'pki', 'ca.crt')}}}
`,
    );
    const args = [`--config=${config}`, `--cert-dir=${join(directory, 'certs')}`, `--root-dir=${directory}`];
    const loaded = loadConfiguration(args, 'v1.36.2');
    if ('print' in loaded) throw new Error(loaded.print);
    // A token is `subresource` or `subresource:verb`: what its owner may.
    const client = {
      async raw({ body, path }: { body: { spec: Record<string, unknown> }; path: string }) {
        const { token, user, resourceAttributes } = body.spec as {
          token?: string;
          user?: string;
          resourceAttributes?: { verb: string; subresource: string };
        };
        if (path.endsWith('tokenreviews')) {
          return { status: { authenticated: token !== 'bad', user: { username: token, groups: [] } } };
        }
        return { status: { allowed: user === `${resourceAttributes?.subresource}:${resourceAttributes?.verb}` } };
      },
    } as unknown as ApiClient;
    const runtime = {
      checkpointContainer: async () => {
        throw new CriError('CheckpointContainer', 'Unimplemented', 'unknown method CheckpointContainer');
      },
    } as unknown as RuntimeService;
    const listening = Promise.withResolvers<void>();
    serving = runAgentServer(
      {
        settings: resolveSettings(loaded),
        view: {
          nodeName: 'n',
          pods: () => [pod],
          findPod: (namespace, name) => (namespace === 'shop' && name === 'web' ? pod : undefined),
          runtimeOf: () => runtimes,
          allRuntimes: () => [runtimes],
        },
        runtime,
        client,
        clock: systemClock,
        logger: pino({ level: 'silent' }),
        nodeIps: ['127.0.0.1'],
        exec: async () => ({ exitCode: 1, stdout: '', stderr: 'no journal' }),
        problem: () => undefined,
        metricRoutes(server, switches) {
          for (const path of ['/metrics', '/metrics/cadvisor', '/stats/summary']) server.get(path, () => 'x');
          if (switches) server.put('/metrics/groups/cpu', () => 'x');
        },
        explain: async () => undefined as never,
        retry: () => undefined,
        observe: () => undefined,
        listening: listening.resolve,
      },
      stop.signal,
    );
    await listening.promise;
  });

  after(async () => {
    stop.abort();
    await serving;
    rmSync(directory, { recursive: true, force: true });
  });

  function ask(method: string, path: string, token?: string, headers: Record<string, string> = {}) {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return new Promise<{ status: number; body: string }>((resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port,
          path,
          method,
          agent: false,
          rejectUnauthorized: false,
          headers: { ...authorization, ...headers },
        },
        (response) => {
          let body = '';
          response.on('data', (chunk: Buffer) => {
            body += chunk.toString();
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
        },
      );
      sent.on('error', reject).end();
    });
  }

  for (const [method, path, subresources, verb] of table) {
    it(`${method} ${path}: 401 to nobody and a bad token, 403 to others, not so with ${subresources.join(' or ')}`, async () => {
      assert.equal((await ask(method, path)).status, 401);
      assert.equal((await ask(method, path, 'bad')).status, 401);
      assert.equal((await ask(method, path, `none:${verb}`)).status, 403);
      assert.equal((await ask(method, path, `${subresources[0]}:delete`)).status, 403);
      for (const subresource of subresources) {
        const { status } = await ask(method, path, `${subresource}:${verb}`);
        assert.ok(status !== 401 && status !== 403, `${subresource}: ${status}`);
      }
    });
  }

  it('says where the runtime cannot make checkpoints, and what is not there', async () => {
    const checkpoint = (path: string) => ask('POST', `/checkpoint/${path}`, 'checkpoint:create');
    const refused = await checkpoint('shop/web/c');
    assert.equal(refused.status, 404);
    assert.match(refused.body, /^checkpointing of shop\/web\/c failed \(unknown method/);
    assert.deepEqual(await checkpoint('shop/none/c'), { status: 404, body: 'pod does not exist\n' });
    assert.deepEqual(await checkpoint('shop/web/d'), { status: 404, body: 'container d does not exist\n' });
    assert.equal((await checkpoint('shop/web/c?timeout=soon')).status, 400);
  });

  it('answers questions to the logs of the node, and refuses those that make no sense', async () => {
    const logs = (query: string) => ask('GET', `/logs/?${query}`, 'log:get');
    for (const query of [
      'query=a&query=/b',
      'query=../etc/passwd',
      'query=-x',
      'query=a&boot=1',
      'query=a&tailLines=-1',
      'query=a&sinceTime=yesterday',
      'pattern=x',
      'query=a&sinceTime=2026-01-02T00:00:00Z&untilTime=2026-01-01T00:00:00Z',
    ]) {
      assert.equal((await logs(query)).status, 400, query);
    }
    assert.equal((await logs('query=berth-no-such-service')).status, 404);
  });

  it('shows flags and what runs', async () => {
    assert.match((await ask('GET', '/flagz', 'flagz:get')).body, new RegExp(`^root-dir=${directory}$`, 'm'));
    assert.match((await ask('GET', '/statusz', 'statusz:get')).body, /^Binary version: 1\.36\.2$/m);
  });

  it('serves pods and metrics on the read-only port to everybody, and nothing else', async () => {
    const status = (path: string, method = 'GET') =>
      new Promise<number>((resolve, reject) => {
        plainRequest({ host: '127.0.0.1', port: readOnlyPort, path, method }, (response) => {
          response.resume();
          response.on('end', () => resolve(response.statusCode ?? 0));
        })
          .on('error', reject)
          .end();
      });
    for (const path of ['/pods', '/metrics', '/stats/summary', '/healthz']) assert.equal(await status(path), 200, path);
    for (const path of ['/runningpods/', '/logs/', '/containerLogs/shop/web/c', '/explain/shop/web', '/flagz']) {
      assert.equal(await status(path), 404, path);
    }
    assert.equal(await status('/metrics/groups/cpu', 'PUT'), 404);
    assert.equal(await status('/run/shop/web/c', 'POST'), 404);
  });

  it('speaks no older TLS than it was told', async () => {
    const failed = await new Promise<Error>((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, maxVersion: 'TLSv1.2' }, () =>
        reject(),
      );
      socket.on('error', resolve);
    });
    assert.match(String(failed), /protocol version|alert/);
  });

  /** Sends bytes and waits for the end of the connection. */
  function speak(bytes: string | Buffer): Promise<string> {
    return new Promise((resolve, reject) => {
      let received = '';
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => socket.write(bytes));
      socket.on('data', (chunk) => {
        received += chunk.toString();
      });
      socket.on('error', () => resolve(received));
      socket.on('close', () => resolve(received));
      socket.setTimeout(30_000, () => reject(new Error('the connection stays open')));
    });
  }

  it('cuts off a client that never ends its headers', async () => {
    const received = await speak('GET /pods HTTP/1.1\r\nHost: n\r\nX-Slow: ');
    assert.match(received, /^(HTTP\/1\.1 408 |$)/);
  });

  it('refuses headers and bodies without end', async () => {
    assert.match(
      await speak(`GET /pods HTTP/1.1\r\nHost: n\r\nX: ${'x'.repeat(64 * 1024)}\r\n\r\n`),
      /^HTTP\/1\.1 431 /,
    );
    const large = await ask('PUT', '/metrics/groups/cpu', 'metrics:update', { 'content-length': `${1 << 20}` }).catch(
      () => ({ status: 413 }),
    );
    assert.equal(large.status, 413);
  });

  it('lives through requests that are none', async () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed % below;
    };
    const pieces = [
      'GET ',
      'POST ',
      '/pods',
      '/exec/a/b/c',
      '/%',
      '/../',
      '?',
      '&command=',
      ' HTTP/1.1\r\n',
      'Host: n\r\n',
    ];
    const more = [
      'Upgrade: websocket\r\n',
      'Connection: Upgrade\r\n',
      'Content-Length: -1\r\n',
      '\0',
      '\r\n\r\n',
      '\xff',
    ];
    const all = [...pieces, ...more, 'Authorization: Bearer x\r\n', 'Transfer-Encoding: chunked\r\n', 'zz\r\n'];
    const texts = Array.from({ length: 150 }, () => {
      const count = 1 + random(10);
      return `${Array.from({ length: count }, () => all[random(all.length)]).join('')}\r\n\r\n`;
    });
    for (const text of texts) {
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
      socket.on('error', () => undefined);
      socket.write(text, 'latin1');
      await new Promise((resolve) => {
        socket
          .once('data', resolve)
          .once('close', resolve)
          .setTimeout(100, () => resolve(undefined));
      });
      socket.destroy();
    }
    assert.equal((await ask('GET', '/pods', 'pods:get')).status, 200);
  });
});
