import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decode, encode } from 'dns-packet';
import { pino } from 'pino';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { answerQuery, fitUdp } from '../../../proxy/dns/dns-server.ts';
import { parseNameservers } from '../../../proxy/dns/forward.ts';
import { namedHosts } from '../../../proxy/dns/named-hosts.ts';
import { type ClusterNames, resolveName } from '../../../proxy/dns/resolve-name.ts';

const zone = 'cluster.local';

function service(name: string, spec: Partial<Service['spec']>): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'ns' }, spec };
}

const services = [
  service('web', {
    clusterIP: '10.96.0.7',
    clusterIPs: ['10.96.0.7', 'fd00::7'],
    ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
  }),
  service('db', { clusterIP: 'None', ports: [{ name: 'sql', port: 5432 }] }),
  service('out', { type: 'ExternalName', externalName: 'example.com' }),
  service('alias', { type: 'ExternalName', externalName: 'web.ns.svc.cluster.local' }),
  service('loop', { type: 'ExternalName', externalName: 'loop.ns.svc.cluster.local' }),
];
const slice: EndpointSlice = {
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'db-1', namespace: 'ns', labels: { 'kubernetes.io/service-name': 'db' } },
  addressType: 'IPv4',
  ports: [{ name: 'sql', port: 5432, protocol: 'TCP' }],
  endpoints: [
    { addresses: ['10.244.0.4'], conditions: { ready: true }, hostname: 'db-0' },
    { addresses: ['10.244.0.5'], conditions: { ready: true } },
    { addresses: ['10.244.0.6'], conditions: { ready: false } },
  ],
};
const names: ClusterNames = {
  service: (key) => services.find(({ metadata }) => `${metadata.namespace}/${metadata.name}` === key),
  slices: (key) => (key === 'ns/db' ? [slice] : []),
  serviceByIP: (ip) => services.find(({ spec }) => spec.clusterIPs?.includes(ip)),
  hostsByIP: (ip) => namedHosts([slice], ip),
};

function answers(name: string, type: string): unknown {
  const resolution = resolveName(names, { name, type }, zone);
  return resolution.kind === 'records'
    ? resolution.records.map((record) => `${record.type} ${JSON.stringify(record.data)}`)
    : resolution.kind;
}

describe('resolveName', () => {
  const cases: [string, string, unknown][] = [
    ['web.ns.svc.cluster.local', 'A', ['A "10.96.0.7"']],
    ['WEB.ns.SVC.cluster.local.', 'A', ['A "10.96.0.7"']],
    ['web.ns.svc.cluster.local', 'AAAA', ['AAAA "fd00::7"']],
    ['web.ns.svc.cluster.local', 'TXT', []],
    ['svc.cluster.local', 'A', []],
    ['10-244-0-9.ns.pod.cluster.local', 'A', ['A "10.244.0.9"']],
    ['fd00-244--9.ns.pod.cluster.local', 'AAAA', ['AAAA "fd00:244::9"']],
    ['256-1-1-1.ns.pod.cluster.local', 'A', 'absent'],
    ['4.0.244.10.in-addr.arpa', 'PTR', ['PTR "db-0.db.ns.svc.cluster.local"']],
    ['5.0.244.10.in-addr.arpa', 'PTR', 'outside'],
    [`${'7.0.0.0.'.padEnd(56, '0.')}0.0.d.f.ip6.arpa`, 'PTR', ['PTR "web.ns.svc.cluster.local"']],
    [
      '_http._tcp.web.ns.svc.cluster.local',
      'SRV',
      ['SRV {"priority":0,"weight":100,"port":80,"target":"web.ns.svc.cluster.local"}'],
    ],
    ['_http._udp.web.ns.svc.cluster.local', 'SRV', 'absent'],
    ['db.ns.svc.cluster.local', 'A', ['A "10.244.0.4"', 'A "10.244.0.5"']],
    ['db-0.db.ns.svc.cluster.local', 'A', ['A "10.244.0.4"']],
    ['10-244-0-5.db.ns.svc.cluster.local', 'A', ['A "10.244.0.5"']],
    ['db-9.db.ns.svc.cluster.local', 'A', 'absent'],
    ['out.ns.svc.cluster.local', 'A', ['CNAME "example.com"']],
    ['absent.ns.svc.cluster.local', 'A', 'absent'],
    ['ns.svc.cluster.local', 'A', 'absent'],
    ['10-244-0-9.ns.pod.cluster.local', 'A', ['A "10.244.0.9"']],
    ['dns-version.cluster.local', 'TXT', ['TXT "1.1.0"']],
    ['7.0.96.10.in-addr.arpa', 'PTR', ['PTR "web.ns.svc.cluster.local"']],
    ['1.1.1.1.in-addr.arpa', 'PTR', 'outside'],
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
      ],
    );
  });
});

