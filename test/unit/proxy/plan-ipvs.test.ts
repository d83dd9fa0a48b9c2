import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseConnections, parseServers, parseSets } from '../../../proxy/apply/ipvs.ts';
import { networkOf } from '../../../proxy/model/cidr.ts';
import type { PortState } from '../../../proxy/model/service-state.ts';
import { createClaimLedger } from '../../../proxy/plan/claim-ledger.ts';
import { planLocalTraffic } from '../../../proxy/plan/iptables/local-traffic.ts';
import { createSetLine, ipSetNames, kernelSetName } from '../../../proxy/plan/ipvs/ip-sets.ts';
import { compareWithKernel, isOwn, type KernelState } from '../../../proxy/plan/ipvs/ownership.ts';
import { planBase } from '../../../proxy/plan/ipvs/plan-base.ts';
import { planChange } from '../../../proxy/plan/ipvs/plan-change.ts';
import { planService } from '../../../proxy/plan/ipvs/plan-service.ts';
import { type IpvsItem, ipvsClaims, parseServiceArgument, type VirtualServer } from '../../../proxy/plan/ipvs/rules.ts';
import { recordedStates } from '../../support/proxy-recordings.ts';

const options = {
  scheduler: 'rr',
  nodePortAddresses: ['192.0.2.10'],
  ownAddresses: new Set(['192.0.2.10', '198.51.100.9']),
  nodeIPs: ['192.0.2.10'],
};

/** What is planned for a service of a recording, in words. */
function plan(recording: string, service: string, changed: Partial<typeof options> = {}): string[] {
  const states = [...(recordedStates(recording, 'IPv4').get(service)?.values() ?? assert.fail(service))];
  return states.flatMap((state) => describeItems(state, changed));
}

function describeItems({ port, endpoints }: PortState, changed: Partial<typeof options> = {}): string[] {
  return planService(port, endpoints, { ...options, ...changed }).items.map((item) => {
    if (item.kind === 'server')
      return `${item.service} ${item.options} -> ${[...item.realServers.keys()].join(' ')}`.trim();
    return item.kind === 'address' ? `address ${item.address}` : `${item.set} ${item.entry}`;
  });
}

function stateOf(recording: string, service: string): PortState {
  const [state] = recordedStates(recording, 'IPv4').get(service)?.values() ?? [];
  return state ?? assert.fail(service);
}

function withPort(state: PortState, port: Partial<PortState['port']>, endpoints: Partial<PortState['endpoints']> = {}) {
  return { port: { ...state.port, ...port }, endpoints: { ...state.endpoints, ...endpoints } };
}

const server = (service: string, weights: Record<string, number>, flags = '-s rr'): VirtualServer => ({
  kind: 'server',
  service,
  options: flags,
  realServers: new Map(Object.entries(weights)),
});

