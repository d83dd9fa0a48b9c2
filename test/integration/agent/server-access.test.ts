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
  ['GET', '/', ['proxy'], 'get'],
  ['HEAD', '/metrics', ['metrics'], 'get'],
  ['DELETE', '/metrics', ['metrics'], 'delete'],
  ['PATCH', '/stats/summary', ['stats'], 'patch'],
  ['GET', '/metrics/probes', ['metrics'], 'get'],
  ['GET', '/metrics/resource', ['metrics'], 'get'],
  ['GET', '/metrics/groups', ['metrics'], 'get'],
  ['GET', '/stats', ['stats'], 'get'],
  ['GET', '/logs/syslog', ['log'], 'get'],
  ['GET', '/logs/..%2f..%2fetc/passwd', ['log'], 'get'],
  ['GET', '/healthz/ping', ['healthz', 'proxy'], 'get'],
  ['GET', '/healthz/syncloop', ['healthz', 'proxy'], 'get'],
  ['GET', '/runningpods', ['pods', 'proxy'], 'get'],
  ['POST', '/pods', ['pods', 'proxy'], 'create'],
  ['POST', '/exec/shop/web/c?command=id&output=1', ['proxy'], 'create'],
  ['POST', '/attach/shop/web/c', ['proxy'], 'create'],
  ['POST', '/portForward/shop/web', ['proxy'], 'create'],
  ['GET', '/exec/shop/web/c?command=id&output=1', ['proxy'], 'get'],
  ['GET', '/explain', ['proxy'], 'get'],
  ['POST', '/retry/shop/web', ['proxy'], 'create'],
  // Only what is below a path shares its right.
  ['GET', '/metricsx', ['proxy'], 'get'],
  ['GET', '/podsx', ['proxy'], 'get'],
  ['GET', '/statsx/summary', ['proxy'], 'get'],
  // What could be read in two ways needs the right to everything.
  ['GET', '/metrics/../pods', ['proxy'], 'get'],
  ['GET', '/pods/../metrics', ['proxy'], 'get'],
  ['GET', '/metrics/%2e%2e/pods', ['proxy'], 'get'],
  ['GET', '/logs/../metrics', ['proxy'], 'get'],
  ['GET', '/%E9/metrics', ['proxy'], 'get'],
  ['GET', '//metrics', ['proxy'], 'get'],
  ['GET', '//n/metrics', ['proxy'], 'get'],
  ['GET', '/metrics//', ['proxy'], 'get'],
  ['GET', '/metrics\\..\\pods', ['proxy'], 'get'],
];

