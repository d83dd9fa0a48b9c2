import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { selectMountsBelow } from '../../../cli/down/mounts.ts';
import { hasSysResource } from '../../../cli/up/check-machine.ts';
import { clusterDnsIP } from '../../../cli/up/cluster-dns.ts';
import { computeLayout } from '../../../cli/up/layout.ts';
import { planLinkRules, planNodeLinks } from '../../../cli/up/node-network.ts';
import { agentSpec, controlPlaneSpec } from '../../../cli/up/process-specs.ts';
import { isAlive, processStartTime, recordProcess } from '../../../cli/up/run-state.ts';
import { renderTemplate } from '../../../cli/up/write-node-files.ts';

describe('computeLayout', () => {
  it('keeps the first node in the host namespace and gives others one each', () => {
    const { nodes } = computeLayout({ instance: 'berth', hostname: 'vm', nodeCount: 3 });
    assert.deepEqual(
      nodes.map(({ name, netns }) => [name, netns]),
      [
        ['vm', undefined],
        ['vm-2', 'berth-2'],
        ['vm-3', 'berth-3'],
      ],
    );
  });

  it('gives every node a cgroup root of its own', () => {
    const { nodes } = computeLayout({ instance: 'berth', hostname: 'vm', nodeCount: 2 });
    assert.deepEqual(
      nodes.map(({ cgroupRoot }) => cgroupRoot),
      ['/', '/berth-2'],
    );
    assert.equal(computeLayout({ instance: 'other', hostname: 'vm', nodeCount: 1 }).nodes[0]?.cgroupRoot, '/other-1');
  });

  it('keeps two instances apart in every path', () => {
    const paths = (instance: string) => {
      const { nodes, ...cluster } = computeLayout({ instance, hostname: 'vm', nodeCount: 1 });
      return [...Object.values(cluster), ...Object.values(nodes[0] ?? {})].filter(
        (value) => typeof value === 'string' && value.startsWith('/'),
      );
    };
    const other = new Set(paths('b'));
    assert.deepEqual(
      paths('a').filter((path) => other.has(path)),
      [],
    );
  });

  it('stays within the kernel limits for interface names and socket paths', () => {
    const { nodes, linkBridge } = computeLayout({ instance: 'a'.repeat(21), hostname: 'node', nodeCount: 9 });
    for (const name of [linkBridge, ...nodes.map(({ podBridge }) => podBridge)]) assert.ok(name.length <= 15, name);
    for (const { containerdSocket } of nodes) assert.ok(containerdSocket.length < 108, containerdSocket);
  });
});

describe('planNodeLinks', () => {
  const layout = computeLayout({ instance: 'berth', hostname: 'vm', nodeCount: 2 });

  it('joins the second node to the bridge and routes it through the first', () => {
    const lines = planNodeLinks(layout).map(({ node, args }) => `${node?.name ?? 'host'}: ${args.join(' ')}`);
    assert.deepEqual(lines, [
      'host: link add berth-link type bridge',
      'host: addr replace 10.245.0.1/24 dev berth-link',
      'host: link set berth-link up',
      'host: netns add berth-2',
      'host: link add berth-v2 type veth peer name eth0 netns berth-2',
      'host: link set berth-v2 master berth-link up',
      'vm-2: link set lo up',
      'vm-2: addr replace 10.245.0.2/24 dev eth0',
      'vm-2: link set eth0 up',
      'vm-2: route add default via 10.245.0.1',
    ]);
  });
});

