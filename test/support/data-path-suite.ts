// Where packets go, as a table that holds in every mode: kind of way in, policies, where the client is and how the
// endpoints are decide which endpoints answer, what address they see, or how the client is refused.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Service } from '#kube/api/generated/core-v1.ts';
import { execOrThrow } from '#kube/process/exec.ts';
import type { ModeName } from '../../proxy/config/proxy-config.ts';
import type { IpFamily } from '../../proxy/model/service-port.ts';
import {
  addressOf,
  createPacketNode,
  families,
  gatewayOf,
  type PacketNode,
  type PlaceName,
  type PodName,
} from './packet-node.ts';
import { type Door, doorAddress, doors, type PodStates, packetState } from './packet-services.ts';

interface EndpointCase {
  title: string;
  pods: PodStates;
  /** Those that traffic may go to under the cluster policy, and under the local one. */
  cluster: PodName[];
  local: PodName[];
}

const endpointCases: EndpointCase[] = [
  {
    title: 'one endpoint here and one elsewhere',
    pods: { 'pod-a': { on: 'here' }, 'pod-b': { on: 'elsewhere' } },
    cluster: ['pod-a', 'pod-b'],
    local: ['pod-a'],
  },
  { title: 'an endpoint elsewhere only', pods: { 'pod-b': { on: 'elsewhere' } }, cluster: ['pod-b'], local: [] },
  { title: 'no endpoints', pods: {}, cluster: [], local: [] },
  {
    title: 'the only one here terminating',
    pods: { 'pod-a': { on: 'here', terminating: true, serving: true }, 'pod-b': { on: 'elsewhere' } },
    cluster: ['pod-b'],
    local: ['pod-a'],
  },
  {
    title: 'all terminating',
    pods: {
      'pod-a': { on: 'here', terminating: true, serving: true },
      'pod-b': { on: 'elsewhere', terminating: true, serving: true },
    },
    cluster: ['pod-a', 'pod-b'],
    local: ['pod-a'],
  },
  {
    title: 'the one here unready',
    pods: { 'pod-a': { on: 'here', ready: false }, 'pod-b': { on: 'elsewhere' } },
    cluster: ['pod-b'],
    local: [],
  },
];

const policies: { title: string; spec: Partial<Service['spec']> }[] = [
  { title: 'cluster policies', spec: {} },
  { title: 'a local external policy', spec: { externalTrafficPolicy: 'Local' } },
  { title: 'a local internal policy', spec: { internalTrafficPolicy: 'Local' } },
];

/** Pod-c is never an endpoint; pod-a reaches itself where it is one. */
const clients: PlaceName[] = ['client', 'node', 'pod-a', 'pod-c'];

/** What a client may get. */
type Expectation = { pods: PodName[]; masqueraded: boolean } | 'ECONNREFUSED' | 'TIMEOUT';

function expected(
  mode: ModeName,
  door: Door,
  from: PlaceName,
  { cluster, local }: EndpointCase,
  { externalTrafficPolicy, internalTrafficPolicy }: Partial<Service['spec']>,
): Expectation {
  const isExternal = door !== 'cluster IP';
  const isLocal = (isExternal ? externalTrafficPolicy : internalTrafficPolicy) === 'Local';
  if (cluster.length + local.length === 0) {
    // As kube-proxy's: what the node itself sends to such an address leaves it, and here nobody answers.
    const leaves = mode === 'iptables' && from === 'node' && (door === 'external IP' || door === 'load balancer');
    return leaves ? 'TIMEOUT' : 'ECONNREFUSED';
  }
  const fromPod = from.startsWith('pod-');
  if (!isLocal) return { pods: cluster, masqueraded: isExternal || !fromPod };
  if (isExternal && from !== 'client') {
    // Clients inside reach all endpoints; a virtual server of ipvs has one list, of local ones where there are any.
    const pods = mode === 'ipvs' && local.length > 0 ? local : cluster;
    return { pods, masqueraded: !fromPod };
  }
  return local.length > 0 ? { pods: local, masqueraded: !isExternal && !fromPod } : 'TIMEOUT';
}

function sourceSeen(pod: PodName, from: PlaceName, masqueraded: boolean, family: IpFamily): string {
  return masqueraded || from === 'node' || from === pod ? gatewayOf(pod, family) : addressOf(from, family);
}

const attempts = 2;
/** How long no answer must come, and how long one may take on a busy machine. */
const silenceMs = 500;
const answerMs = 10_000;

/** Defines the table's tests for one mode. */
export function defineDataPathTests(mode: ModeName): void {
  describe(`packets in mode ${mode}`, () => {
    let node: PacketNode;
    before(async () => {
      node = await createPacketNode(mode);
    });
    after(async () => {
      await node?.[Symbol.asyncDispose]();
    });
    for (const policy of policies) {
      it(`go where ${policy.title} send them`, { timeout: 240_000 }, async () => {
        for (const endpoints of endpointCases) {
          for (const family of families)
            await node.apply(family, new Map([packetState(family, policy.spec, endpoints.pods)]));
          await execOrThrow(node.exec, 'conntrack', ['-F']);
          const seen = new Map<string, Set<string>>();
          const probes = clients.flatMap((from) =>
            doors.flatMap((door) =>
              families.flatMap((family) =>
                (['TCP', 'UDP'] as const).map(async (protocol) => {
                  const { host, port } = doorAddress(door, family);
                  const what = `${endpoints.title}: ${protocol} from ${from} to the ${door} in ${family}`;
                  const want = expected(mode, door, from, endpoints, policy.spec);
                  const timeoutMs = want === 'TIMEOUT' ? silenceMs : answerMs;
                  const answers = await node.places[from].ask(host, port, { protocol, count: attempts, timeoutMs });
                  if (typeof want === 'string') {
                    // What nobody answers on a link is told to be unreachable after a while, and then at once.
                    const told = answers.map((answer) => answer.replace('EHOSTUNREACH', 'TIMEOUT'));
                    assert.deepEqual(new Set(told), new Set([want]), what);
                    return;
                  }
                  const allowed = want.pods.map((pod) => `${pod} ${sourceSeen(pod, from, want.masqueraded, family)}`);
                  for (const answer of answers)
                    assert.ok(allowed.includes(answer), `${what}: ${answer}, not ${allowed}`);
                  const key = `${from} ${want.pods}`;
                  const names = answers.map((answer) => answer.split(' ')[0] ?? '');
                  seen.set(key, new Set([...(seen.get(key) ?? []), ...names]));
                }),
              ),
            ),
          );
          await Promise.all(probes);
          for (const [key, pods] of seen) {
            assert.deepEqual(
              [...pods].sort().join(),
              key.split(' ')[1],
              `${endpoints.title}: all are reached from ${key}`,
            );
          }
        }
      });
    }
  });
}
