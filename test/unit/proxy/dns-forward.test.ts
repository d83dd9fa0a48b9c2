// Questions about names outside the cluster, against resolvers of the test on loopback.
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, it } from 'node:test';
import { decode, encode } from 'dns-packet';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { createAnswerCache } from '../../../proxy/dns/answer-cache.ts';
import { createResponder } from '../../../proxy/dns/create-responder.ts';
import { udpLimit } from '../../../proxy/dns/encode-answer.ts';
import { createForwarder } from '../../../proxy/dns/forward.ts';
import { createDnsNames } from '../../support/dns-cluster.ts';
import { question } from '../../support/dns-fuzzer.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const logger = pino({ level: 'silent' });
const bounds = { timeout: 20_000 };

function answerTo(query: Buffer, { ttl = 10, rcode = 0, addresses = 1 } = {}): Buffer {
  const { id = 0, questions = [] } = decode(query);
  const answers = Array.from({ length: rcode === 0 ? addresses : 0 }, (_, i) => ({
    name: questions[0]?.name ?? '',
    type: 'A',
    ttl,
    data: `192.0.2.${i}`,
  }));
  return encode({ id, type: 'response', flags: 0x180 | rcode, questions, answers });
}

interface Resolvers extends Disposable {
  asked: string[];
  port: number;
  ask(name: string, limit?: typeof udpLimit, id?: number): Promise<Buffer>;
}

/** Resolvers on one port of several loopback addresses, each with a way to answer. */
async function startResolvers(
  ways: Record<string, (query: Buffer) => Buffer[]>,
  byTcp?: (query: Buffer) => Buffer,
  attempts = 10,
): Promise<Resolvers> {
  const sockets: Socket[] = [];
  let port = 0;
  const asked: string[] = [];
  for (const [address, answer] of Object.entries(ways)) {
    const socket = createSocket('udp4');
    socket.bind(port, address);
    await once(socket, 'listening');
    port = socket.address().port;
    socket.on('message', (query, from) => {
      asked.push(address);
      for (const packet of answer(query)) socket.send(packet, from.port, from.address);
    });
    sockets.push(socket);
  }
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      const answer = byTcp?.(chunk.subarray(2)) ?? Buffer.alloc(0);
      socket.end(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 255]), answer]));
    });
  });
  try {
    tcp.listen(port, '127.0.0.1');
    await once(tcp, 'listening');
  } catch (error) {
    // Free for UDP is not free for TCP: then on another port.
    for (const socket of sockets) socket.close();
    if (attempts <= 1) throw error;
    return startResolvers(ways, byTcp, attempts - 1);
  }
  const forward = createForwarder({ nameservers: async () => Object.keys(ways), clock: systemClock, port });
  const respond = createResponder({ zone: 'cluster.local', names: createDnsNames(), forward, logger });
  return {
    asked,
    port,
    ask: async (name: string, limit = udpLimit, id = 7) =>
      (await respond(question(name, 'A', id), limit)) ?? Buffer.alloc(0),
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.close();
      tcp.close();
    },
  };
}

