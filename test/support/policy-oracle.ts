// What NetworkPolicy says about a connection, written down a second time from the documents, sentence by sentence and
// without anything of the proxy's: tests compare it with what packets do.
import { BlockList } from 'node:net';
import type { LabelSelector } from '#kube/api/generated/meta-v1.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '#kube/api/generated/networking-v1.ts';

/** One end of a connection. */
export interface PolicyEnd {
  /** `namespace/name` of a pod; undefined for what is no pod. */
  pod:
    | { namespace: string; labels: Record<string, string>; ports: { name: string; protocol: string; port: number }[] }
    | undefined;
  address: string;
  /** The machine it is, or is on. */
  machine: string;
}

export interface PolicyQuestion {
  from: PolicyEnd;
  to: PolicyEnd;
  port: number;
  protocol: 'TCP' | 'UDP';
}

export interface PolicyWorld {
  policies: readonly NetworkPolicy[];
  namespaces: Readonly<Record<string, Record<string, string>>>;
}

/** A selector holds when all of its labels and all of its expressions do. */
function holds(selector: LabelSelector, labels: Record<string, string>): boolean {
  const wanted = Object.entries(selector.matchLabels ?? {});
  if (!wanted.every(([key, value]) => labels[key] === value)) return false;
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels[key];
    if (operator === 'Exists') return value !== undefined;
    if (operator === 'DoesNotExist') return value === undefined;
    if (operator === 'In') return value !== undefined && values.includes(value);
    if (operator === 'NotIn') return value === undefined || !values.includes(value);
    throw new Error(`no operator ${operator}`);
  });
}

function isWithin(address: string, cidr: string): boolean {
  const [base = '', length = ''] = cidr.split('/');
  const family = address.includes(':') ? 'ipv6' : 'ipv4';
  if (base.includes(':') !== address.includes(':')) return false;
  const list = new BlockList();
  list.addSubnet(base, Number(length), family);
  return list.check(address, family);
}

function isPeer(world: PolicyWorld, home: string, peer: NetworkPolicyPeer, end: PolicyEnd): boolean {
  if (peer.ipBlock !== undefined) {
    const { cidr, except = [] } = peer.ipBlock;
    return isWithin(end.address, cidr) && !except.some((hole) => isWithin(end.address, hole));
  }
  // Selectors speak of pods; what is no pod can be named by its address alone.
  if (end.pod === undefined) return false;
  const { namespace, labels } = end.pod;
  const isNamespaceRight =
    peer.namespaceSelector === undefined
      ? namespace === home
      : holds(peer.namespaceSelector, world.namespaces[namespace] ?? {});
  return isNamespaceRight && holds(peer.podSelector ?? {}, labels);
}

function isPort({ port, endPort, protocol = 'TCP' }: NetworkPolicyPort, question: PolicyQuestion): boolean {
  if (protocol !== question.protocol) return false;
  if (port === undefined) return true;
  // A name is what the pod that is connected to calls its port.
  if (typeof port === 'string')
    return (question.to.pod?.ports ?? []).some(
      (own) => own.name === port && own.protocol === protocol && own.port === question.port,
    );
  return endPort === undefined ? port === question.port : port <= question.port && question.port <= endPort;
}

function typesOf({ spec = {} }: NetworkPolicy): string[] {
  if (spec.policyTypes !== undefined && spec.policyTypes.length > 0) return spec.policyTypes;
  return (spec.egress ?? []).length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
}

/** Whether the pod at one end lets the connection through in this direction. */
function lets(world: PolicyWorld, direction: 'Ingress' | 'Egress', question: PolicyQuestion): boolean {
  const self = direction === 'Ingress' ? question.to : question.from;
  const peer = direction === 'Ingress' ? question.from : question.to;
  const { pod } = self;
  if (pod === undefined) return true;
  const isolating = world.policies.filter(
    (policy) =>
      policy.metadata.namespace === pod.namespace &&
      holds(policy.spec?.podSelector ?? {}, pod.labels) &&
      typesOf(policy).includes(direction),
  );
  if (isolating.length === 0) return true;
  return isolating.some(({ spec = {} }) => {
    const rules =
      direction === 'Ingress'
        ? (spec.ingress ?? []).map(({ from = [], ports = [] }) => ({ peers: from, ports }))
        : (spec.egress ?? []).map(({ to = [], ports = [] }) => ({ peers: to, ports }));
    return rules.some(
      ({ peers, ports }) =>
        (peers.length === 0 || peers.some((one) => isPeer(world, pod.namespace, one, peer))) &&
        (ports.length === 0 || ports.some((one) => isPort(one, question))),
    );
  });
}

/** Whether a new connection is allowed. */
export function isAllowed(world: PolicyWorld, question: PolicyQuestion): boolean {
  const { from, to } = question;
  // A pod cannot shut itself out, and a node always reaches its own pods and they it.
  if (from.address === to.address) return true;
  if (from.machine === to.machine && (from.pod === undefined || to.pod === undefined)) return true;
  return lets(world, 'Egress', question) && lets(world, 'Ingress', question);
}
