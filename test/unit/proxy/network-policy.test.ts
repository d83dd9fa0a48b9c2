import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Namespace, Node, Pod } from '#kube/api/generated/core-v1.ts';
import type { NetworkPolicy, NetworkPolicySpec } from '#kube/api/generated/networking-v1.ts';
import type { Exec } from '#kube/process/exec.ts';
import { createNetworkPolicy } from '../../../proxy/network-policy/network-policy.ts';
import { describePeers, type PeerSpec, peerElements, peerSetName } from '../../../proxy/network-policy/peer-set.ts';
import { planIpBlocks } from '../../../proxy/network-policy/plan-ip-blocks.ts';
import { isolates, planPolicy } from '../../../proxy/network-policy/plan-policy.ts';
import { planDifference, planWhole } from '../../../proxy/network-policy/plan-table.ts';
import { createPolicyApplier, parseLeftovers } from '../../../proxy/network-policy/policy-applier.ts';
import { type PolicyPod, policyPodOf, trimPod } from '../../../proxy/network-policy/policy-pod.ts';
import { createPolicyState, type PolicyTable } from '../../../proxy/network-policy/policy-state.ts';
import { eventually } from '../../support/eventually.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createHandFedInformer } from '../../support/hand-fed-informer.ts';

const policyOf = (spec: NetworkPolicySpec, name = 'p', namespace = 'x'): NetworkPolicy => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace },
  spec,
});
const podOf = (key: string, address: string, more: Partial<PolicyPod> = {}): PolicyPod => {
  const [namespace = ''] = key.split('/');
  return { key, namespace, labels: {}, addresses: [address], ports: [], isLocal: false, ...more };
};