describe('a cluster of both families', () => {
  const layout = computeLayout({
    instance: 'berth',
    hostname: 'vm',
    nodeCount: 2,
    podCidrs: ['10.244.0.0/16', 'fd00:10:244::/56'],
    serviceCidrs: ['10.97.0.0/16', 'fd00:10:96::/112'],
  });

  it('gives links between nodes addresses of both', () => {
    const lines = planNodeLinks(layout).map(({ args }) => args.join(' '));
    assert.ok(lines.includes('addr replace fd00:10:245::1/64 dev berth-link nodad'));
    assert.ok(lines.includes('addr replace fd00:10:245::2/64 dev eth0 nodad'));
    assert.ok(lines.includes('route add default via fd00:10:245::1'));
  });

  it('lets nodes out under the address of the first, and nothing that stays inside', () => {
    const rules = planLinkRules(layout, 'IPv4').split('\n').slice(2, 5);
    assert.deepEqual(rules, [
      '-A BERTH-LINKS-NAT -d 10.245.0.0/24 -j RETURN',
      '-A BERTH-LINKS-NAT -d 10.244.0.0/16 -j RETURN',
      '-A BERTH-LINKS-NAT -s 10.245.0.0/24 -m comment --comment "nodes leaving the machine" -j MASQUERADE',
    ]);
    assert.match(planLinkRules(layout, 'IPv6'), /-A BERTH-LINKS-NAT -d fd00:10:245::\/64 -j RETURN/);
  });

  it('answers DNS at the tenth address of its services', () => {
    assert.equal(clusterDnsIP(layout), '10.97.0.10');
  });
});

describe('process specs', () => {
  const layout = computeLayout({ instance: 'berth', hostname: 'vm', nodeCount: 2 });
  const options = { layout, berth: '/opt/berth', nodeIP: '192.0.2.2', apiPort: 6443, store: undefined, env: {} };

  it('run the second node inside its namespace', () => {
    const [, second] = layout.nodes;
    assert.ok(second);
    const { file, args } = agentSpec(options, second, ['10.245.0.2']);
    assert.equal(file, 'nsenter');
    assert.deepEqual(args.slice(0, 3), ['--net=/run/netns/berth-2', '/opt/berth', 'agent']);
    assert.ok(args.includes('--node-ip=10.245.0.2'));
  });

  it('hand the configuration of the scheduler on', () => {
    const args = controlPlaneSpec({ ...options, schedulerConfig: '/etc/scheduler.yaml' }).args;
    assert.ok(args.includes('--scheduler-config=/etc/scheduler.yaml'));
    assert.equal(
      controlPlaneSpec(options).args.some((arg) => arg.startsWith('--scheduler-config')),
      false,
    );
  });

  it('hand the store on only when one was chosen', () => {
    assert.equal(
      controlPlaneSpec(options).args.some((arg) => arg.startsWith('--store')),
      false,
    );
    assert.ok(
      controlPlaneSpec({ ...options, store: 'etcd=http://127.0.0.1:2379' }).args.includes(
        '--store=etcd=http://127.0.0.1:2379',
      ),
    );
  });
});

describe('renderTemplate', () => {
  it('fills in every name', () => {
    assert.equal(renderTemplate('root = "@root@", again @root@', { root: '/x' }), 'root = "/x", again /x');
  });

  it('refuses a name it has no value for', () => {
    assert.throws(() => renderTemplate('@missing@', {}), /no value for @missing@/);
  });
});

describe('hasSysResource', () => {
  it('reads the capability from the effective set', () => {
    assert.equal(hasSysResource('CapInh:\t0\nCapEff:\t000001ffffffffff\n'), true);
    assert.equal(hasSysResource('CapEff:\t000001fffeffffff\n'), false);
    assert.equal(hasSysResource(''), false);
  });
});

describe('selectMountsBelow', () => {
  const line = (point: string) => `36 35 98:0 / ${point} rw,noatime shared:1 - tmpfs tmpfs rw`;

  it('answers the mounts of the folders, innermost first, and no neighbours', () => {
    const text = [line('/run/berth'), line('/run/berth/a'), line('/run/berth-2'), line('/run')].join('\n');
    assert.deepEqual(selectMountsBelow(text, ['/run/berth']), ['/run/berth/a', '/run/berth']);
  });

  it('decodes escaped blanks', () => {
    assert.deepEqual(selectMountsBelow(line('/run/berth/a\\040b'), ['/run/berth']), ['/run/berth/a b']);
  });
});

describe('process records', () => {
  it('tell a process from another with the same id', () => {
    const own = recordProcess('self', process.pid);
    assert.equal(isAlive(own), true);
    assert.equal(isAlive({ ...own, startTime: '1' }), false);
    assert.equal(processStartTime(2 ** 22 + 1), undefined);
  });
});
