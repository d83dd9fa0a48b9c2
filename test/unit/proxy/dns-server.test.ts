import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { decode, encode } from 'dns-packet';
import { pino } from 'pino';
import type { Service } from '#kube/api/generated/core-v1.ts';
import { createAnswerCache } from '../../../proxy/dns/answer-cache.ts';
import { answerQuery, createDnsServer, fitUdp } from '../../../proxy/dns/dns-server.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const web: Service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'ns' },
  spec: { clusterIP: '10.96.0.7', clusterIPs: ['10.96.0.7'], ports: [{ name: 'http', port: 80 }] },
};
const options = {
  zone: 'cluster.local',
  names: {
    service: (key: string) => (key === 'ns/web' ? web : undefined),
    slices: () => [],
    serviceByIP: () => undefined,
    hostsByIP: () => [],
  },
  nameservers: async () => [],
  logger: pino({ level: 'silent' }),
};

const question = (name: string, type = 'A', id = 7) =>
  encode({ id, type: 'query', flags: 0x100, questions: [{ name, type }] });

/** Pseudo-random numbers, the same in each run. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48271) % 2147483647;
    return state % below;
  };
}

/** A packet that was one of DNS before it was spoilt, or never was one. */
function spoil(random: (below: number) => number): Buffer {
  const types = ['A', 'AAAA', 'SRV', 'PTR', 'TXT', 'ANY', 'OPT', 'AXFR'];
  const names = ['web.ns.svc.cluster.local', '_http._tcp.web.ns.svc.cluster.local', '7.0.96.10.in-addr.arpa', 'a', '.'];
  if (random(8) === 0) return Buffer.from(Array.from({ length: random(600) }, () => random(256)));
  const packet = question(names[random(names.length)] ?? '', types[random(types.length)] ?? 'A', random(65_536));
  for (let i = random(6); i > 0; i -= 1) packet[random(packet.length)] = random(256);
  const cut = random(4) === 0 ? packet.subarray(0, random(packet.length)) : packet;
  return random(4) === 0
    ? Buffer.concat([cut, Buffer.from(Array.from({ length: random(40) }, () => random(256)))])
    : cut;
}

describe('the DNS server under malformed packets', () => {
  it('answers or is silent, and never fails in another way than by an error of its own', async () => {
    const random = createRandom(2026);
    let answered = 0;
    for (let i = 0; i < 20_000; i += 1) {
      const packet = spoil(random);
      const answer = await answerQuery(packet, options).catch(() => undefined);
      if (answer === undefined) continue;
      answered += 1;
      assert.equal(answer.readUInt16BE(0), packet.readUInt16BE(0), 'the id of the question');
      assert.ok(fitUdp(packet, answer).length <= 65_535);
    }
    assert.ok(answered > 1000, `${answered} were understood`);
  });

  it('still answers by UDP and by TCP when it was sent thousands of them', { timeout: 30_000 }, async () => {
    const probe = createSocket('udp4');
    probe.bind(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address();
    probe.close();
    const stop = new AbortController();
    const server = createDnsServer({ ...options, bind: { host: '127.0.0.1', port } });
    const running = server.run(stop.signal);
    try {
      await server.ready;
      const random = createRandom(9);
      const client = createSocket('udp4');
      client.connect(port, '127.0.0.1');
      await once(client, 'connect');
      for (let i = 0; i < 3000; i += 1) client.send(spoil(random));
      const tcp = connect(port, '127.0.0.1');
      tcp.on('error', () => tcp.destroy());
      for (let i = 0; i < 200; i += 1) tcp.write(spoil(random));
      const heard = Promise.withResolvers<void>();
      client.on('message', (answer) => {
        if (answer.readUInt16BE(0) === 4242 && decode(answer).answers?.[0]?.data === '10.96.0.7') heard.resolve();
      });
      const again = setInterval(() => client.send(question('web.ns.svc.cluster.local', 'A', 4242)), 100);
      await heard.promise;
      clearInterval(again);
      client.close();
      tcp.destroy();
      const clean = connect(port, '127.0.0.1');
      const query = question('web.ns.svc.cluster.local');
      clean.write(Buffer.concat([Buffer.from([query.length >> 8, query.length & 255]), query]));
      const [answer] = (await once(clean, 'data')) as [Buffer];
      assert.equal(decode(answer.subarray(2)).answers?.[0]?.data, '10.96.0.7');
      clean.destroy();
    } finally {
      stop.abort();
      await running;
    }
  });
});

describe('the cache of answers', () => {
  const answerOf = (query: Buffer, ttl: number, rcode = 0) => {
    const { id = 0, questions = [] } = decode(query);
    const answers = [{ name: questions[0]?.name ?? '', type: 'A', ttl, data: '192.0.2.1' }];
    return encode({ id, type: 'response', flags: rcode, questions, ...(rcode === 0 ? { answers } : {}) });
  };

  it('answers the same question under its own id, as long as the records allow', () => {
    const clock = createFakeClock();
    const cache = createAnswerCache(clock);
    const query = question('example.com', 'A', 1);
    cache.put(query, answerOf(query, 10));
    const other = cache.get(question('EXAMPLE.com', 'A', 2));
    assert.equal(other?.readUInt16BE(0), 2);
    assert.equal(cache.get(question('example.com', 'AAAA', 2)), undefined);
  });

  it('forgets an answer when its time is over, and keeps none for longer than half a minute', async () => {
    const clock = createFakeClock();
    const cache = createAnswerCache(clock);
    const query = question('example.com');
    cache.put(query, answerOf(query, 3600));
    await clock.advance(29_000);
    assert.notEqual(cache.get(query), undefined);
    await clock.advance(1000);
    assert.equal(cache.get(query), undefined);
  });

  it('keeps no failures, and not more than it has room for', () => {
    const cache = createAnswerCache(createFakeClock());
    const query = question('example.com');
    cache.put(query, answerOf(query, 60, 2));
    assert.equal(cache.get(query), undefined);
    for (let i = 0; i < 2001; i += 1) {
      const one = question(`n${i}.example.com`);
      cache.put(one, answerOf(one, 60));
    }
    assert.equal(cache.get(question('n0.example.com')), undefined);
    assert.notEqual(cache.get(question('n2000.example.com')), undefined);
  });
});