describe('planIpBlocks', () => {
  const cases: [string, Parameters<typeof planIpBlocks>[0], string[], string[]][] = [
    ['a block', [{ cidr: '10.0.0.0/8' }], ['10.0.0.0-10.255.255.255'], []],
    ['one address', [{ cidr: '10.0.0.1/32' }], ['10.0.0.1'], []],
    ['a block with bits of a host', [{ cidr: '10.0.0.7/30' }], ['10.0.0.4-10.0.0.7'], []],
    [
      'a hole in the middle',
      [{ cidr: '10.0.0.0/24', except: ['10.0.0.64/26'] }],
      ['10.0.0.0-10.0.0.63', '10.0.0.128-10.0.0.255'],
      [],
    ],
    ['a hole at the beginning', [{ cidr: '10.0.0.0/24', except: ['10.0.0.0/25'] }], ['10.0.0.128-10.0.0.255'], []],
    ['nothing left', [{ cidr: '10.0.0.0/24', except: ['10.0.0.0/24'] }], [], []],
    [
      'blocks that touch or overlap',
      [{ cidr: '10.0.0.0/24' }, { cidr: '10.0.1.0/24' }, { cidr: '10.0.1.128/25' }],
      ['10.0.0.0-10.0.1.255'],
      [],
    ],
    [
      'a hole of one that another fills',
      [{ cidr: '10.0.0.0/24', except: ['10.0.0.0/25'] }, { cidr: '10.0.0.0/26' }],
      ['10.0.0.0-10.0.0.63', '10.0.0.128-10.0.0.255'],
      [],
    ],
    [
      'all addresses',
      [{ cidr: '0.0.0.0/0' }, { cidr: '::/0' }],
      ['0.0.0.0-255.255.255.255'],
      ['::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ],
    ['both families', [{ cidr: '10.0.0.0/32' }, { cidr: 'FD00::/127' }], ['10.0.0.0'], ['fd00::-fd00::1']],
    ['what is no block', [{ cidr: '10.0.0.0/33' }, { cidr: 'drop' }], [], []],
  ];
  for (const [title, blocks, four, six] of cases) {
    it(`writes ${title}`, () => {
      assert.deepEqual(planIpBlocks(blocks, 'IPv4'), four);
      assert.deepEqual(planIpBlocks(blocks, 'IPv6'), six);
    });
  }
});

describe('the directions that a policy isolates', () => {
  const cases: [NetworkPolicySpec, string][] = [
    [{}, 'ingress'],
    [{ egress: [{}] }, 'ingress egress'],
    [{ policyTypes: ['Egress'] }, 'egress'],
    [{ policyTypes: ['Ingress'], egress: [{}] }, 'ingress'],
    [{ policyTypes: ['Ingress', 'Egress'] }, 'ingress egress'],
  ];
  for (const [spec, expected] of cases) {
    it(`are ${expected} for ${JSON.stringify(spec)}`, () => {
      const found = (['ingress', 'egress'] as const).filter((direction) => isolates(policyOf(spec), direction));
      assert.equal(found.join(' '), expected);
    });
  }
});

describe('planPolicy', () => {
  const rulesOf = (
    spec: NetworkPolicySpec,
    direction: 'ingress' | 'egress' = 'ingress',
    ports = [] as PolicyPod['ports'],
  ) => planPolicy(policyOf(spec), direction, ports).rules.map((rule) => rule.replace(/@(pods|ports)-\w{12}/g, '@$1'));
  const cases: [string, NetworkPolicySpec, string[]][] = [
    ['no rule', {}, []],
    ['an empty rule', { ingress: [{}] }, ['accept']],
    ['a port of a protocol that is none', { ingress: [{ ports: [{ port: 1, protocol: 'ICMP' }] }] }, []],
    [
      'ports, ranges and whole protocols',
      {
        ingress: [
          {
            ports: [
              { port: 80 },
              { port: 8000, endPort: 8010 },
              { port: 8005, endPort: 8020 },
              { protocol: 'SCTP', port: 7 },
              { protocol: 'UDP' },
              { protocol: 'UDP', port: 53 },
            ],
          },
        ],
      },
      ['meta l4proto udp accept', 'tcp dport { 80, 8000-8020 } accept', 'sctp dport 7 accept'],
    ],
    [
      'pods of the own namespace',
      { ingress: [{ from: [{ podSelector: {} }] }] },
      ['ip saddr @pods-4 accept', 'ip6 saddr @pods-6 accept'],
    ],
    [
      'blocks of addresses and ports',
      { ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }], ports: [{ port: 80 }] }] },
      ['ip saddr { 10.0.0.0-10.0.255.255, 10.2.0.0-10.255.255.255 } tcp dport 80 accept'],
    ],
    ['a peer that is nothing', { ingress: [{ from: [{}] }] }, []],
    [
      'a selector that nobody understands',
      { ingress: [{ from: [{ podSelector: { matchExpressions: [{ key: 'a', operator: 'Like' }] } }] }] },
      [],
    ],
  ];
  for (const [title, spec, rules] of cases) {
    it(`writes rules for ${title}`, () => assert.deepEqual(rulesOf(spec), rules));
  }

  it('resolves names of ingress by the ports of the pod, which then has a chain of its own', () => {
    const spec = { ingress: [{ ports: [{ port: 'web' }] }] };
    const ports = (port: number) => [
      { name: 'web', protocol: 'TCP', port },
      { name: 'web', protocol: 'UDP', port: 9 },
    ];
    assert.deepEqual(rulesOf(spec, 'ingress', ports(8080)), ['tcp dport 8080 accept']);
    assert.deepEqual(rulesOf(spec), []);
    const names = [ports(8080), ports(8081), []].map((own) => planPolicy(policyOf(spec), 'ingress', own).name);
    assert.equal(new Set(names).size, 3);
  });

  it('resolves names of egress by the ports of the destinations', () => {
    const named = { ports: [{ port: 'web' }] };
    assert.deepEqual(rulesOf({ egress: [named] }, 'egress'), [
      'ip daddr . meta l4proto . th dport @ports-4 accept',
      'ip6 daddr . meta l4proto . th dport @ports-6 accept',
    ]);
    const { peers } = planPolicy(policyOf({ egress: [{ ...named, to: [{ podSelector: {} }] }] }), 'egress', []);
    assert.deepEqual(
      peers.flatMap(({ namespace, port }) => (port === undefined ? [] : [[namespace, port.name, port.protocol]])),
      [['x', 'web', 'TCP']],
    );
  });

  it('names the chain after the policy, within what the kernel takes', () => {
    const { name } = planPolicy(policyOf({}, 'n'.repeat(253), 'm'.repeat(63)), 'egress', []);
    assert.match(name, /^egress-[A-Z2-7]{8}-m{63}\/n+$/);
    assert.ok(name.length <= 200);
  });
});

