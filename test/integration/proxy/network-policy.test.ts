import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import type { Namespace, Pod } from '#kube/api/generated/core-v1.ts';
import type { NetworkPolicy } from '#kube/api/generated/networking-v1.ts';
import { systemClock } from '#kube/process/clock.ts';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { removeNodeNetwork } from '../../../proxy/index.ts';
import { createNetworkPolicy } from '../../../proxy/network-policy/network-policy.ts';
import { createPolicyApplier } from '../../../proxy/network-policy/policy-applier.ts';
import { eventually } from '../../support/eventually.ts';
import { createHandFedInformer } from '../../support/hand-fed-informer.ts';
import { namespacesUnavailable } from '../../support/network-namespace.ts';
import type { PacketPlace } from '../../support/packet-place.ts';
import {
  createPodNetworkCluster,
  families,
  type NodeName,
  nodeNames,
  type PodNetworkCluster,
  podKeys,
  podPorts,
} from '../../support/pod-network-cluster.ts';
import { policyCases } from '../../support/policy-cases.ts';
import { fuzzPolicies } from '../../support/policy-fuzzer.ts';
import { isAllowed, type PolicyEnd, type PolicyQuestion } from '../../support/policy-oracle.ts';

const skip = namespacesUnavailable() ?? false;
const protocols = ['TCP', 'UDP'] as const;
const plainLabels = { x: { ns: 'x' }, y: { ns: 'y' }, z: { ns: 'z' } };

/** A connection to try: who asks, and the ends as policies see them. */
interface Attempt {
  title: string;
  place: PacketPlace;
  question: PolicyQuestion;
}

