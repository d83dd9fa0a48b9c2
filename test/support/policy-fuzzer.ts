// Policies at random, over the pods, namespaces and addresses of pod-network-cluster.ts: what nobody thought of.
import type { LabelSelector } from '#kube/api/generated/meta-v1.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '#kube/api/generated/networking-v1.ts';
import { createRandom } from './pod-fuzzer.ts';

const blocks = [
  { cidr: '10.244.0.0/16' },
  { cidr: '10.244.1.0/24', except: ['10.244.1.2/31'] },
  { cidr: '10.244.2.0/24', except: ['10.244.2.3/32', '10.244.2.4/32'] },
  { cidr: '192.0.2.0/24', except: ['192.0.2.12/32'] },
  { cidr: '0.0.0.0/0', except: ['10.244.1.0/30', '10.244.2.0/24'] },
  { cidr: 'fd00:244:1::/64' },
  { cidr: 'fd00:244::/32', except: ['fd00:244:2::2/127'] },
  { cidr: '::/0', except: ['fd00:244:1::/64'] },
];

/** Some policies; the same ones for the same seed. */
export function fuzzPolicies(seed: number): NetworkPolicy[] {
  const random = createRandom(seed);
  const one = <T>(values: readonly T[]): T => {
    const value = values[random(values.length)];
    if (value === undefined) throw new Error('nothing to choose from');
    return value;
  };
  const some = <T>(most: number, make: () => T): T[] => Array.from({ length: random(most + 1) }, make);
  const selector = (key: string, values: readonly string[]): LabelSelector =>
    one<() => LabelSelector>([
      () => ({}),
      () => ({ matchLabels: { [key]: one(values) } }),
      () => ({ matchExpressions: [{ key, operator: 'In', values: [one(values), one(values)] }] }),
      () => ({ matchExpressions: [{ key, operator: 'NotIn', values: [one(values)] }] }),
      () => ({ matchExpressions: [{ key, operator: one(['Exists', 'DoesNotExist']) }] }),
    ])();
  const ofPods = () => selector('pod', ['a', 'b']);
  const ofNamespaces = () => selector('ns', ['x', 'y', 'z']);
  const peer = (): NetworkPolicyPeer =>
    one<() => NetworkPolicyPeer>([
      () => ({ podSelector: ofPods() }),
      () => ({ namespaceSelector: ofNamespaces() }),
      () => ({ podSelector: ofPods(), namespaceSelector: ofNamespaces() }),
      () => ({ ipBlock: one(blocks) }),
    ])();
  const port = (): NetworkPolicyPort =>
    one<() => NetworkPolicyPort>([
      () => ({ port: one([80, 81]) }),
      () => ({ port: one([80, 81]), protocol: 'UDP' }),
      () => ({ protocol: one(['TCP', 'UDP', 'SCTP']) }),
      () => ({ port: one([1, 80]), endPort: one([80, 81, 90]) }),
      () => ({ port: one(['web', 'p80-tcp', 'p80-udp', 'nowhere']), protocol: one(['TCP', 'UDP']) }),
    ])();
  const policy = (index: number): NetworkPolicy => {
    const types = one<string[]>([[], ['Ingress'], ['Egress'], ['Ingress', 'Egress']]);
    const ingress = some(2, () => ({ from: some(3, peer), ports: some(2, port) }));
    const egress = some(2, () => ({ to: some(3, peer), ports: some(2, port) }));
    return {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { namespace: one(['x', 'y', 'z']), name: `fuzzed-${index}` },
      spec: { podSelector: ofPods(), ingress, egress, policyTypes: types },
    };
  };
  return Array.from({ length: 1 + random(5) }, (_, index) => policy(index));
}