describe('the pods of a set', () => {
  const any: PeerSpec = { namespace: undefined, namespaces: [], pods: [], blocks: undefined, port: undefined };
  const both = podOf('x/a', '10.0.0.1', {
    addresses: ['10.0.0.1', 'fd00::1'],
    labels: { app: 'a' },
    ports: [{ name: 'web', protocol: 'UDP', port: 53 }],
  });

  it('are those of a namespace, or of namespaces by their labels', () => {
    assert.deepEqual(peerElements({ ...any, namespaces: undefined, namespace: 'x' }, both, {}, 'IPv4'), ['10.0.0.1']);
    assert.deepEqual(peerElements({ ...any, namespaces: undefined, namespace: 'y' }, both, {}, 'IPv4'), []);
    const blue: PeerSpec = { ...any, namespaces: [{ key: 'team', operator: 'In', values: ['blue'] }] };
    assert.deepEqual(peerElements(blue, both, { team: 'blue' }, 'IPv6'), ['fd00::1']);
    assert.deepEqual(peerElements(blue, both, { team: 'red' }, 'IPv6'), []);
    assert.deepEqual(peerElements(any, both, undefined, 'IPv4'), [], 'of a namespace that nobody knows yet');
  });

  it('are in a set of ports with the numbers that they give a name', () => {
    const port = { name: 'web', protocol: 'UDP' };
    assert.deepEqual(peerElements({ ...any, port }, both, {}, 'IPv4'), ['10.0.0.1 . udp . 53']);
    assert.deepEqual(peerElements({ ...any, port: { ...port, protocol: 'TCP' } }, both, {}, 'IPv4'), []);
  });

  it('are in a block only with the addresses that are', () => {
    const blocks = [{ cidr: '10.0.0.0/8', except: ['10.0.0.2/32'] }];
    assert.deepEqual(peerElements({ ...any, blocks }, both, {}, 'IPv4'), ['10.0.0.1']);
    assert.deepEqual(peerElements({ ...any, blocks }, both, {}, 'IPv6'), []);
    assert.deepEqual(peerElements({ ...any, blocks }, podOf('x/b', '10.0.0.2'), {}, 'IPv4'), []);
  });

  it('have one set for one selection, whichever policy makes it', () => {
    assert.equal(peerSetName(any), peerSetName({ ...any }));
    assert.notEqual(peerSetName(any), peerSetName({ ...any, namespace: 'x' }));
    assert.equal(describePeers({ ...any, namespace: 'x' }), 'x: all pods');
  });
});

