import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { pino } from 'pino';
import type { Node } from '#kube/api/generated/core-v1.ts';
import type { Exec } from '#kube/process/exec.ts';
import { loadProxyConfig } from '../../../proxy/config/proxy-config.ts';
import { parseRoutes, planRouteChanges } from '../../../proxy/pod-network/kernel-routes.ts';
import { type MachineLink, parseLinks } from '../../../proxy/pod-network/machine-links.ts';
import { type NetworkNode, networkNodeOf } from '../../../proxy/pod-network/network-node.ts';
import { bridgeOf, judgeCniFile, planCniConfig } from '../../../proxy/pod-network/plan-cni.ts';
import { planRoutes, vxlanMac } from '../../../proxy/pod-network/plan-routes.ts';
import { createPodNetwork } from '../../../proxy/pod-network/pod-network.ts';
import { planPodRules } from '../../../proxy/pod-network/pod-rules.ts';
import { parseVxlan, planDevice, planEntries } from '../../../proxy/pod-network/vxlan.ts';
import { eventually } from '../../support/eventually.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createHandFedInformer } from '../../support/hand-fed-informer.ts';

const node = (name: string, podCIDRs: string[], addresses: string[]): NetworkNode => ({ name, podCIDRs, addresses });
const link = (name: string, addresses: string[], mtu = 1500, master?: string): MachineLink => ({
  name,
  mtu,
  master,
  addresses: addresses.map((text) => {
    const [address = '', length = ''] = text.split('/');
    return { address, prefixLength: Number(length) };
  }),
});

describe('networkNodeOf', () => {
  it('takes internal addresses and ranges, and leaves out what is neither', () => {
    const object: Node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'a' },
      spec: { podCIDRs: ['10.244.1.7/24', 'FD00:244:1::/64', '10.244.1.0/24; reboot'] },
      status: {
        addresses: [
          { type: 'Hostname', address: 'a' },
          { type: 'InternalIP', address: '192.0.2.1' },
          { type: 'ExternalIP', address: '198.51.100.1' },
          { type: 'InternalIP', address: 'FD00::0001' },
          { type: 'InternalIP', address: '192.0.2.1 dev lo' },
        ],
      },
    };
    assert.deepEqual(networkNodeOf(object), {
      name: 'a',
      podCIDRs: ['10.244.1.0/24', 'fd00:244:1::/64'],
      addresses: ['192.0.2.1', 'fd00::1'],
    });
  });

  it('takes the one range of an old node, and none of one that has none yet', () => {
    const bare = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' } };
    assert.deepEqual(networkNodeOf({ ...bare, spec: { podCIDR: '10.244.1.0/24' } }).podCIDRs, ['10.244.1.0/24']);
    assert.deepEqual(networkNodeOf({ ...bare, spec: {} }), { name: 'a', podCIDRs: [], addresses: [] });
  });
});

