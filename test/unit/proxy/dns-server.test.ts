// The DNS server under packets and connections of any kind, in this process and over real sockets on loopback.
import assert from 'node:assert/strict';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { decode } from 'dns-packet';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { createResponder } from '../../../proxy/dns/create-responder.ts';
import { createDnsServer } from '../../../proxy/dns/dns-server.ts';
import { udpLimit } from '../../../proxy/dns/encode-answer.ts';
import { createDnsNames } from '../../support/dns-cluster.ts';
import { createRandom, question, spoiltPacket, spoiltStream } from '../../support/dns-fuzzer.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000);
const bounds = { timeout: 30_000 };
const options = {
  zone: 'cluster.local',
  names: createDnsNames(),
  forward: () => Promise.reject(new Error('no resolver')),
  clock: systemClock,
  logger: pino({ level: 'silent' }),
};
const name = 'web.ns.svc.cluster.local';
const framed = (packet: Buffer): Buffer =>
  Buffer.concat([Buffer.from([packet.length >> 8, packet.length & 255]), packet]);

interface DnsUnderTest extends AsyncDisposable {
  connect(): Socket;
  udp(): Promise<UdpSocket>;
}

async function freePort(): Promise<number> {
  const probe = createSocket('udp4');
  probe.bind(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  return port;
}

/** A port that is free for UDP may be taken for TCP: then another one is tried. */
async function startServer(attempts = 10): Promise<DnsUnderTest> {
  const port = await freePort();
  const stop = new AbortController();
  const server = createDnsServer({ ...options, bind: { host: '127.0.0.1', port } });
  const running = server.run(stop.signal);
  try {
    await Promise.race([server.ready, running]);
  } catch (error) {
    if (attempts <= 1) throw error;
    return startServer(attempts - 1);
  }
  const open: Socket[] = [];
  return {
    connect: (): Socket => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => socket.destroy());
      open.push(socket);
      return socket;
    },
    udp: async () => {
      const client = createSocket('udp4');
      client.connect(port, '127.0.0.1');
      await once(client, 'connect');
      return client;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      stop.abort();
      await running;
    },
  };
}

type Server = Awaited<ReturnType<typeof startServer>>;

/** A question over UDP is asked again when its answer is lost. */
async function assertAnswersByUdp(server: Server): Promise<void> {
  const client = await server.udp();
  const heard = Promise.withResolvers<Buffer>();
  client.on('message', heard.resolve);
  const again = setInterval(() => client.send(question(name)), 50);
  const answer = await heard.promise.finally(() => clearInterval(again));
  client.close();
  assert.equal(decode(answer).answers?.[0]?.data, '10.96.0.7');
}

async function assertAnswersByTcp(server: Server): Promise<void> {
  const socket = server.connect();
  socket.write(framed(question(name)));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.equal(decode(answer.subarray(2)).answers?.[0]?.data, '10.96.0.7');
  socket.destroy();
}

describe(`the DNS server under malformed packets (FUZZ_SEED=${seed})`, () => {
  it('answers the question that was asked or is silent, within the size that was allowed', bounds, async () => {
    const respond = createResponder(options);
    const random = createRandom(seed);
    let answered = 0;
    for (let index = 0; index < 10_000; index += 1) {
      const packet = spoiltPacket(random);
      const answer = await respond(packet, udpLimit);
      if (answer === undefined) continue;
      answered += 1;
      assert.equal(answer.readUInt16BE(0), packet.readUInt16BE(0), 'the id of the question');
      assert.ok(answer.readUInt16BE(2) >= 0x8000, 'an answer');
      assert.ok(answer.length <= 4096);
      decode(answer);
    }
    assert.ok(answered > 2000, `${answered} were understood`);
  });

  it('still answers by UDP and by TCP while it is sent thousands of them', bounds, async () => {
    await using server = await startServer();
    const random = createRandom(seed);
    const client = await server.udp();
    for (let round = 0; round < 10; round += 1) {
      for (let i = 0; i < 300; i += 1) client.send(spoiltPacket(random));
      for (let i = 0; i < 10; i += 1) {
        const socket = server.connect();
        socket.write(spoiltStream(random));
        if (random(2) === 0) socket.end();
        if (random(3) === 0) socket.destroy();
      }
      await assertAnswersByUdp(server);
      await assertAnswersByTcp(server);
    }
    client.close();
  });
});

describe('connections of the DNS server', () => {
  it('may be begun and left in any number: new ones are answered', bounds, async () => {
    await using server = await startServer();
    for (let i = 0; i < 700; i += 1) {
      const socket = server.connect();
      // Half of a length, half of a question, or nothing.
      socket.write(
        [Buffer.from([0]), framed(question(name)).subarray(0, 9), Buffer.alloc(0)][i % 3] ?? Buffer.alloc(0),
      );
      if (i % 100 === 0) await once(socket, 'connect');
    }
    await assertAnswersByTcp(server);
    await assertAnswersByUdp(server);
  });

  it('are not read further when their client takes no answers', bounds, async () => {
    await using server = await startServer();
    const greedy = server.connect();
    await once(greedy, 'connect');
    greedy.pause();
    const questions = Buffer.concat(Array.from({ length: 1000 }, () => framed(question('many.ns.svc.cluster.local'))));
    // 3 kB of answer for each 43 bytes: without an end to it, 300 MB would wait here.
    let written = 0;
    const before = process.memoryUsage().arrayBuffers;
    while (written < 100 && greedy.write(questions)) written += 1;
    for (let i = 0; i < 20; i += 1) {
      await assertAnswersByTcp(server);
      greedy.write(questions);
    }
    assert.ok(process.memoryUsage().arrayBuffers - before < 64 * 1024 ** 2);
  });

  it('carry many questions at once, each with its answer', bounds, async () => {
    await using server = await startServer();
    const socket = server.connect();
    const ids = Array.from({ length: 100 }, (_, id) => id);
    const stream = Buffer.concat(ids.map((id) => framed(question(name, 'A', id))));
    // In pieces that end anywhere.
    for (let at = 0; at < stream.length; at += 97) socket.write(stream.subarray(at, at + 97));
    const seen: number[] = [];
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
        seen.push(rest.readUInt16BE(2));
        rest = rest.subarray(2 + rest.readUInt16BE(0));
      }
      if (seen.length === ids.length) break;
    }
    assert.deepEqual(
      seen.sort((a, b) => a - b),
      ids,
    );
  });
});