/** Streams, asked for with an upgrade: the same table again. */
const streams: [method: string, path: string, headers: Record<string, string>, verb: string][] = [
  ['GET', '/exec/shop/web/c?command=id&output=1', { upgrade: 'websocket', 'sec-websocket-version': '13' }, 'get'],
  ['POST', '/exec/shop/web/c?command=id&output=1', { upgrade: 'SPDY/3.1' }, 'create'],
  ['POST', '/attach/shop/web/c?output=1', { upgrade: 'SPDY/3.1' }, 'create'],
  ['POST', '/portForward/shop/web', { upgrade: 'SPDY/3.1' }, 'create'],
  ['GET', '/nowhere', { upgrade: 'websocket' }, 'get'],
  ['GET', '/metrics', { upgrade: 'websocket' }, 'get'],
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
      assert.equal((await ask(method, path, `${subresources[0]}:watch`)).status, 403);
      for (const subresource of subresources) {
        const { status } = await ask(method, path, `${subresource}:${verb}`);
        assert.ok(status !== 401 && status !== 403, `${subresource}: ${status}`);
      }
    });
  }

  for (const [method, path, headers, verb] of streams) {
    it(`${method} ${path} with an upgrade to ${headers['upgrade']}: the same`, async () => {
      const upgrade = { connection: 'Upgrade', ...headers };
      const [right, lesser] = path === '/metrics' ? ['metrics', 'stats'] : ['proxy', 'metrics'];
      assert.equal((await ask(method, path, undefined, upgrade)).status, 401);
      assert.equal((await ask(method, path, 'bad', upgrade)).status, 401);
      for (const other of [`none:${verb}`, `${right}:watch`, 'pods:get', `${lesser}:${verb}`]) {
        assert.equal((await ask(method, path, other, upgrade)).status, 403, other);
      }
      const { status } = await ask(method, path, `${right}:${verb}`, upgrade);
      assert.ok(status !== 401 && status !== 403, `${status}`);
    });
  }

  it('shows pods and metrics to those who may, whole', async () => {
    for (const [path, token] of [
      ['/pods', 'pods:get'],
      ['/pods', 'proxy:get'],
      ['/configz', 'configz:get'],
      ['/healthz', 'healthz:get'],
      ['/metrics', 'metrics:get'],
      ['/stats/summary', 'stats:get'],
      ['/flagz', 'proxy:get'],
    ] as const) {
      assert.equal((await ask('GET', path, token)).status, 200, path);
    }
  });

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

  it('cuts off clients that never end their headers, or the body that they promised', async () => {
    const put = 'PUT /metrics/groups/cpu HTTP/1.1\r\nHost: n\r\nAuthorization: Bearer metrics:update\r\n';
    const slow = await Promise.all([
      speak('GET /pods HTTP/1.1\r\nHost: n\r\nX-Slow: '),
      speak('GET /po'),
      speak(`${put}Content-Length: 10\r\n\r\nabc`),
      speak(`${put}Transfer-Encoding: chunked\r\n\r\n5\r\nab`),
    ]);
    for (const received of slow) assert.match(received, /^(HTTP\/1\.1 408 |$)/);
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

  it('answers whatever those ask who may ask everything, and breaks over none of it', async () => {
    let seed = 11;
    const random = <T>(list: readonly T[]): T => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return list[seed % list.length] as T;
    };
    const parts = [
      'pods',
      'exec',
      'attach',
      'portForward',
      'containerLogs',
      'logs',
      'run',
      'metrics',
      'stats',
      'summary',
    ];
    const odd = [
      'shop',
      'web',
      'c',
      '%00',
      '%',
      '%zz',
      '%2f',
      '..',
      '.',
      '%C3%28',
      'é',
      '~',
      '*',
      ':',
      '%F0%9F%92%A9',
      'x'.repeat(300),
    ];
    const queries = [
      '',
      '?',
      '?command=',
      '?command=%00',
      '?tailLines=-1',
      '?sinceSeconds=x',
      '?limitBytes=1e99',
      '?a=%zz',
      '?port=99999',
      '?timeout=%',
    ];
    const upgrades: Record<string, string>[] = [
      {},
      {},
      { connection: 'Upgrade', upgrade: 'websocket' },
      { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': 'x', 'sec-websocket-version': '7' },
      { connection: 'Upgrade', upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v9.channel.k8s.io' },
      { connection: 'Upgrade', upgrade: 'none' },
    ];
    for (let round = 0; round < 200; round += 1) {
      const method = random(['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD']);
      const names = Array.from({ length: 1 + (round % 5) }, (_, index) =>
        random(index === 0 ? [...parts, ...odd] : odd),
      );
      const path = `/${names.join('/')}${random(queries)}`.replaceAll('é', '%E9');
      const verb = { GET: 'get', POST: 'create', PUT: 'update', DELETE: 'delete' }[method] ?? 'get';
      const answer = await ask(method, path, `proxy:${verb}`, random(upgrades)).catch(
        (error: NodeJS.ErrnoException) => {
          assert.equal(error.code, 'ECONNRESET', `${method} ${path}: ${error.message}`);
          return { status: 0 };
        },
      );
      assert.ok(
        answer.status < 500 || answer.status === 501,
        `${method} ${path}: ${answer.status} ${'body' in answer ? answer.body : ''}`,
      );
    }
    assert.equal((await ask('GET', '/pods', 'pods:get')).status, 200);
  });
});