describe('network policies', { skip, timeout: 600_000 }, () => {
  let cluster: PodNetworkCluster;
  const policies = createHandFedInformer<NetworkPolicy>();
  const pods = createHandFedInformer<Pod>();
  const namespaces = createHandFedInformer<Namespace>();
  const stops = new Map<NodeName, { stop: AbortController; ended: Promise<void> }>();

  /** Counts what is shown to the proxies; each tells up to where the kernel has it. */
  let generation = 0;
  const reached = new Map<NodeName, number>();
  /** What nft was told, per node. */
  const sent = new Map<NodeName, string[]>();
  const startPolicies = (name: NodeName): void => {
    const { exec } = cluster.nodes[name];
    const log: string[] = [];
    sent.set(name, log);
    const watched: Exec = async (file, args, options) => {
      if (options?.input !== undefined) log.push(String(options.input));
      return await exec(file, args, options);
    };
    const applier = createPolicyApplier(watched);
    /** What was shown before it began is there when it ends. */
    const counted = async <T>(work: Promise<T>, at: number): Promise<T> => {
      const result = await work;
      reached.set(name, at);
      return result;
    };
    const stop = new AbortController();
    const never = async (signal: AbortSignal): Promise<void> => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    };
    const component = createNetworkPolicy({
      nodeName: name,
      bridge: 'pods0',
      policies: { ...policies.informer, run: never },
      pods: { ...pods.informer, run: never },
      namespaces: { ...namespaces.informer, run: never },
      nodes: cluster.nodeInformer.informer,
      applier: {
        ...applier,
        apply: (table, place) => counted(applier.apply(table, place), generation),
        remove: () => counted(applier.remove(), generation),
      },
      metrics: { applied: () => undefined, counted: () => undefined, failed: () => undefined },
      clock: systemClock,
      logger: pino({ level: 'silent' }),
    });
    stops.set(name, { stop, ended: component.run(stop.signal) });
  };
  const stopPolicies = async (name: NodeName): Promise<void> => {
    stops.get(name)?.stop.abort();
    await stops.get(name)?.ended;
  };
  const showNamespaces = (labels: Record<string, Record<string, string>>): void => {
    for (const [name, own] of Object.entries(labels)) {
      namespaces.show({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: own }, spec: {} });
    }
  };
  const settled = async (): Promise<void> => {
    for (const name of nodeNames) {
      await eventually(`the policies on ${name}`, async () => (reached.get(name) ?? -1) >= generation, 60_000);
    }
  };
  const endOfPod = (key: string, family: 'IPv4' | 'IPv6'): PolicyEnd => {
    const pod = cluster.pods.get(key);
    assert.ok(pod);
    const [namespace = ''] = key.split('/');
    const ports = (pod.object.spec.containers[0]?.ports ?? []).map(({ name = '', protocol = 'TCP', containerPort }) => {
      return { name, protocol, port: containerPort };
    });
    const labels = { ...pod.object.metadata.labels };
    return { pod: { namespace, labels, ports }, address: pod.addresses[family], machine: pod.node };
  };
  const attempts = (): Attempt[] => {
    const placeOf = (key: string) => cluster.pods.get(key)?.place;
    const result: Attempt[] = [];
    for (const family of families) {
      const outsiders: { title: string; place: PacketPlace; end: PolicyEnd }[] = [
        ...nodeNames.map((name) => ({
          title: name,
          place: cluster.nodes[name].place,
          end: { pod: undefined, address: cluster.nodes[name].addresses[family], machine: name },
        })),
      ];
      const sources = [
        ...podKeys.map((key) => ({ title: key, place: placeOf(key), end: endOfPod(key, family) })),
        ...outsiders,
      ];
      for (const { title, place, end } of sources) {
        assert.ok(place);
        for (const to of podKeys) {
          for (const port of podPorts) {
            for (const protocol of protocols) {
              const question = { from: end, to: endOfPod(to, family), port, protocol };
              result.push({ title: `${title} -> ${to} ${protocol} ${port} ${family}`, place, question });
            }
          }
        }
        // Out of the cluster.
        if (end.pod === undefined) continue;
        const to: PolicyEnd = { pod: undefined, address: cluster.client.addresses[family], machine: 'client' };
        const question = { from: end, to, port: 80, protocol: 'TCP' as const };
        result.push({ title: `${title} -> client ${family}`, place, question });
      }
    }
    return result;
  };

  before(async () => {
    cluster = await createPodNetworkCluster({ joined: 'by one link' });
    showNamespaces(plainLabels);
    for (const { object } of cluster.pods.values()) pods.show(object);
    for (const name of nodeNames) startPolicies(name);
    // The first packets between any two ask for their neighbours.
    await Promise.all(
      attempts().map(({ place, question }) => place.ask(question.to.address, 80, { timeoutMs: 10_000 })),
    );
  });
  after(async () => {
    for (const name of nodeNames) await stopPolicies(name);
    await cluster?.[Symbol.asyncDispose]();
  });

  let last: readonly NetworkPolicy[] = [];
  let shown = '';
  /** Puts policies in the place of those before. */
  const show = (wanted: readonly NetworkPolicy[], labels: Record<string, Record<string, string>> = plainLabels) => {
    // Nobody is told of what is as it was.
    if (JSON.stringify([wanted, labels]) === shown) return;
    shown = JSON.stringify([wanted, labels]);
    generation += 1;
    showNamespaces(labels);
    for (const old of last) {
      const { name, namespace } = old.metadata;
      if (!wanted.some(({ metadata }) => metadata.name === name && metadata.namespace === namespace)) {
        policies.remove(old);
      }
    }
    for (const policy of wanted) policies.show(policy);
    last = wanted;
  };

  /** Tries every connection; `wrong` are those that went otherwise than the oracle says. */
  const tryAll = async (wanted: readonly NetworkPolicy[], labels: Record<string, Record<string, string>>) => {
    const world = { policies: wanted, namespaces: labels };
    const all = attempts();
    const wrong = await Promise.all(
      all.map(async ({ title, place, question }) => {
        const { port, protocol, to } = question;
        const isOpen = isAllowed(world, question);
        // A slow machine must not make an open way look closed.
        const timeoutMs = isOpen ? 15_000 : 1000;
        const [answer = ''] = await place.ask(to.address, port, { protocol, timeoutMs });
        const isAnswered = answer !== 'TIMEOUT';
        return isAnswered === isOpen ? [] : [`${title} should be ${isOpen ? 'open' : 'closed'}: ${answer}`];
      }),
    );
    const closed = all.filter(({ question }) => !isAllowed(world, question)).length;
    return { wrong: wrong.flat(), closed, open: all.length - closed };
  };

  it('leave everything open where there are none', { timeout: 120_000 }, async () => {
    await settled();
    const { wrong, open, closed } = await tryAll([], plainLabels);
    assert.deepEqual(wrong, []);
    assert.ok(open > 300);
    assert.equal(closed, 0);
  });

  for (const { name, policies: wanted, namespaceLabels = plainLabels } of policyCases) {
    it(`allow and deny what they say: ${name}`, { timeout: 120_000 }, async (context) => {
      show(wanted, namespaceLabels);
      await settled();
      const { wrong, open, closed } = await tryAll(wanted, namespaceLabels);
      context.diagnostic(`${open} open, ${closed} closed`);
      assert.deepEqual(wrong, []);
      assert.ok(open > 0);
    });
  }

  it('allow and deny what they say: at random', { timeout: 300_000 }, async (context) => {
    const [first, count] = (process.env['POLICY_SEEDS'] ?? '1,12').split(',').map(Number);
    for (let seed = first ?? 1; seed < (first ?? 1) + (count ?? 0); seed += 1) {
      const wanted = fuzzPolicies(seed);
      show(wanted);
      await settled();
      const { wrong, open, closed } = await tryAll(wanted, plainLabels);
      context.diagnostic(`seed ${seed}: ${wanted.length} policies, ${open} open, ${closed} closed`);
      assert.deepEqual(wrong, [], `seed ${seed}: ${JSON.stringify(wanted)}`);
    }
  });

  const podOf = (key: string) => {
    const pod = cluster.pods.get(key);
    assert.ok(pod);
    return pod;
  };
  const policyOf = (namespace: string, name: string, spec: NetworkPolicy['spec']): NetworkPolicy => {
    return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { namespace, name }, spec };
  };
  const fromBlue = policyOf('z', 'from-blue', {
    podSelector: {},
    ingress: [
      { from: [{ namespaceSelector: { matchLabels: { ns: 'x' } }, podSelector: { matchLabels: { team: 'blue' } } }] },
    ],
  });
  const isOpen = async (from: string, to: string): Promise<boolean> => {
    const answers = await podOf(from).place.ask(podOf(to).addresses.IPv4, 80, { timeoutMs: 1000 });
    return answers[0] !== 'TIMEOUT';
  };

  it('send the kernel nothing but the element of a pod that changed', { timeout: 120_000 }, async () => {
    show([fromBlue]);
    await settled();
    assert.equal(await isOpen('x/a', 'z/a'), false);
    const log = sent.get('node-2') ?? [];
    const before = log.length;
    const { object, addresses } = podOf('x/a');
    generation += 1;
    pods.show({ ...object, metadata: { ...object.metadata, labels: { pod: 'a', team: 'blue' } } });
    await settled();
    assert.equal(await isOpen('x/a', 'z/a'), true);
    assert.equal(await isOpen('x/b', 'z/a'), false);
    const changes = log.slice(before).join('').trim().split('\n');
    assert.equal(changes.length, 2, changes.join('\n'));
    for (const family of families) {
      const element = new RegExp(`^add element inet berth-network-policy pods-\\w+-[46] { ${addresses[family]} }$`);
      assert.ok(
        changes.some((line) => element.test(line)),
        changes.join('\n'),
      );
    }
    generation += 1;
    pods.show(object);
    await settled();
    assert.equal(await isOpen('x/a', 'z/a'), false);
  });

  it('let connections live that they would not allow anew', { timeout: 120_000 }, async () => {
    show([]);
    await settled();
    const held = await podOf('x/a').place.hold(podOf('z/a').addresses.IPv4, 80);
    assert.match(held.greeting, /^z\/a /);
    show([fromBlue]);
    await settled();
    assert.equal(await isOpen('x/a', 'z/a'), false);
    assert.equal(await held.say('still here\n'), 'still here');
  });

  it('hold while their proxy is away, and interrupt nothing when it comes back', { timeout: 120_000 }, async () => {
    show([fromBlue]);
    await settled();
    const held = await podOf('x/a').place.hold(podOf('y/a').addresses.IPv4, 80);
    await stopPolicies('node-2');
    assert.equal(await isOpen('x/a', 'z/a'), false);
    assert.equal(await isOpen('x/a', 'y/b'), true);
    // It is told of nothing that happened meanwhile but what there is now.
    const openZ = { ...fromBlue, spec: { podSelector: {}, ingress: [{}] } };
    generation += 1;
    policies.show(openZ);
    reached.set('node-2', -1);
    startPolicies('node-2');
    await settled();
    assert.equal(await isOpen('x/a', 'z/a'), true);
    assert.equal(await held.say('one\n'), 'one');
    const listing = await cluster.nodes['node-2'].exec('nft', ['list', 'table', 'inet', 'berth-network-policy']);
    assert.equal(listing.stdout.match(/chain ingress-[A-Z2-7]{8}-z\/from-blue/g)?.length, 1, listing.stdout);
    policies.show(fromBlue);
  });

  it('keep a pod closed that nobody has told of yet', { timeout: 120_000 }, async () => {
    show([fromBlue]);
    await settled();
    const fresh = await cluster.addPod('y/new', 'node-2');
    assert.equal(await isOpen('x/a', 'y/new'), false);
    assert.equal(await isOpen('y/new', 'x/a'), true, 'nothing isolates the way out');
    show([fromBlue, policyOf('z', 'closed', { podSelector: {}, policyTypes: ['Egress'] })]);
    await settled();
    assert.equal(await isOpen('y/new', 'x/a'), false);
    generation += 1;
    pods.show(fresh.object);
    await settled();
    assert.equal(await isOpen('x/a', 'y/new'), true);
    assert.equal(await isOpen('y/new', 'x/a'), true);
  });

  it('cannot be got round by the addresses that every interface has', { timeout: 120_000 }, async () => {
    const text = await execOrThrow(podOf('y/a').namespace.exec, 'ip', ['-6', '-j', 'address', 'show', 'dev', 'eth0']);
    const [{ addr_info = [] }] = JSON.parse(text) as [{ addr_info?: { local: string; scope: string }[] }];
    const address = addr_info.find(({ scope }) => scope === 'link')?.local ?? '';
    const ask = async (timeoutMs: number) =>
      (await podOf('x/a').place.ask(`${address}%eth0`, 80, { timeoutMs })).join('').split(' ')[0];
    show([]);
    await settled();
    assert.equal(await ask(10_000), 'y/a');
    show([policyOf('y', 'closed', { podSelector: {}, policyTypes: ['Ingress'] })]);
    await settled();
    assert.equal(await ask(1000), 'TIMEOUT');
  });

  it('see the pods behind a service, and let a pod reach itself by one', { timeout: 120_000 }, async () => {
    const denied = policyOf('x', 'closed', { podSelector: {}, policyTypes: ['Ingress'] });
    show([denied, fromBlue]);
    await settled();
    const { exec } = cluster.nodes['node-1'];
    const service = async (address: string, to: string) => {
      const match = ['-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '-d', address, '--dport', '80', '-j', 'DNAT'];
      await execOrThrow(exec, 'iptables', ['-w', '5', ...match, '--to-destination', `${podOf(to).addresses.IPv4}:80`]);
    };
    const { addresses } = podOf('x/a');
    await service('10.96.0.1', 'x/a');
    await service('10.96.0.2', 'z/a');
    await service('10.96.0.3', 'y/b');
    // As kube-proxy does for a pod that is its own endpoint.
    const hairpin = ['-s', addresses.IPv4, '-d', addresses.IPv4, '-j', 'MASQUERADE'];
    await execOrThrow(exec, 'iptables', ['-w', '5', '-t', 'nat', '-I', 'POSTROUTING', ...hairpin]);
    await execOrThrow(exec, 'ip', ['route', 'add', '10.96.0.0/24', 'dev', 'eth0']);
    const ask = async (host: string, timeoutMs: number) =>
      (await podOf('x/a').place.ask(host, 80, { timeoutMs })).join('').split(' ')[0];
    assert.equal(await ask('10.96.0.1', 10_000), 'x/a');
    assert.equal(await ask('10.96.0.2', 1000), 'TIMEOUT');
    assert.equal(await ask('10.96.0.3', 10_000), 'y/b');
  });

  it('leave no rules behind', { timeout: 120_000 }, async () => {
    for (const name of nodeNames) {
      await stopPolicies(name);
      const { exec, cniConfDir } = cluster.nodes[name];
      await removeNodeNetwork(exec, cniConfDir);
      assert.doesNotMatch(await execOrThrow(exec, 'nft', ['list', 'tables']), /berth/);
    }
  });
});