describe('planService in ipvs', () => {
  const web = stateOf('cluster-ip', 'demo/web');
  const addresses = web.endpoints.cluster.map(({ address }) => address).join(' ');

  it('gives a cluster IP a virtual server, an address and its place in the sets', () => {
    const items = describeItems(web);
    assert.ok(items.includes(`-t ${web.port.clusterIP}:${web.port.port} -s rr -> ${addresses}`), items.join('\n'));
    assert.ok(items.includes(`address ${web.port.clusterIP}`));
    assert.ok(items.includes(`IPVS-IPS ${web.port.clusterIP}`));
    assert.ok(items.includes(`CLUSTER-IP ${web.port.clusterIP},tcp:${web.port.port}`));
  });

  it('turns session affinity into persistence, and has the port in the hash of scheduler mh', () => {
    const sticky = describeItems(withPort(web, { affinitySeconds: 90 }), { scheduler: 'mh' });
    assert.ok(
      sticky.some((item) => item.includes(' -s mh -p 90 -b mh-port -> ')),
      sticky.join('\n'),
    );
  });

  it('serves node ports on each address of the node', () => {
    const items = describeItems(withPort(web, { nodePort: 30080 }), { nodePortAddresses: ['192.0.2.10', '10.0.0.1'] });
    for (const ip of ['192.0.2.10', '10.0.0.1']) assert.ok(items.includes(`-t ${ip}:30080 -s rr -> ${addresses}`));
    assert.ok(items.includes('NODE-PORT-TCP 30080'));
    assert.ok(!items.includes('address 192.0.2.10'), 'the node has it');
  });

  it('names node ports of SCTP with their addresses', () => {
    const items = describeItems(withPort(web, { nodePort: 30080, protocol: 'SCTP', externalLocal: true }));
    assert.ok(items.includes('NODE-PORT-SCTP-HASH 192.0.2.10,sctp:30080'));
    assert.ok(items.includes('NODE-PORT-LOCAL-SCTP-HASH 192.0.2.10,sctp:30080'));
    assert.ok(items.some((item) => item.startsWith('--sctp-service 192.0.2.10:30080 ')));
  });

  it('leaves an external IP on the interface that has it', () => {
    const items = describeItems(withPort(web, { externalIPs: ['198.51.100.9', '198.51.100.10'] }));
    assert.ok(!items.includes('address 198.51.100.9'));
    assert.ok(items.includes('address 198.51.100.10'));
    assert.ok(items.includes('EXTERNAL-IP 198.51.100.9,tcp:80'));
  });

  it('lets source ranges through to a load balancer address, and the node where it is in one of them', () => {
    const port = { loadBalancerVIPs: ['203.0.113.1'], sourceRanges: ['192.0.2.77/24', '198.51.100.7/32'] };
    const items = describeItems(withPort(web, port));
    assert.ok(items.includes('LOAD-BALANCER-FW 203.0.113.1,tcp:80'));
    assert.ok(items.includes('LOAD-BALANCER-SOURCE-CIDR 203.0.113.1,tcp:80,192.0.2.0/24'));
    assert.ok(items.includes('LOAD-BALANCER-SOURCE-CIDR 203.0.113.1,tcp:80,198.51.100.7'));
    assert.ok(items.includes('LOAD-BALANCER-SOURCE-IP 203.0.113.1,tcp:80,203.0.113.1'));
    const all = describeItems(withPort(web, { ...port, sourceRanges: ['0.0.0.0/0'] }));
    assert.ok(all.includes('LOAD-BALANCER-SOURCE-CIDR 203.0.113.1,tcp:80,128.0.0.0/1'), 'sets hold no /0');
  });

  it('has no endpoint and a drop under a local internal policy without one here', () => {
    const items = describeItems(withPort(web, { internalLocal: true }, { local: [] }));
    assert.ok(items.includes(`-t ${web.port.clusterIP}:80 -s rr ->`), items.join('\n'));
    assert.ok(items.includes(`NO-LOCAL-INTERNAL ${web.port.clusterIP},tcp:80`));
  });

  it('keeps the endpoints of the cluster for clients inside under a local external policy without one here', () => {
    const port = { externalLocal: true, loadBalancerVIPs: ['203.0.113.1'] };
    const items = describeItems(withPort(web, port, { local: [] }));
    assert.ok(items.includes(`-t 203.0.113.1:80 -s rr -> ${addresses}`));
    assert.ok(items.includes('NO-LOCAL-EXTERNAL 203.0.113.1,tcp:80'));
    assert.ok(items.includes('LOAD-BALANCER-LOCAL 203.0.113.1,tcp:80'));
  });

  it('knows the health check node port and the pods here that may reach themselves', () => {
    const items = plan('load-balancer', 'demo/lb-local');
    assert.ok(
      items.some((item) => item.startsWith('HEALTH-CHECK-NODE-PORT ')),
      items.join('\n'),
    );
    assert.ok(items.some((item) => /^LOOP-BACK (\S+),tcp:\d+,\1$/.test(item)));
  });
});