describe('policyPodOf', () => {
  const object: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a', namespace: 'x', labels: { app: 'a' } },
    spec: {
      nodeName: 'here',
      containers: [{ name: 'c', ports: [{ containerPort: 80, name: 'web' }, { containerPort: 81 }] }],
      initContainers: [
        { name: 'side', restartPolicy: 'Always', ports: [{ containerPort: 9, name: 'side', protocol: 'UDP' }] },
        { name: 'once', ports: [{ containerPort: 10, name: 'once' }] },
      ],
    },
    status: { phase: 'Running', podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }, { ip: 'FD00::1' }] },
  };

  it('takes addresses, labels, and named ports of what runs beside', () => {
    assert.deepEqual(policyPodOf(object, 'here'), {
      key: 'x/a',
      namespace: 'x',
      labels: { app: 'a' },
      addresses: ['10.0.0.1', 'fd00::1'],
      ports: [
        { name: 'web', protocol: 'TCP', port: 80 },
        { name: 'side', protocol: 'UDP', port: 9 },
      ],
      isLocal: true,
    });
    assert.equal(policyPodOf(object, 'there')?.isLocal, false);
  });

  it('is the same from what is stored of a pod', () => {
    assert.deepEqual(policyPodOf(trimPod(object), 'here'), policyPodOf(object, 'here'));
  });

  it('passes over pods of the host network, without an address, and those that have ended', () => {
    assert.equal(policyPodOf({ ...object, spec: { ...object.spec, hostNetwork: true } }, 'here'), undefined);
    assert.equal(policyPodOf({ ...object, status: { phase: 'Pending' } }, 'here'), undefined);
    for (const phase of ['Succeeded', 'Failed'])
      assert.equal(policyPodOf({ ...object, status: { ...object.status, phase } }, 'here'), undefined);
    assert.equal(policyPodOf({ ...object, status: { podIP: '10.0.0.1; drop' } }, 'here'), undefined);
  });
});

describe('the state of policies', () => {
  const friends = policyOf({
    podSelector: {},
    ingress: [{ from: [{ podSelector: { matchLabels: { friend: 'yes' } } }] }],
  });
  const elementsOf = (table: PolicyTable, set: RegExp) =>
    [...table.sets].filter(([name]) => set.test(name)).map(([, { elements }]) => [...elements.keys()].sort());
  const isolatedIn = (table: PolicyTable) => [...(table.sets.get('ingress-pods-4')?.elements ?? [])];

  it('has rules for pods of this node alone, and sets of pods of all', () => {
    const state = createPolicyState();
    state.setPolicy(friends);
    state.setPod('x/here', podOf('x/here', '10.0.1.1', { isLocal: true }));
    state.setPod('x/there', podOf('x/there', '10.0.2.1', { labels: { friend: 'yes' } }));
    state.setPod('y/there', podOf('y/there', '10.0.2.2', { labels: { friend: 'yes' } }));
    const table = state.compute();
    assert.deepEqual(
      isolatedIn(table).map(([address]) => address),
      ['10.0.1.1'],
    );
    assert.deepEqual(elementsOf(table, /^pods-\w{12}-4/), [['10.0.2.1']]);
    assert.deepEqual(elementsOf(table, /^known-pods-4/), [['10.0.1.1']]);
  });

  it('keeps an address that two pods have until both are gone', () => {
    const state = createPolicyState();
    state.setPolicy(friends);
    state.setPod('x/here', podOf('x/here', '10.0.1.1', { isLocal: true }));
    const labels = { friend: 'yes' };
    for (const name of ['x/old', 'x/new']) state.setPod(name, podOf(name, '10.0.2.1', { labels }));
    state.setPod('x/old', undefined);
    assert.deepEqual(elementsOf(state.compute(), /^pods-\w{12}-4/), [['10.0.2.1']]);
    state.setPod('x/new', undefined);
    assert.deepEqual(elementsOf(state.compute(), /^pods-\w{12}-4/), [[]]);
  });

  it('follows namespaces that come, change and go', () => {
    const state = createPolicyState();
    state.setPolicy(
      policyOf({ podSelector: {}, ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'blue' } } }] }] }),
    );
    state.setPod('x/here', podOf('x/here', '10.0.1.1', { isLocal: true }));
    state.setPod('y/there', podOf('y/there', '10.0.2.1'));
    const inSet = () => elementsOf(state.compute(), /^pods-\w{12}-4/)[0];
    assert.deepEqual(inSet(), []);
    state.setNamespace('y', { team: 'blue' });
    assert.deepEqual(inSet(), ['10.0.2.1']);
    state.setNamespace('y', { team: 'red' });
    assert.deepEqual(inSet(), []);
    state.setNamespace('y', { team: 'blue' });
    state.setNamespace('y', undefined);
    assert.deepEqual(inSet(), []);
  });

  it('gives pods with the same policies one chain', () => {
    const state = createPolicyState();
    state.setPolicy(friends);
    state.setPolicy(policyOf({ podSelector: { matchLabels: { app: 'a' } } }, 'closed'));
    for (const [index, app] of ['a', 'a', 'b'].entries()) {
      state.setPod(`x/${index}`, podOf(`x/${index}`, `10.0.1.${index}`, { isLocal: true, labels: { app } }));
    }
    const verdicts = isolatedIn(state.compute()).map(([, verdict]) => verdict);
    assert.equal(verdicts[0], verdicts[1]);
    assert.notEqual(verdicts[0], verdicts[2]);
  });

  it('does not change what a change has nothing to do with', () => {
    const state = createPolicyState();
    state.setPolicy(friends);
    state.setPod('x/here', podOf('x/here', '10.0.1.1', { isLocal: true }));
    const before = state.compute();
    state.setPod('y/elsewhere', podOf('y/elsewhere', '10.0.3.1'));
    assert.deepEqual(planDifference(before, state.compute()), { lines: [], stale: [] });
  });
});

