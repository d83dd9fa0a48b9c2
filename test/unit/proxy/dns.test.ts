import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decode, encode, type Packet } from 'dns-packet';
import { pino } from 'pino';
import type { Service } from '#kube/api/generated/core-v1.ts';
import { createResponder } from '../../../proxy/dns/create-responder.ts';
import { udpLimit } from '../../../proxy/dns/encode-answer.ts';
import { asksUs, parseNameservers } from '../../../proxy/dns/nameservers.ts';
import { resolveName } from '../../../proxy/dns/resolve-name.ts';
import { createDnsNames } from '../../support/dns-cluster.ts';

const zone = 'cluster.local';
const names = createDnsNames();
const srv = (port: number, target: string) =>
  `SRV ${JSON.stringify({ priority: 0, weight: 100, port, target: `${target}.ns.svc.cluster.local` })}`;

function answers(name: string, type: string): unknown {
  const resolution = resolveName(names, { name, type }, zone);
  return resolution.kind === 'records'
    ? resolution.records.map((record) => `${record.type} ${JSON.stringify(record.data)}`)
    : resolution.kind;
}

describe('resolveName', () => {
  const cases: [string, string, unknown][] = [
    // 2.2: the version of the schema.
    ['dns-version.cluster.local', 'TXT', ['TXT "1.1.0"']],
    ['x.dns-version.cluster.local', 'TXT', 'absent'],
    // 2.3: services with cluster IPs.
    ['web.ns.svc.cluster.local', 'A', ['A "10.96.0.7"']],
    ['WEB.ns.SVC.cluster.local.', 'A', ['A "10.96.0.7"']],
    ['web.ns.svc.cluster.local', 'AAAA', ['AAAA "fd00::7"']],
    ['plain.ns.svc.cluster.local', 'AAAA', []],
    ['web.ns.svc.cluster.local', 'TXT', []],
    ['web.ns.svc.cluster.local', 'ANY', ['A "10.96.0.7"']],
    ['web-0.web.ns.svc.cluster.local', 'A', 'absent'],
    ['_http._tcp.web.ns.svc.cluster.local', 'SRV', [srv(80, 'web')]],
    ['_dns._udp.web.ns.svc.cluster.local', 'SRV', [srv(53, 'web')]],
    ['_dns-tcp._tcp.web.ns.svc.cluster.local', 'SRV', [srv(53, 'web')]],
    ['_http._udp.web.ns.svc.cluster.local', 'SRV', 'absent'],
    ['_http._tcp.web.ns.svc.cluster.local', 'A', []],
    ['_._tcp.plain.ns.svc.cluster.local', 'SRV', 'absent'],
    ['_tcp.web.ns.svc.cluster.local', 'SRV', []],
    ['_sctp.web.ns.svc.cluster.local', 'SRV', 'absent'],
    ['_tcp.plain.ns.svc.cluster.local', 'SRV', 'absent'],
    ['7.0.96.10.in-addr.arpa', 'PTR', ['PTR "web.ns.svc.cluster.local"']],
    ['7.0.96.10.in-addr.arpa', 'A', []],
    [`${'7.0.0.0.'.padEnd(56, '0.')}0.0.d.f.ip6.arpa`, 'PTR', ['PTR "web.ns.svc.cluster.local"']],
    // 2.4: headless services.
    ['db.ns.svc.cluster.local', 'A', ['A "10.244.0.4"', 'A "10.244.0.5"']],
    ['db.ns.svc.cluster.local', 'AAAA', ['AAAA "fd00:244::4"']],
    ['idle.ns.svc.cluster.local', 'A', 'absent'],
    ['early.ns.svc.cluster.local', 'A', ['A "10.244.0.10"']],
    ['db-0.db.ns.svc.cluster.local', 'A', ['A "10.244.0.4"']],
    ['DB-0.db.ns.svc.cluster.local', 'AAAA', ['AAAA "fd00:244::4"']],
    ['10-244-0-5.db.ns.svc.cluster.local', 'A', ['A "10.244.0.5"']],
    ['10-244-0-6.db.ns.svc.cluster.local', 'A', 'absent'],
    ['db-9.db.ns.svc.cluster.local', 'A', 'absent'],
    ['_sql._tcp.db.ns.svc.cluster.local', 'SRV', [srv(5432, 'db-0.db'), srv(5432, '10-244-0-5.db')]],
    ['_sync._udp.db.ns.svc.cluster.local', 'SRV', [srv(7000, 'db-0.db')]],
    ['_._tcp.db.ns.svc.cluster.local', 'SRV', 'absent'],
    ['4.0.244.10.in-addr.arpa', 'PTR', ['PTR "db-0.db.ns.svc.cluster.local"']],
    ['5.0.244.10.in-addr.arpa', 'PTR', ['PTR "10-244-0-5.db.ns.svc.cluster.local"']],
    ['6.0.244.10.in-addr.arpa', 'PTR', 'outside'],
    ['11.0.244.10.in-addr.arpa', 'PTR', 'outside'],
    // 2.5: aliases.
    ['out.ns.svc.cluster.local', 'A', ['CNAME "example.com"']],
    ['x.out.ns.svc.cluster.local', 'A', 'absent'],
    // 2.6: pods by address.
    ['10-244-0-9.ns.pod.cluster.local', 'A', ['A "10.244.0.9"']],
    ['10-244-0-9.ns.pod.cluster.local', 'AAAA', []],
    ['fd00-244--9.ns.pod.cluster.local', 'AAAA', ['AAAA "fd00:244::9"']],
    ['256-1-1-1.ns.pod.cluster.local', 'A', 'absent'],
    ['web.ns.pod.cluster.local', 'A', 'absent'],
    // Names above others exist without records; what is not there is said to be absent.
    ['cluster.local', 'A', []],
    ['cluster.local', 'NS', ['NS "ns.dns.cluster.local"']],
    ['ns.dns.cluster.local', 'A', ['A "10.96.0.10"']],
    ['svc.cluster.local', 'A', []],
    ['pod.cluster.local', 'A', []],
    ['ns.svc.cluster.local', 'A', []],
    ['nowhere.svc.cluster.local', 'A', 'absent'],
    ['absent.ns.svc.cluster.local', 'A', 'absent'],
    ['other.cluster.local', 'A', 'absent'],
    // Names of others.
    ['1.1.1.1.in-addr.arpa', 'PTR', 'outside'],
    ['96.10.in-addr.arpa', 'PTR', 'outside'],
    ['x.ip6.arpa', 'PTR', 'outside'],
    ['arpa', 'NS', 'outside'],
    ['example.com', 'A', 'outside'],
    ['notcluster.local', 'A', 'outside'],
  ];
  for (const [name, type, expected] of cases) {
    it(`answers ${type} ${name}`, () => assert.deepEqual(answers(name, type), expected));
  }

  it('gives SRV records of a headless service with the addresses they lead to', () => {
    const resolution = resolveName(names, { name: '_sql._tcp.db.ns.svc.cluster.local', type: 'SRV' }, zone);
    assert.equal(resolution.kind, 'records');
    if (resolution.kind !== 'records') return;
    assert.deepEqual(
      resolution.additional.map(({ name, data }) => [name, data]),
      [
        ['db-0.db.ns.svc.cluster.local', '10.244.0.4'],
        ['10-244-0-5.db.ns.svc.cluster.local', '10.244.0.5'],
        ['db-0.db.ns.svc.cluster.local', 'fd00:244::4'],
      ],
    );
  });
});