describe('planChange in ipvs', () => {
  const service = '-t 10.96.0.1:80';
  const change = (removed: IpvsItem[], added: IpvsItem[]) => planChange('IPv4', { removed, added });

  it('adds a new endpoint before it stops sending to an old one', () => {
    const { servers, draining } = change([server(service, { a: 1, b: 1 })], [server(service, { b: 1, c: 1 })]);
    assert.deepEqual(servers, [`-a ${service} -r c -m -w 1`, `-e ${service} -r a -m -w 0`]);
    assert.deepEqual(draining, [{ service, realServer: 'a' }]);
  });

  it('takes back an endpoint that is being drained', () => {
    const { servers, draining } = change([server(service, { a: 0, b: 1 })], [server(service, { a: 1, b: 1 })]);
    assert.deepEqual(servers, [`-e ${service} -r a -m -w 1`]);
    assert.deepEqual(draining, []);
  });

  it('deletes endpoints of UDP at once', () => {
    const udp = '-u 10.96.0.1:53';
    assert.deepEqual(change([server(udp, { a: 1 })], [server(udp, {})]).servers, [`-d ${udp} -r a`]);
  });

  it('changes the options of a virtual server in place', () => {
    const after = server(service, { a: 1 }, '-s rr -p 60');
    assert.deepEqual(change([server(service, { a: 1 })], [after]).servers, [`-E ${service} -s rr -p 60`]);
  });

  it('adds and removes whole services', () => {
    assert.deepEqual(change([], [server(service, { a: 1 })]).servers, [
      `-A ${service} -s rr`,
      `-a ${service} -r a -m -w 1`,
    ]);
    assert.deepEqual(change([server(service, { a: 1 })], []).servers, [`-D ${service}`]);
  });

  it('writes addresses and entries of its family', () => {
    const entry: IpvsItem = { kind: 'entry', set: 'CLUSTER-IP', entry: 'fd00::1,tcp:80' };
    const address: IpvsItem = { kind: 'address', address: 'fd00::1' };
    const added = planChange('IPv6', { removed: [], added: [entry, address] });
    assert.deepEqual(added.entriesAdded, ['add KUBE-6-CLUSTER-IP fd00::1,tcp:80']);
    assert.deepEqual(added.addresses, ['address replace fd00::1/128 dev kube-ipvs0']);
    const removed = planChange('IPv6', { removed: [entry, address], added: [] });
    assert.deepEqual(removed.entriesRemoved, ['del KUBE-6-CLUSTER-IP fd00::1,tcp:80']);
  });
});

describe('what the kernel has', () => {
  const state: KernelState = {
    servers: parseServers(
      [
        '-A -t 10.96.0.1:80 -s rr -p 60',
        '-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 1',
        '-a -t 10.96.0.1:80 -r 10.244.0.2:8080 -m -w 0',
        '-A -t 192.0.2.10:30080 -s rr',
        '-A -t 192.0.2.10:25 -s wlc',
        '-a -t 192.0.2.10:25 -r 192.0.2.99:25 -g -w 5',
        '-A -t 10.9.0.1:80 -s rr',
        '-A -f 7 -s rr',
      ].join('\n'),
    ),
    addresses: new Set(['10.96.0.1', '10.9.0.1']),
    entries: parseSets(
      'create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\nadd KUBE-NODE-PORT-TCP 30080\nadd OTHER 25\n',
      'IPv4',
    ),
  };
  const owned = state.servers.filter((found) => isOwn(found, state, ['10.9.0.0/16'])).map(({ service }) => service);

  it('is the proxy’s at addresses of services and at noted node ports, and nobody else’s', () => {
    assert.deepEqual(owned, ['-t 10.96.0.1:80', '-t 192.0.2.10:30080']);
  });

  it('is compared with what is wanted, weights and all', () => {
    const wanted = server('-t 10.96.0.1:80', { '10.244.0.1:8080': 1 }, '-s rr -p 60');
    const { removed, added } = compareWithKernel(state, [wanted, { kind: 'address', address: '10.96.0.1' }], []);
    assert.deepEqual(added, [wanted]);
    assert.deepEqual(
      removed.map((item) => ipvsClaims.identity(item)),
      ['-t 10.96.0.1:80', '-t 192.0.2.10:30080', '-t 10.9.0.1:80', '10.9.0.1', 'NODE-PORT-TCP 30080'],
    );
  });

  it('tells connections by virtual and real server', () => {
    const text = [
      'Prot LocalAddress:Port Scheduler Flags',
      '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn',
      'TCP  10.96.0.1:80 rr persistent 60',
      '  -> 10.244.0.1:8080              Masq    0      3          4         ',
    ].join('\n');
    assert.deepEqual([...parseConnections(text)], [['-t 10.96.0.1:80 10.244.0.1:8080', 7]]);
  });

  it('names virtual servers of all protocols and both families', () => {
    assert.deepEqual(parseServiceArgument('--sctp-service [fd00::1]:80'), {
      protocol: 'SCTP',
      address: 'fd00::1',
      port: 80,
    });
    assert.equal(parseServiceArgument('-f 7'), undefined);
  });
});