describe('planRoutes', () => {
  const own = node('a', ['10.244.1.0/24', 'fd00:244:1::/64'], ['192.0.2.1', 'fd00:b::1']);
  const links = [
    link('lo', ['127.0.0.1/8']),
    link('eth0', ['192.0.2.1/24', 'fd00:b::1/64'], 9000),
    link('eth1', ['198.51.100.1/24']),
    link('berth0', ['10.244.1.1/24']),
  ];
  const plan = (others: NetworkNode[], mtu?: number) => planRoutes({ own, others, links, podDevices: ['berth0'], mtu });

  it('goes straight where both nodes are on one link', () => {
    const near = node('b', ['10.244.2.0/24', 'fd00:244:2::/64'], ['192.0.2.2', 'fd00:b::2']);
    assert.deepEqual(plan([own, near]), {
      routes: [
        { destination: '10.244.2.0/24', via: '192.0.2.2', device: 'eth0', onlink: false },
        { destination: 'fd00:244:2::/64', via: 'fd00:b::2', device: 'eth0', onlink: false },
      ],
      vxlan: undefined,
      mtu: 9000,
    });
  });

  it('goes through a tunnel elsewhere, for both families over the first of them', () => {
    const far = node('c', ['10.244.3.0/24', 'fd00:244:3::/64'], ['203.0.113.3', 'fd00:c::3']);
    const { routes, vxlan, mtu } = plan([far]);
    assert.deepEqual(
      routes.map(({ destination, via, device, onlink }) => `${destination} ${via} ${device} ${onlink}`),
      ['10.244.3.0/24 10.244.3.0 berth-vxlan true', 'fd00:244:3::/64 fd00:244:3:: berth-vxlan true'],
    );
    assert.deepEqual(vxlan, {
      mac: vxlanMac('a'),
      local: '192.0.2.1',
      mtu: 8950,
      addresses: ['10.244.1.0', 'fd00:244:1::'],
      peers: [{ mac: vxlanMac('c'), remote: '203.0.113.3', gateways: ['10.244.3.0', 'fd00:244:3::'] }],
    });
    assert.equal(mtu, 8950);
  });

  it('uses the tunnel for the family alone that shares no link', () => {
    const mixed = node('d', ['10.244.4.0/24', 'fd00:244:4::/64'], ['192.0.2.4']);
    const { routes, vxlan } = plan([mixed]);
    assert.deepEqual(
      routes.map(({ device }) => device),
      ['eth0', 'berth-vxlan'],
    );
    assert.deepEqual(vxlan?.peers[0]?.gateways, ['fd00:244:4::']);
  });

  it('does not go straight over a link that the other node does not know as its own', () => {
    const behind = node('e', ['10.244.5.0/24'], ['198.51.100.5']);
    assert.deepEqual(plan([behind]).routes[0]?.device, 'berth-vxlan');
  });

  it('takes 70 bytes for a tunnel over IPv6', () => {
    const six = node('a', ['fd00:244:1::/64'], ['fd00:b::1']);
    const far = node('b', ['fd00:244:2::/64'], ['fd00:d::2']);
    const { mtu, vxlan } = planRoutes({ own: six, others: [far], links, podDevices: [], mtu: undefined });
    assert.deepEqual([mtu, vxlan?.local], [8930, 'fd00:b::1']);
  });

  it('obeys an MTU that was asked for, and assumes one where the link is not found', () => {
    assert.equal(plan([], 1400).mtu, 1400);
    const lost = planRoutes({ own: node('a', [], ['192.0.2.99']), others: [], links, podDevices: [], mtu: undefined });
    assert.equal(lost.mtu, 1500);
  });

  it('leaves out nodes without a range or an address, this node under another name, and ranges that are taken', () => {
    const { routes } = plan([
      node('none', [], ['192.0.2.5']),
      node('nowhere', ['10.244.6.0/24'], []),
      node('again', ['10.244.7.0/24'], ['192.0.2.1']),
      node('thief', ['10.244.1.0/24'], ['192.0.2.6']),
      node('b', ['10.244.2.0/24'], ['192.0.2.2']),
      node('c', ['10.244.2.0/24'], ['192.0.2.3']),
    ]);
    assert.deepEqual(
      routes.map(({ destination, via }) => `${destination} ${via}`),
      ['10.244.2.0/24 192.0.2.2'],
    );
  });

  it('gives every node one address in tunnels, wherever it is computed', () => {
    assert.match(vxlanMac('a'), /^02(:[0-9a-f]{2}){5}$/);
    assert.equal(vxlanMac('a'), vxlanMac('a'));
    assert.notEqual(vxlanMac('a'), vxlanMac('b'));
  });
});