describe('answerQuery', () => {
  const options = { zone, names, nameservers: async () => [], logger: pino({ level: 'silent' }) };
  const query = (name: string, type = 'A') =>
    encode({ id: 7, type: 'query', flags: 0x100, questions: [{ name, type }] });

  it('answers with authority', async () => {
    const answer = decode((await answerQuery(query('web.ns.svc.cluster.local'), options)) ?? Buffer.alloc(0));
    assert.equal(answer.id, 7);
    assert.equal(answer.rcode, 'NOERROR');
    assert.deepEqual(
      answer.answers?.map(({ data }) => data),
      ['10.96.0.7'],
    );
  });

  it('answers an alias with what it stands for', async () => {
    const ask = async (name: string) => {
      const answer = decode((await answerQuery(query(`${name}.ns.svc.cluster.local`), options)) ?? Buffer.alloc(0));
      return answer.answers?.map(({ type, data }) => `${type} ${String(data)}`);
    };
    assert.deepEqual(await ask('alias'), ['CNAME web.ns.svc.cluster.local', 'A 10.96.0.7']);
    assert.deepEqual(await ask('out'), ['CNAME example.com']);
    assert.ok(((await ask('loop')) ?? []).length < 20);
  });

  it('says that a name is not there, and for how long that holds', async () => {
    const answer = decode((await answerQuery(query('absent.ns.svc.cluster.local'), options)) ?? Buffer.alloc(0));
    assert.equal(answer.rcode, 'NXDOMAIN');
    assert.equal(answer.authorities?.[0]?.type, 'SOA');
  });

  it('fails for outside names when the machine has no resolver', async () => {
    const answer = decode((await answerQuery(query('example.com'), options)) ?? Buffer.alloc(0));
    assert.equal(answer.rcode, 'SERVFAIL');
  });

  it('is silent on what is not DNS, and on answers', async () => {
    assert.equal(await answerQuery(Buffer.from('GET / HTTP/1.1'), options), undefined);
    assert.equal(
      await answerQuery(encode({ id: 1, type: 'response', questions: [{ name: 'a', type: 'A' }] }), options),
      undefined,
    );
  });

  it('cuts an answer that does not fit into a datagram', () => {
    const asked = query('big.example.com');
    const records = Array.from({ length: 60 }, (_, i) => ({
      name: 'big.example.com',
      type: 'A',
      ttl: 5,
      data: `10.0.0.${i}`,
    }));
    const big = encode({
      id: 7,
      type: 'response',
      questions: [{ name: 'big.example.com', type: 'A' }],
      answers: records,
    });
    const cut = fitUdp(asked, big);
    assert.ok(cut.length <= 512);
    assert.equal(((decode(cut).flags ?? 0) & 0x200) !== 0, true);
    assert.equal(fitUdp(asked, asked), asked);
  });
});

describe('parseNameservers', () => {
  it('takes the servers and nothing else', () => {
    assert.deepEqual(
      parseNameservers('# c\nsearch x\nnameserver 192.0.2.53\nnameserver fd00::53\nnameserver bogus\n'),
      ['192.0.2.53', 'fd00::53'],
    );
  });
});