describe('names and numbers of ipvs', () => {
  it('fit into what the kernel takes', () => {
    for (const set of ipSetNames) {
      for (const family of ['IPv4', 'IPv6'] as const) assert.ok(kernelSetName(set, family).length <= 31);
    }
    const unique = new Set(ipSetNames.map((set) => kernelSetName(set, 'IPv6')));
    assert.equal(unique.size, ipSetNames.length);
    assert.equal(kernelSetName('CLUSTER-IP', 'IPv6'), 'KUBE-6-CLUSTER-IP');
    assert.match(createSetLine('CLUSTER-IP', 'IPv6'), / hash:ip,port family inet6 hashsize 1024 maxelem 65536$/);
  });

  const networks: [string, string][] = [
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3/32', '10.1.2.3'],
    ['fd00:1:2:3::9/48', 'fd00:1:2::/48'],
    ['FD00::9/128', 'fd00::9'],
  ];
  for (const [given, expected] of networks) {
    it(`writes ${given} as ${expected}`, () => assert.equal(networkOf(given), expected));
  }

  it('masquerade by where traffic comes from, by a mark, and everything where that is wanted', () => {
    const base = { family: 'IPv4' as const, masqueradeBit: 14, masqueradeAll: false, randomFully: true };
    const localTraffic = planLocalTraffic({ mode: 'ClusterCIDR', cidrs: ['10.244.0.0/16'] }, 'IPv4');
    const services = (changed: object) =>
      planBase({ ...base, localTraffic, ...changed })
        .chains.nat.get('KUBE-SERVICES')
        ?.find((rule) => /CLUSTER-IP .*-j KUBE-MARK-MASQ/.test(rule));
    assert.match(services({}) ?? '', /^! -s 10\.244\.0\.0\/16 .* dst,dst /);
    assert.match(services({ masqueradeAll: true }) ?? '', /^-m set --match-set KUBE-CLUSTER-IP dst,dst /);
    assert.match(services({ localTraffic: undefined }) ?? '', /KUBE-CLUSTER-IP src,dst /);
  });

  it('give something that two ports want to the first by name, and on when that one goes', () => {
    const ledger = createClaimLedger(ipvsClaims);
    const claim = (owner: string, weights: Record<string, number>) => ({
      owner,
      items: [server('-t 203.0.113.1:80', weights)],
    });
    const a = claim('a', { x: 1 });
    const b = claim('b', { y: 1 });
    ledger.change([{ after: b }]);
    assert.deepEqual(ledger.change([{ after: a }]), { removed: b.items, added: a.items });
    assert.deepEqual(ledger.held(), a.items);
    assert.deepEqual(ledger.change([{ before: a }]), { removed: a.items, added: b.items });
  });
});