describe('routes in the kernel', () => {
  const wanted = [
    { destination: '10.244.2.0/24', via: '192.0.2.2', device: 'eth0', onlink: false },
    { destination: '10.244.3.0/24', via: '10.244.3.0', device: 'berth-vxlan', onlink: true },
  ];
  const text = JSON.stringify([
    { dst: '10.244.2.0/24', gateway: '192.0.2.2', dev: 'eth0', protocol: '98', flags: [] },
    { dst: '10.244.3.0/24', gateway: '10.244.3.0', dev: 'berth-vxlan', protocol: '98', flags: ['onlink'] },
  ]);

  it('are read as they were written', () => {
    assert.deepEqual(parseRoutes(text), wanted);
    assert.deepEqual(parseRoutes(''), []);
  });

  it('stay as they are where they are right', () => {
    assert.deepEqual(planRouteChanges(wanted, parseRoutes(text)), []);
  });

  it('are deleted, added and replaced, each under our protocol', () => {
    const actual = parseRoutes(text).map((route) => ({
      ...route,
      destination: route.destination.replace('.2.', '.9.'),
    }));
    const moved = wanted.map((route) => ({ ...route, via: '192.0.2.7', device: 'eth0', onlink: false }));
    assert.deepEqual(planRouteChanges(moved, actual), [
      'route del 10.244.9.0/24 proto 98',
      'route add 10.244.2.0/24 via 192.0.2.7 dev eth0 proto 98',
      'route replace 10.244.3.0/24 via 192.0.2.7 dev eth0 proto 98',
    ]);
  });
});

describe('the tunnel', () => {
  const plan = { mac: '02:00:00:00:00:01', local: '192.0.2.1', mtu: 1450, addresses: [], peers: [] };
  const settings = { id: 1, port: 8472 };
  const state = { mac: plan.mac, local: '192.0.2.1', id: 1, port: 8472, mtu: 1450, isUp: true };

  it('is made with what it is to know', () => {
    assert.deepEqual(
      planDevice(plan, settings, undefined).map((args) => args.join(' ')),
      [
        'link add berth-vxlan address 02:00:00:00:00:01 mtu 1450 type vxlan id 1 dstport 8472 local 192.0.2.1 nolearning',
        'link set berth-vxlan addrgenmode none',
        'link set berth-vxlan up',
      ],
    );
  });

  it('is not touched where it is right, changed where it can be, and made anew where it cannot', () => {
    assert.deepEqual(planDevice(plan, settings, state), []);
    assert.deepEqual(planDevice(plan, settings, { ...state, mtu: 1400, isUp: false }).length, 2);
    assert.deepEqual(planDevice(plan, settings, { ...state, port: 4789 })[0], ['link', 'del', 'berth-vxlan']);
  });

  it('is read from what ip says', () => {
    const entry = {
      ifname: 'berth-vxlan',
      mtu: 1450,
      address: plan.mac,
      flags: ['BROADCAST', 'UP'],
      linkinfo: { info_kind: 'vxlan', info_data: { id: 1, local: '192.0.2.1', port: 8472 } },
    };
    assert.deepEqual(parseVxlan(JSON.stringify([{ ...entry, ifname: 'flannel.1' }, entry])), state);
    assert.equal(parseVxlan('[]'), undefined);
  });

  it('knows exactly the nodes that there are', () => {
    const entries = (...pairs: string[]) => pairs.map((pair) => ({ key: pair[0] ?? '', value: pair[1] ?? '' }));
    assert.deepEqual(planEntries(entries('a1', 'b2', 'c3'), entries('a1', 'b9', 'd4')), {
      gone: entries('d4'),
      changed: entries('b2', 'c3'),
    });
  });
});

describe('the rules for pods', () => {
  it('masquerade what leaves all ranges, and let through what comes from them or goes to them', () => {
    const [nat, filter] = planPodRules('IPv4', ['10.244.0.0/16', 'fd00:244::/32', '10.99.0.0/16']);
    assert.deepEqual(nat?.rules, [
      '-A BERTH-POSTROUTING -d 10.244.0.0/16 -m comment --comment "to a pod" -j RETURN',
      '-A BERTH-POSTROUTING -d 10.99.0.0/16 -m comment --comment "to a pod" -j RETURN',
      '-A BERTH-POSTROUTING -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "pods leaving the cluster" -j MASQUERADE --random-fully',
      '-A BERTH-POSTROUTING -s 10.99.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "pods leaving the cluster" -j MASQUERADE --random-fully',
    ]);
    assert.equal(filter?.rules.length, 4);
    assert.deepEqual(planPodRules('IPv6', ['10.244.0.0/16'])[0]?.rules, []);
  });
});