describe('the table of policies', () => {
  const state = createPolicyState();
  state.setPolicy(policyOf({ podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] }));
  state.setPod('x/a', podOf('x/a', '10.0.1.1', { isLocal: true }));
  const table = state.compute();

  it('is written as one transaction over whatever was there', () => {
    const leftovers = {
      chains: ['ingress-isolation', 'ingress-group-OLD'],
      sets: [
        { name: 'pods-OLD-4', kind: 'set' as const },
        { name: 'ingress-pods-4', kind: 'map' as const },
      ],
    };
    const { lines, stale } = planWhole(table, { podCIDRs: ['10.0.1.0/24'], bridge: 'berth0' }, leftovers);
    assert.deepEqual(lines.slice(0, 4), [
      'add table inet berth-network-policy',
      'flush table inet berth-network-policy',
      'flush set inet berth-network-policy pods-OLD-4',
      'flush map inet berth-network-policy ingress-pods-4',
    ]);
    assert.deepEqual(stale, [
      'delete chain inet berth-network-policy ingress-group-OLD',
      'delete set inet berth-network-policy pods-OLD-4',
    ]);
    assert.ok(
      lines.includes(
        'add rule inet berth-network-policy ingress-isolation ip daddr 10.0.1.0/24 ip daddr != @known-pods-4 drop',
      ),
    );
    assert.ok(!lines.some((line) => line.includes('saddr != @known')), 'no policy isolates the way out');
    assert.ok(lines.some((line) => /add rule \S+ \S+ ingress-\w{8}-x\/p tcp dport 80 accept$/.test(line)));
  });

  it('changes verdicts after the chains they name, and leaves what is not wanted to be deleted later', () => {
    const next = createPolicyState();
    next.setPolicy(policyOf({ podSelector: {} }, 'q'));
    next.setPod('x/a', podOf('x/a', '10.0.1.1', { isLocal: true }));
    // Versions grow with time; here a second state stands for it.
    next.compute();
    next.setPolicy(policyOf({ podSelector: {} }, 'q'));
    next.compute();
    next.setPolicy(policyOf({ podSelector: {} }, 'q'));
    const { lines, stale } = planDifference(table, next.compute());
    const verdict = lines.findIndex((line) => /^add element .* ingress-pods-4 \{ 10\.0\.1\.1 : goto /.test(line));
    const chain = lines.findIndex((line) => /^add chain .* ingress-group-/.test(line));
    const gone = lines.findIndex((line) => /^delete element .* ingress-pods-4 \{ 10\.0\.1\.1 \}$/.test(line));
    assert.ok(chain >= 0 && chain < gone && gone < verdict, lines.join('\n'));
    assert.equal(stale.filter((line) => line.startsWith('delete chain')).length, 2);
  });

  it('is read from what nft lists', () => {
    const name = 'berth-network-policy';
    const text = JSON.stringify({
      nftables: [
        { metainfo: {} },
        { table: { family: 'inet', name } },
        { chain: { family: 'inet', table: name, name: 'c' } },
        { set: { family: 'inet', table: name, name: 's' } },
        { map: { family: 'inet', table: name, name: 'm' } },
      ],
    });
    assert.deepEqual(parseLeftovers(text), {
      chains: ['c'],
      sets: [
        { name: 's', kind: 'set' },
        { name: 'm', kind: 'map' },
      ],
    });
  });
});