describe('createResponder', () => {
  const logger = pino({ level: 'silent' });
  const noResolver = () => Promise.reject(new Error('no resolver'));
  const respond = createResponder({ zone: 'Cluster.local.', names, forward: noResolver, logger });
  const flags = 0x100;
  const query = (name: string, type = 'A', rest: Packet = {}) =>
    encode({ id: 7, type: 'query', flags, questions: [{ name, type }], ...rest });
  const edns = (udpPayloadSize: number, ednsVersion = 0) => ({
    additionals: [{ type: 'OPT', name: '.', udpPayloadSize, data: [], options: [], flags: 0, ednsVersion }],
  });
  const askBytes = async (packet: Buffer, limit = udpLimit): Promise<Buffer> => {
    const answer = await respond(packet, limit);
    assert.ok(answer !== undefined);
    return answer;
  };
  const ask = async (name: string, type?: string, rest?: Packet) => decode(await askBytes(query(name, type, rest)));
  const texts = ({ answers: own = [] }: Packet) => own.map(({ type, data }) => `${type} ${String(data)}`);
  const flagsOf = async (packet: Buffer) => (await askBytes(packet)).readUInt16BE(2);

  it('answers with authority', async () => {
    const answer = await ask('web.ns.svc.cluster.local');
    assert.equal(answer.id, 7);
    assert.equal(answer.rcode, 'NOERROR');
    assert.deepEqual(texts(answer), ['A 10.96.0.7']);
    assert.equal(await flagsOf(query('web.ns.svc.cluster.local')), 0x8580);
  });

  it('repeats the letters of the question, also when the answer was made for another', async () => {
    for (const name of ['web.ns.svc.cluster.local', 'wEb.NS.svc.Cluster.locaL']) {
      const answer = await ask(name);
      assert.equal(answer.questions?.[0]?.name, name);
      assert.equal(answer.answers?.[0]?.name, name);
    }
  });

  it('answers every type in a form that others can read', async () => {
    assert.deepEqual(texts(await ask('dns-version.cluster.local', 'TXT')), ['TXT 1.1.0']);
    assert.deepEqual(texts(await ask('web.ns.svc.cluster.local', 'AAAA')), ['AAAA fd00::7']);
    assert.deepEqual(texts(await ask('7.0.96.10.in-addr.arpa', 'PTR')), ['PTR web.ns.svc.cluster.local']);
    assert.deepEqual(texts(await ask('cluster.local', 'NS')), ['NS ns.dns.cluster.local']);
    const soa = (await ask('cluster.local', 'SOA')).answers?.[0]?.data as { minimum: number; rname: string };
    assert.deepEqual([soa.minimum, soa.rname], [5, 'hostmaster.cluster.local']);
    const { answers: own = [], additionals = [] } = await ask('_sql._tcp.db.ns.svc.cluster.local', 'SRV');
    assert.deepEqual(
      own.map(({ data }) => (data as { target: string; port: number }).target),
      ['db-0.db.ns.svc.cluster.local', '10-244-0-5.db.ns.svc.cluster.local'],
    );
    assert.deepEqual(
      additionals.map(({ data }) => data),
      ['10.244.0.4', '10.244.0.5', 'fd00:244::4'],
    );
  });

  it('gives several addresses in turn, each first once', async () => {
    const first = new Set<string | undefined>();
    for (let i = 0; i < 2; i += 1) first.add(texts(await ask('db.ns.svc.cluster.local'))[0]);
    assert.deepEqual([...first].sort(), ['A 10.244.0.4', 'A 10.244.0.5']);
  });

  it('answers an alias with what it stands for', async () => {
    const alias = async (name: string) => texts(await ask(`${name}.ns.svc.cluster.local`));
    assert.deepEqual(await alias('alias'), ['CNAME web.ns.svc.cluster.local', 'A 10.96.0.7']);
    assert.deepEqual((await alias('dotted')).at(-1), 'A 10.96.0.7');
    assert.deepEqual(await alias('out'), ['CNAME example.com']);
    assert.ok((await alias('loop')).length < 4);
    assert.equal((await ask('wrong.ns.svc.cluster.local')).rcode, 'SERVFAIL');
  });

  it('answers an alias of a name outside with what resolvers say of it', async () => {
    const forward = async () =>
      encode({ type: 'response', answers: [{ name: 'example.com', type: 'A', ttl: 9, data: '192.0.2.1' }] });
    const outside = createResponder({ zone, names, forward, logger });
    const answer = await outside(query('out.ns.svc.cluster.local'), udpLimit);
    assert.deepEqual(texts(decode(answer ?? Buffer.alloc(0))), ['CNAME example.com', 'A 192.0.2.1']);
  });

  it('says that a name is not there or has no such records, and for how long that holds', async () => {
    for (const [name, rcode] of [
      ['absent.ns.svc.cluster.local', 'NXDOMAIN'],
      ['plain.ns.svc.cluster.local', 'NOERROR'],
    ] as const) {
      const answer = await ask(name, 'AAAA');
      assert.equal(answer.rcode, rcode);
      assert.deepEqual(answer.answers, []);
      assert.equal(answer.authorities?.[0]?.type, 'SOA');
      assert.equal(answer.authorities?.[0]?.name, zone);
    }
  });

  it('fails for outside names when the machine has no resolver', async () => {
    assert.equal((await ask('example.com')).rcode, 'SERVFAIL');
  });

  it('answers anew when an object has changed', async () => {
    let generation = 0;
    let ip = '10.96.0.1';
    const changing = {
      ...names,
      service: (): Service => ({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'b' },
        spec: { clusterIPs: [ip] },
      }),
      generation: () => generation,
    };
    const own = createResponder({ zone, names: changing, forward: noResolver, logger });
    const address = async () => texts(decode((await own(query('a.b.svc.cluster.local'), udpLimit)) ?? Buffer.alloc(0)));
    assert.deepEqual(await address(), ['A 10.96.0.1']);
    ip = '10.96.0.2';
    generation += 1;
    assert.deepEqual(await address(), ['A 10.96.0.2']);
  });

  it('is silent on what is not DNS, and on answers', () => {
    assert.equal(respond(Buffer.from('GET / HTTP/1.1'), udpLimit), undefined);
    const answer = encode({ id: 1, type: 'response', questions: [{ name: 'a', type: 'A' }] });
    assert.equal(respond(answer, udpLimit), undefined);
  });

  it('refuses what it cannot do with the code that says so', async () => {
    const code = async (change: (packet: Buffer) => void) => {
      const packet = query('web.ns.svc.cluster.local');
      change(packet);
      return (await flagsOf(packet)) & 0xf;
    };
    assert.equal(await code((packet) => packet.writeUInt16BE(2, 4)), 1, 'two questions');
    assert.equal(await code((packet) => packet.writeUInt16BE(0, 4)), 1, 'no question');
    assert.equal(await code((packet) => packet.writeUInt16BE(9, 10)), 1, 'records that are not there');
    assert.equal(await code((packet) => packet.writeUInt16BE(0x2800, 2)), 4, 'an update');
    assert.equal(await code((packet) => packet.writeUInt16BE(3, packet.length - 2)), 5, 'class CHAOS');
  });

  it('has EDNS where the question has, and refuses versions it does not know', async () => {
    const plain = await ask('web.ns.svc.cluster.local');
    assert.deepEqual(plain.additionals, []);
    const extended = await ask('web.ns.svc.cluster.local', 'A', edns(4096));
    assert.equal(extended.additionals?.[0]?.udpPayloadSize, 1232);
    const newer = await askBytes(query('web.ns.svc.cluster.local', 'A', edns(4096, 1)));
    assert.equal(newer[newer.length - 6], 1, 'BADVERS');
  });

  it('cuts an answer that does not fit into a datagram, and gives it whole where there is room', async () => {
    const name = 'many.ns.svc.cluster.local';
    const bytes = await askBytes(query(name));
    assert.ok(bytes.length <= 512);
    assert.equal(bytes.readUInt16BE(2) & 0x200, 0x200);
    assert.equal((await ask(name)).answers?.length, 0);
    assert.equal((await ask(name, 'A', edns(4096))).answers?.length, 200);
    const byTcp = decode(await askBytes(query(name), () => 65_535));
    assert.equal(byTcp.answers?.length, 200);
    assert.equal((byTcp.flags ?? 0) & 0x200, 0);
  });

  it('leaves out addresses beside SRV records before it cuts the answer', async () => {
    const name = '_peer._tcp.many.ns.svc.cluster.local';
    const whole = await askBytes(query(name, 'SRV'), () => 65_535);
    const { answers: own = [], additionals = [] } = decode(whole);
    assert.deepEqual([own.length, additionals.length], [200, 200]);
    const less = decode(await askBytes(query(name, 'SRV'), () => whole.length - 1));
    assert.deepEqual([less.answers?.length, less.additionals?.length, (less.flags ?? 0) & 0x200], [200, 0, 0]);
  });
});

describe('resolvers of the machine', () => {
  it('are the servers of resolv.conf and nothing else', () => {
    assert.deepEqual(
      parseNameservers('# c\nsearch x\nnameserver 192.0.2.53\nnameserver fd00::53\nnameserver bogus\n'),
      ['192.0.2.53', 'fd00::53'],
    );
  });

  it('are not asked where they are this very server, by its address or by its Service', () => {
    const slice = { ports: [{ port: 10053 }], endpoints: [{ addresses: ['192.0.2.2'] }] };
    const own = { ...names, slices: () => [slice as never] };
    const self = asksUs(own, { host: '192.0.2.2', port: 10053 });
    assert.deepEqual(['10.96.0.10', '192.0.2.2', '192.0.2.53'].map(self), [true, false, false]);
    assert.equal(asksUs(names, { host: '192.0.2.2', port: 53 })('192.0.2.2'), true);
    assert.equal(asksUs(names, { host: '0.0.0.0', port: 53 })('127.0.0.1'), true);
  });
});