describe('the configuration of network plugins', () => {
  const options = { podCIDRs: ['10.244.1.0/24', 'fd00:244:1::/64'], bridge: 'berth0', ipamDir: '/ipam', mtu: 1450 };

  it('has a range and a default route of each family', () => {
    const [bridge, portmap] = JSON.parse(planCniConfig(options)).plugins;
    assert.deepEqual(bridge.ipam.ranges, [[{ subnet: '10.244.1.0/24' }], [{ subnet: 'fd00:244:1::/64' }]]);
    assert.deepEqual(bridge.ipam.routes, [{ dst: '0.0.0.0/0' }, { dst: '::/0' }]);
    assert.deepEqual([bridge.bridge, bridge.mtu, bridge.ipam.dataDir], ['berth0', 1450, '/ipam']);
    assert.deepEqual(portmap.capabilities, { portMappings: true });
    assert.equal(bridgeOf(planCniConfig(options)), 'berth0');
  });

  const files: [string, string, string][] = [
    ['99-berth.conflist', planCniConfig(options), 'ours'],
    ['98-other.conflist', planCniConfig(options), 'foreign'],
    ['99-berth.conflist', '{"name":"theirs","plugins":[{"type":"calico"}]}', 'foreign'],
    ['10-calico.conflist', '{"name":"calico","plugins":[{"type":"calico"}]}', 'foreign'],
    ['87-podman.conf', '{"type":"bridge"}', 'foreign'],
    ['10-half.conflist', '{"name":"x"', 'foreign'],
    ['200-loopback.conf', '{"type":"loopback"}', 'none'],
    ['10-calico.conflist.bak', '{}', 'none'],
    ['calico-kubeconfig', 'apiVersion: v1', 'none'],
  ];
  for (const [name, text, verdict] of files) {
    it(`takes ${name} with ${text.slice(0, 30).replaceAll('\n', ' ')} for ${verdict}`, () => {
      assert.equal(judgeCniFile(name, text), verdict);
    });
  }
});

describe('a proxy that is told to make the pod network', () => {
  it('refuses to without the ranges of all pods, and names that are none', () => {
    assert.throws(() => loadProxyConfig(['--pod-network']), /needs the ranges of all pods/);
    const ranges = '--cluster-cidr=10.244.0.0/16';
    assert.equal(loadProxyConfig(['--pod-network', ranges]).config.makesPodNetwork, true);
    assert.equal(loadProxyConfig([ranges]).config.makesPodNetwork, false);
    assert.throws(() => loadProxyConfig(['--pod-network-bridge=a b']), /name of an interface/);
    assert.throws(() => loadProxyConfig(['--pod-network-mtu=100']), /1280 or more/);
    assert.throws(() => loadProxyConfig(['--pod-network-vxlan-id=0']), /from 1 to 16777215/);
  });
});