describe('the enforcement of policies', () => {
  function setup() {
    const policies = createHandFedInformer<NetworkPolicy>();
    const pods = createHandFedInformer<Pod>();
    const namespaces = createHandFedInformer<Namespace>();
    const nodes = createHandFedInformer<Node>();
    const told: string[] = [];
    let refusals = 0;
    let isThere = false;
    let watched = 0;
    const exec: Exec = async (_, args, options) => {
      const answer = (exitCode: number, stdout = '', stderr = '') => ({ exitCode, stdout, stderr });
      if (args[0] === '--version') return answer(0);
      const missing = answer(1, '', 'Error: No such file or directory');
      if (args[0] === 'delete') {
        const result = isThere ? answer(0) : missing;
        isThere = false;
        return result;
      }
      if (args[0] === '-t') return isThere ? answer(0, 'ip daddr vmap @ingress-pods-4') : missing;
      if (args.includes('list')) return isThere ? answer(0, '{"nftables":[]}') : missing;
      if (refusals > 0) {
        refusals -= 1;
        return answer(1, '', 'Error: Device or resource busy');
      }
      isThere = true;
      told.push(String(options?.input));
      return answer(0);
    };
    const clock = createFakeClock();
    const run = async (signal: AbortSignal): Promise<void> => {
      watched += 1;
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    };
    const component = createNetworkPolicy({
      nodeName: 'here',
      bridge: 'berth0',
      policies: { ...policies.informer, run },
      pods: { ...pods.informer, run },
      namespaces: { ...namespaces.informer, run },
      nodes: nodes.informer,
      applier: createPolicyApplier(exec),
      metrics: { applied: () => undefined, counted: () => undefined, failed: () => undefined },
      clock,
      logger: pino({ level: 'silent' }),
    });
    const stop = new AbortController();
    const ended = component.run(stop.signal);
    const until = (what: string, look: () => boolean) =>
      eventually(what, async () => {
        if (look()) return true;
        await clock.advance(500);
        return look();
      });
    return {
      policies,
      told,
      clock,
      until,
      refuse: (times: number) => {
        refusals = times;
      },
      lose: () => {
        isThere = false;
      },
      isThere: () => isThere,
      watched: () => watched,
      [Symbol.asyncDispose]: async () => {
        stop.abort();
        await ended;
      },
    };
  }
  const closed = policyOf({ podSelector: {} });

  it('watches no pods and has no rules as long as there is no policy', async () => {
    await using node = setup();
    await node.clock.advance(120_000);
    assert.equal(node.watched(), 1);
    assert.deepEqual(node.told, []);
    node.policies.show(closed);
    await node.until('the first rules', () => node.told.length === 1);
    assert.equal(node.watched(), 3);
    await node.clock.advance(300_000);
    assert.equal(node.told.length, 1, 'nothing is sent without a change');
    node.policies.remove(closed);
    await node.until('no rules', () => !node.isThere());
  });

  it('tries again when the kernel refuses, with a new table in the end', async () => {
    await using node = setup();
    node.refuse(2);
    node.policies.show(closed);
    await node.until('the rules', () => node.told.length === 1);
    assert.match(node.told[0] ?? '', /^add table inet berth-network-policy\ndelete table inet berth-network-policy\n/);
  });

  it('writes everything again when somebody has removed its rules', async () => {
    await using node = setup();
    node.policies.show(closed);
    await node.until('the rules', () => node.told.length === 1);
    node.lose();
    await node.until('the rules again', () => node.told.length === 2);
    assert.match(node.told[1] ?? '', /chain inet berth-network-policy ingress-isolation/);
  });
});
