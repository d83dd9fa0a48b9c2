// exec over WebSocket against a runtime that does what it should, and what it should not.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import type { RuntimeService } from '../../../agent/cri/runtime-service.ts';
import { serveStream } from '../../../agent/server/streaming.ts';
import { eventually } from '../../support/eventually.ts';
import { type FakeSpdyRuntime, type RuntimeConnection, startFakeSpdyRuntime } from '../../support/fake-spdy-runtime.ts';
import { openWebSocket } from '../../support/websocket-client.ts';
import { run, runtimeOf } from '../../unit/agent/fixtures.ts';

const success = '{"metadata":{},"status":"Success"}';

describe('exec over WebSocket', () => {
  let agent: Server;
  let fake: FakeSpdyRuntime;
  let idleTimeoutMs = 0;
  const asked: unknown[] = [];

  before(async () => {
    fake = await startFakeSpdyRuntime();
    const stream = async (request: unknown) => {
      asked.push(request);
      return `${fake.url}/exec/token`;
    };
    const runtime = { exec: stream, attach: stream } as unknown as RuntimeService;
    const pod = runtimeOf([run('c')]);
    agent = createServer();
    agent.on('upgrade', (request, socket, head) => {
      const findPod = (_: string, name: string) => (name === 'web' ? pod : undefined);
      const logger = pino({ level: 'silent' });
      void serveStream({ runtime, findPod, idleTimeoutMs, clock: systemClock, logger }, request, socket, head);
    });
    await new Promise<void>((resolve) => agent.listen(0, '127.0.0.1', resolve));
  });
  after(async () => {
    agent.closeAllConnections();
    await new Promise((resolve) => agent.close(resolve));
    await fake[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    fake.refuse(undefined);
    idleTimeoutMs = 0;
  });

  const open = (query: string, protocol = 'v5.channel.k8s.io', path = '/exec/shop/web/c') => {
    const { port } = agent.address() as AddressInfo;
    return openWebSocket({ servers: [`http://127.0.0.1:${port}`] }, `${path}?${query}`, [protocol]);
  };
  /** The runtime's end of the newest connection, with as many streams as are wanted. */
  const runtimeEnd = (before: number, streams: number): Promise<RuntimeConnection> =>
    eventually('the streams', async () => {
      const connection = fake.connections[before];
      return connection?.streams.size === streams && connection;
    });

  it('opens the streams that were asked for, the one of errors first', async () => {
    const before = fake.connections.length;
    const websocket = await open('command=ls&command=-l&input=1&output=1&error=1');
    const runtime = await runtimeEnd(before, 4);
    assert.deepEqual([...runtime.streams.keys()], ['error', 'stdin', 'stdout', 'stderr']);
    assert.deepEqual(asked.at(-1), {
      containerId: 'c-0',
      tty: false,
      stdin: true,
      stdout: true,
      stderr: true,
      cmd: ['ls', '-l'],
    });
    websocket.send([0], 'typed');
    websocket.send([255, 0]);
    await eventually('the end of the input', async () => runtime.ended.has('stdin'));
    assert.equal(runtime.received.get('stdin'), 'typed');
    runtime.say('stdout', 'out', true);
    runtime.say('stderr', 'err', true);
    runtime.say('error', success, true);
    assert.equal(await websocket.closed, 1000);
    assert.deepEqual([websocket.channel(1), websocket.channel(2), websocket.channel(3)], ['out', 'err', success]);
  });

  it('opens a stream of sizes for a terminal, and none of errors’ text', async () => {
    const before = fake.connections.length;
    const websocket = await open('command=sh&stdin=true&stdout=true&stderr=true&tty=true');
    const runtime = await runtimeEnd(before, 4);
    assert.deepEqual([...runtime.streams.keys()], ['error', 'stdin', 'stdout', 'resize']);
    websocket.send([4], '{"Width":10,"Height":5}');
    await eventually('the size', async () => runtime.received.get('resize') === '{"Width":10,"Height":5}');
    websocket.close();
    await eventually('the runtime’s end is closed', async () => runtime.isClosed());
  });

  it('waits for output that comes after the status', async () => {
    const before = fake.connections.length;
    const websocket = await open('command=ls&output=1');
    const runtime = await runtimeEnd(before, 2);
    runtime.say('error', success, true);
    runtime.say('stdout', 'late');
    runtime.reset('stdout');
    await websocket.closed;
    assert.equal(websocket.channel(1), 'late');
    assert.equal(websocket.messages.at(-1)?.[0], 3, 'the status comes last');
  });

  it('says so when the runtime breaks off', async () => {
    for (const [protocol, expected] of [
      ['v5.channel.k8s.io', /"status":"Failure".*closed the stream.*"reason":"InternalError"/],
      ['channel.k8s.io', /^the runtime closed the stream/],
    ] as const) {
      const before = fake.connections.length;
      const websocket = await open('command=ls&output=1', protocol);
      const runtime = await runtimeEnd(before, 2);
      runtime.say('stdout', 'half');
      await eventually('the output', async () => websocket.channel(1) === 'half');
      runtime.cut();
      await websocket.closed;
      assert.match(websocket.channel(3), expected);
    }
  });

  it('passes on what the runtime refuses, before the handshake', async () => {
    fake.refuse(404);
    await assert.rejects(open('command=ls&output=1'), /^Error: 404: refused$/);
    await assert.rejects(
      open('command=ls&output=1', 'v5.channel.k8s.io', '/exec/shop/absent/c'),
      /404: pod does not exist/,
    );
    await assert.rejects(open('command=ls'), /400: you must specify at least 1 of stdin, stdout, stderr/);
    await assert.rejects(open('command=ls&output=1', 'v6.channel.k8s.io'), /400: .*v6\.channel\.k8s\.io/);
  });

  it('ends what nobody uses for too long', async () => {
    idleTimeoutMs = 100;
    const before = fake.connections.length;
    const websocket = await open('command=cat&output=1');
    const runtime = await runtimeEnd(before, 2);
    await websocket.closed;
    await eventually('the runtime’s end is closed', async () => runtime.isClosed());
  });
});