describe('the pod network of a node', () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-pod-network-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  const cniConfDir = join(directory, 'cni');
  const ownFile = join(cniConfDir, '99-berth.conflist');
  for (const name of ['ipv4/ip_forward', 'bridge/bridge-nf-call-iptables', 'bridge/bridge-nf-call-ip6tables']) {
    const path = `net/${name}`;
    mkdirSync(dirname(join(directory, 'proc/sys', path)), { recursive: true });
    writeFileSync(join(directory, 'proc/sys', path), '0\n');
  }
  let mtu = 1500;
  let hasPods = false;
  const commands: string[] = [];
  const exec: Exec = async (file, args) => {
    commands.push([file, ...args].join(' '));
    const answer = (stdout: string, exitCode = 0) => ({ exitCode, stdout, stderr: '' });
    if (args.includes('-S') && args.includes('POSTROUTING')) return answer('');
    if (args.includes('-C') || args.includes('-S')) return answer('', 1);
    if (args.join(' ') === '-j address show') {
      const addr_info = [{ family: 'inet', local: '192.0.2.1', prefixlen: 24, scope: 'global' }];
      const pods = hasPods ? [{ ifname: 'veth0', mtu, master: 'berth0' }] : [];
      return answer(JSON.stringify([{ ifname: 'eth0', mtu, addr_info }, ...pods]));
    }
    return answer('[]');
  };
  const nodes = createHandFedInformer<Node>();
  const show = (podCIDRs: string[]) =>
    nodes.show({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'a' },
      spec: { podCIDRs },
      status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] },
    });
  const { config } = loadProxyConfig(['--cluster-cidr=10.244.0.0/16', `--pod-network-cni-conf-dir=${cniConfDir}`]);
  const clock = createFakeClock();
  const network = createPodNetwork({
    config: config.podNetwork,
    nodeName: 'a',
    nodes: nodes.informer,
    exec,
    clock,
    root: directory,
    metrics: { synced: () => undefined, failed: () => undefined },
    logger: pino({ level: 'silent' }),
  });
  const stop = new AbortController();
  const ended = network.run(stop.signal);
  after(async () => {
    stop.abort();
    await ended;
  });
  /** Lets time pass until something is so. */
  const until = (what: string, look: () => boolean) =>
    eventually(what, async () => {
      if (look()) return true;
      await clock.advance(1000);
      return look();
    });
  const subnets = () => (existsSync(ownFile) ? JSON.parse(readFileSync(ownFile, 'utf8')).plugins[0].ipam.ranges : []);
  const mtuOf = () => JSON.parse(readFileSync(ownFile, 'utf8')).plugins[0].mtu;

  it('waits for the range of the node', async () => {
    await clock.advance(60_000);
    assert.equal(existsSync(ownFile), false);
    show([]);
    await clock.advance(60_000);
    assert.equal(existsSync(ownFile), false);
  });

  it('is configured with the range, and lets the machine forward', async () => {
    show(['10.244.1.0/24']);
    await until('the configuration', () => existsSync(ownFile));
    assert.deepEqual(subnets(), [[{ subnet: '10.244.1.0/24' }]]);
    assert.equal(readFileSync(join(directory, 'proc/sys/net/ipv4/ip_forward'), 'utf8'), '1');
    assert.deepEqual(readdirSync(cniConfDir), ['99-berth.conflist']);
  });

  it('follows a range and a link that change', async () => {
    show(['10.244.7.0/24']);
    await until('the new range', () => JSON.stringify(subnets()).includes('10.244.7.0/24'));
    mtu = 9000;
    await until('the new size', () => mtuOf() === 9000);
  });

  it('keeps what pods use when another network comes, and steps back when they are gone', async () => {
    hasPods = true;
    writeFileSync(join(cniConfDir, '10-calico.conflist'), '{"name":"calico","plugins":[{"type":"calico"}]}');
    const written = readFileSync(ownFile, 'utf8');
    mtu = 1400;
    await clock.advance(120_000);
    assert.equal(readFileSync(ownFile, 'utf8'), written);
    hasPods = false;
    await until('our configuration is gone', () => !existsSync(ownFile));
    assert.deepEqual(readdirSync(cniConfDir), ['10-calico.conflist']);
    commands.length = 0;
    await clock.advance(120_000);
    assert.deepEqual(
      commands.filter((command) => /restore| -A | -D |batch/.test(command)),
      [],
    );
  });

  it('comes back when the other network goes', async () => {
    rmSync(join(cniConfDir, '10-calico.conflist'));
    await until('the configuration', () => existsSync(ownFile));
    assert.equal(mtuOf(), 1400);
  });
});

describe('parseLinks', () => {
  it('takes global addresses and the bridge that an interface hangs on', () => {
    const text = JSON.stringify([
      {
        ifname: 'eth0',
        mtu: 1500,
        addr_info: [
          { family: 'inet', local: '192.0.2.1', prefixlen: 24, scope: 'global' },
          { family: 'inet6', local: 'fe80::1', prefixlen: 64, scope: 'link' },
        ],
      },
      { ifname: 'veth1', mtu: 1450, master: 'berth0', addr_info: [] },
    ]);
    assert.deepEqual(parseLinks(text), [link('eth0', ['192.0.2.1/24']), link('veth1', [], 1450, 'berth0')]);
  });
});
