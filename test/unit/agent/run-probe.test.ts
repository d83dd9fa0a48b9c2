// Probes against real listeners on loopback.
import assert from 'node:assert/strict';
import { createServer as createHttpServer, type IncomingHttpHeaders } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';
import type { Probe } from '#kube/api/generated/core-v1.ts';
import { CriError } from '../../../agent/cri/cri-error.ts';
import type { RuntimeService } from '../../../agent/cri/runtime-service.ts';
import { systemHttpGet } from '../../../agent/probe/http-get.ts';
import { runProbe } from '../../../agent/probe/run-probe.ts';
import { container } from './fixtures.ts';

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** grpc.health.v1.Health/Check of a server that serves `good` only. */
const health = {
  check: {
    path: '/grpc.health.v1.Health/Check',
    requestStream: false,
    responseStream: false,
    requestSerialize: (value: Buffer) => value,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: (value: Buffer) => value,
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};

describe('runProbe', () => {
  const http = createHttpServer((request, response) => {
    lastHeaders = request.headers;
    if (request.url === '/moved') response.writeHead(302, { location: '/ok' }).end();
    else if (request.url === '/away') response.writeHead(302, { location: 'http://192.0.2.1/' }).end();
    else if (request.url === '/slow') return;
    else response.writeHead(request.url === '/ok' ? 200 : 503).end('body');
  });
  let lastHeaders: IncomingHttpHeaders = {};
  const closed = createServer();
  const grpc = new GrpcServer();
  let grpcPort = 0;
  let closedPort = 0;

  before(async () => {
    http.listen(0, '127.0.0.1');
    closed.listen(0, '127.0.0.1');
    await Promise.all([http, closed].map((server) => new Promise((resolve) => server.once('listening', resolve))));
    closedPort = portOf(closed);
    await new Promise((resolve) => closed.close(resolve));
    grpc.addService(health, {
      check: (call: { request: Buffer }, callback: (error: null, answer: Buffer) => void) => {
        const service = call.request.subarray(2).toString();
        callback(null, Buffer.from([0x08, service === 'good' ? 1 : 2]));
      },
    });
    grpcPort = await new Promise((resolve, reject) => {
      grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
  });
  after(() => {
    http.closeAllConnections();
    http.close();
    grpc.forceShutdown();
  });

  async function probe(definition: Probe, exec?: RuntimeService['execSync']) {
    const runtime = { execSync: exec } as unknown as RuntimeService;
    const target = { container: container('c'), containerId: 'id', podIp: '127.0.0.1' };
    const { result, output } = await runProbe(
      { runtime, httpGet: systemHttpGet },
      definition,
      target,
      new AbortController().signal,
    );
    return [result, output];
  }
  const get = (path: string) => probe({ httpGet: { path, port: portOf(http) }, timeoutSeconds: 0.2 });

  it('succeeds with a good answer over HTTP, also behind a redirect', async () => {
    assert.deepEqual(await get('/ok'), ['success', 'body']);
    assert.deepEqual(await get('/moved'), ['success', 'body']);
  });

  it('succeeds with a warning where a redirect leads to another host', async () =>
    assert.deepEqual(await get('/away'), ['warning', 'Probe terminated redirects, Response body: ']));

  it('sends the headers of the definition, and its own where that says nothing', async () => {
    const httpHeaders = [
      { name: 'Host', value: 'example.test' },
      { name: 'X-Many', value: 'a' },
      { name: 'x-many', value: 'b' },
    ];
    await probe({ httpGet: { path: '/ok', port: portOf(http), httpHeaders } });
    const { host, accept, 'user-agent': agent, 'x-many': many } = lastHeaders;
    assert.deepEqual([host, accept, agent, many], ['example.test', '*/*', 'kube-probe/1.36', 'a, b']);
    const silent = [
      { name: 'Accept', value: '' },
      { name: 'User-Agent', value: 'own' },
    ];
    await probe({ httpGet: { path: '/ok', port: portOf(http), httpHeaders: silent } });
    assert.deepEqual([lastHeaders.accept, lastHeaders['user-agent']], [undefined, 'own']);
  });

  it('replaces references to variables in commands', async () => {
    const commands: string[][] = [];
    const runtime = {
      execSync: async (_: string, command: string[]) => {
        commands.push(command);
        return { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0), exitCode: 0 };
      },
    } as unknown as RuntimeService;
    const own = container('c', { env: [{ name: 'FILE', value: '/ready' }] });
    const target = { container: own, containerId: 'id', podIp: '127.0.0.1' };
    const definition = { exec: { command: ['cat', '$(FILE)', '$(OTHER)'] } };
    await runProbe({ runtime, httpGet: systemHttpGet }, definition, target, new AbortController().signal);
    assert.deepEqual(commands, [['cat', '/ready', '$(OTHER)']]);
  });

  it('fails with the status in words', async () => {
    assert.deepEqual(await get('/bad'), ['failure', 'HTTP probe failed with statuscode: 503']);
  });

  it('fails without an answer in time', async () => {
    const [result, output] = await get('/slow');
    assert.equal(result, 'failure');
    assert.match(output ?? '', /^Get "http:\/\/127\.0\.0\.1:\d+\/slow": context deadline exceeded/);
  });

  it('fails where nothing listens', async () => {
    const refused = `dial tcp 127.0.0.1:${closedPort}: connect: connection refused`;
    assert.deepEqual(await probe({ tcpSocket: { port: closedPort } }), ['failure', refused]);
    const overHttp = await probe({ httpGet: { port: closedPort } });
    assert.deepEqual(overHttp, ['failure', `Get "http://127.0.0.1:${closedPort}/": ${refused}`]);
  });

  it('succeeds over TCP where something listens', async () => {
    assert.deepEqual(await probe({ tcpSocket: { port: portOf(http) } }), ['success', '']);
  });

  it('asks a gRPC server for the health of a service', async () => {
    assert.deepEqual(await probe({ grpc: { port: grpcPort, service: 'good' } }), ['success', '']);
    const unhealthy = 'service unhealthy (responded with "NOT_SERVING")';
    assert.deepEqual(await probe({ grpc: { port: grpcPort } }), ['failure', unhealthy]);
    const unreachable = `timeout: failed to connect service "127.0.0.1:${closedPort}" within 0.2s: context deadline exceeded`;
    assert.deepEqual(await probe({ grpc: { port: closedPort }, timeoutSeconds: 0.2 }), ['failure', unreachable]);
    const unknown = await probe({ grpc: { port: grpcPort, service: 'none' } });
    assert.match(unknown[1] ?? '', /^service unhealthy|^error: health rpc probe failed: rpc error: code = /);
  });

  it('judges a command by its exit code, and shows its output', async () => {
    const answer = (exitCode: number) => async () => ({
      stdout: Buffer.from('out '),
      stderr: Buffer.from('err'),
      exitCode,
    });
    assert.deepEqual(await probe({ exec: { command: ['x'] } }, answer(0)), ['success', 'out err']);
    assert.deepEqual(await probe({ exec: { command: ['x'] } }, answer(1)), ['failure', 'out err']);
  });

  it('fails when a command takes too long, and says nothing when the runtime fails', async () => {
    const late = async () => Promise.reject(new CriError('ExecSync', 'DeadlineExceeded', 'late'));
    assert.deepEqual(await probe({ exec: { command: ['x', 'y'] } }, late), [
      'failure',
      'command timed out: "x y" timed out after 1s',
    ]);
    const broken = async () => Promise.reject(new CriError('ExecSync', 'Unknown', 'broken'));
    assert.deepEqual(await probe({ exec: { command: ['x'] } }, broken), ['error', 'broken']);
  });
});