describe('names outside the cluster', () => {
  it('are asked for once, whatever the case of their letters', bounds, async () => {
    using resolvers = await startResolvers({ '127.0.0.1': (query) => [answerTo(query)] });
    const first = decode(await resolvers.ask('example.com', udpLimit, 1));
    const second = decode(await resolvers.ask('EXAMPLE.com', udpLimit, 2));
    assert.deepEqual([first.id, second.id], [1, 2]);
    assert.equal(second.questions?.[0]?.name, 'EXAMPLE.com');
    assert.equal(second.answers?.[0]?.data, '192.0.2.0');
    assert.equal(resolvers.asked.length, 1);
  });

  it(
    'are asked for once while the answer is awaited: a resolver that asks back multiplies nothing',
    bounds,
    async () => {
      const back: { ask?: (name: string) => Promise<Buffer> } = {};
      using resolvers = await startResolvers({
        '127.0.0.1': (query) => {
          void back.ask?.('loop.example.com');
          return resolvers.asked.length > 1 ? [] : [answerTo(query)];
        },
      });
      back.ask = resolvers.ask;
      await Promise.all([resolvers.ask('loop.example.com'), resolvers.ask('loop.example.com')]);
      assert.equal(resolvers.asked.length, 1);
    },
  );

  it('are asked of the next resolver when one refuses, fails or is silent', bounds, async () => {
    using resolvers = await startResolvers({
      '127.0.0.1': (query) => [answerTo(query, { rcode: 2 })],
      '127.0.0.2': (query) => [answerTo(query, { rcode: 5 })],
      '127.0.0.3': () => [],
      '127.0.0.4': (query) => [answerTo(query)],
    });
    assert.equal(decode(await resolvers.ask('a.example.com')).answers?.length, 1);
    // The silent one is asked last now.
    assert.equal(decode(await resolvers.ask('b.example.com')).answers?.length, 1);
    assert.equal(resolvers.asked.filter((address) => address === '127.0.0.3').length, 1);
  });

  it('are refused as the resolvers refuse them when all do', bounds, async () => {
    using resolvers = await startResolvers({ '127.0.0.1': (query) => [answerTo(query, { rcode: 5 })] });
    assert.equal(decode(await resolvers.ask('a.example.com')).rcode, 'REFUSED');
  });

  it('are not answered by packets that answer something else', bounds, async () => {
    using resolvers = await startResolvers({
      '127.0.0.1': (query) => [
        Buffer.from('x'),
        answerTo(question('other.example.com', 'A', query.readUInt16BE(0))),
        answerTo(question('a.example.com', 'A', query.readUInt16BE(0) ^ 1)),
        query,
        answerTo(query),
      ],
    });
    assert.equal(decode(await resolvers.ask('a.example.com')).answers?.[0]?.name, 'a.example.com');
  });

  it('are asked for by TCP when the answer is cut, and cut again for who cannot take it', bounds, async () => {
    const cut = (query: Buffer) => {
      const answer = answerTo(query, { addresses: 0 });
      answer.writeUInt16BE(answer.readUInt16BE(2) | 0x200, 2);
      return [answer];
    };
    using resolvers = await startResolvers({ '127.0.0.1': cut }, (query) => answerTo(query, { addresses: 100 }));
    assert.equal(decode(await resolvers.ask('a.example.com', () => 65_535)).answers?.length, 100);
    const small = await resolvers.ask('a.example.com');
    assert.ok(small.length <= 512);
    assert.equal(small.readUInt16BE(2) & 0x200, 0x200);
  });
});

describe('the cache of answers', () => {
  const query = question('example.com');

  it('gives what is left of the times to live, and forgets when they are over', async () => {
    const clock = createFakeClock();
    const cache = createAnswerCache(clock);
    cache.put('k', answerTo(query, { ttl: 20 }));
    await clock.advance(15_000);
    assert.equal(decode(cache.get('k') ?? Buffer.alloc(0)).answers?.[0]?.ttl, 5);
    await clock.advance(5000);
    assert.equal(cache.get('k'), undefined);
  });

  it('keeps nothing for longer than half a minute', async () => {
    const clock = createFakeClock();
    const cache = createAnswerCache(clock);
    cache.put('k', answerTo(query, { ttl: 3600 }));
    await clock.advance(29_000);
    assert.notEqual(cache.get('k'), undefined);
    await clock.advance(1000);
    assert.equal(cache.get('k'), undefined);
  });

  it('keeps that a name is not there for as long as its zone says', async () => {
    const clock = createFakeClock();
    const cache = createAnswerCache(clock);
    const data = { mname: 'a', rname: 'b', serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 4 };
    const authorities = [{ name: 'com', type: 'SOA', ttl: 900, data }];
    const questions = [{ name: 'no.example.com', type: 'A' }];
    cache.put('k', encode({ type: 'response', flags: 3, questions, authorities }));
    cache.put('without', encode({ type: 'response', flags: 3, questions }));
    assert.equal(cache.get('without'), undefined);
    await clock.advance(3000);
    assert.notEqual(cache.get('k'), undefined);
    await clock.advance(1000);
    assert.equal(cache.get('k'), undefined);
  });

  it('keeps no failures, nothing that is cut or broken, and not more than it has room for', () => {
    const cache = createAnswerCache(createFakeClock());
    cache.put('failed', answerTo(query, { rcode: 2 }));
    cache.put('broken', answerTo(query).subarray(0, -3));
    for (const key of ['failed', 'broken']) assert.equal(cache.get(key), undefined);
    for (let i = 0; i <= 10_000; i += 1) cache.put(`n${i}`, answerTo(query));
    assert.equal(cache.get('n0'), undefined);
    assert.notEqual(cache.get('n10000'), undefined);
    const large = answerTo(query, { addresses: 250 });
    for (let i = 0; i < 5000; i += 1) cache.put(`l${i}`, large);
    assert.equal(cache.get('l0'), undefined, 'what is large is bounded by its bytes');
    assert.notEqual(cache.get('l4999'), undefined);
  });
});
