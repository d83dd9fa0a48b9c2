// One policy in one direction as the rules of a chain: what it allows is accepted, everything else falls through. Pure.
// Semantics are those of networking.k8s.io/v1.
import type {
  IPBlock,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
} from '#kube/api/generated/networking-v1.ts';
import { requirementsOf, SelectorError } from '#kube/api/label-selector.ts';
import type { IpFamily } from '../model/service-port.ts';
import { ipWord } from '../plan/nftables/rules.ts';
import { shortHash } from '../plan/short-hash.ts';
import { type PeerSpec, peerSetName } from './peer-set.ts';
import { planIpBlocks } from './plan-ip-blocks.ts';
import type { NamedPort } from './policy-pod.ts';

export const directions = ['ingress', 'egress'] as const;
export type Direction = (typeof directions)[number];

const families = ['IPv4', 'IPv6'] as const;
const protocols = ['TCP', 'UDP', 'SCTP'];
/** The kernel takes 256 characters. */
const maxNameLength = 200;

export interface PolicyChain {
  name: string;
  rules: string[];
  /** The sets that the rules name. */
  peers: PeerSpec[];
}

/** Whether a policy isolates the pods that it selects in this direction. */
export function isolates({ spec = {} }: NetworkPolicy, direction: Direction): boolean {
  const { policyTypes = [] } = spec;
  if (policyTypes.length === 0) return direction === 'ingress' || (spec.egress ?? []).length > 0;
  return policyTypes.includes(direction === 'ingress' ? 'Ingress' : 'Egress');
}

/** What the destination's ports must be; `all` allows any, of any protocol. */
type PortMatches = 'all' | { matches: string[]; named: { name: string; protocol: string }[] };

function isPortNumber(port: unknown): port is number {
  return typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535;
}

function planPorts(
  ports: readonly NetworkPolicyPort[] | undefined,
  resolve: ((name: string, protocol: string) => number[]) | undefined,
): PortMatches {
  if (ports === undefined || ports.length === 0) return 'all';
  const ranges = new Map<string, string[]>();
  const whole = new Set<string>();
  const named: { name: string; protocol: string }[] = [];
  const add = (protocol: string, range: string): void => {
    ranges.set(protocol, [...(ranges.get(protocol) ?? []), range]);
  };
  for (const { port, endPort, protocol = 'TCP' } of ports) {
    if (!protocols.includes(protocol)) continue;
    if (port === undefined) whole.add(protocol);
    else if (isPortNumber(port))
      add(protocol, isPortNumber(endPort) && endPort > port ? `${port}-${endPort}` : `${port}`);
    else if (typeof port === 'string') {
      if (resolve === undefined) named.push({ name: port, protocol });
      else for (const number of resolve(port, protocol)) add(protocol, `${number}`);
    }
  }
  const matches = [...whole].map((protocol) => `meta l4proto ${protocol.toLowerCase()}`);
  for (const [protocol, list] of ranges) {
    if (!whole.has(protocol)) matches.push(...portSets(list).map((set) => `${protocol.toLowerCase()} dport ${set}`));
  }
  return { matches, named };
}

/** Port ranges that overlap may not be in one set: they are joined. */
function portSets(list: readonly string[]): string[] {
  const bounds = list
    .map((range) => range.split('-').map(Number))
    .map(([first = 0, last = first]) => ({ first, last }))
    .sort((a, b) => a.first - b.first || a.last - b.last);
  const joined: { first: number; last: number }[] = [];
  for (const { first, last } of bounds) {
    const previous = joined.at(-1);
    if (previous !== undefined && first <= previous.last + 1) previous.last = Math.max(previous.last, last);
    else joined.push({ first, last });
  }
  const texts = joined.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
  return [texts.length === 1 ? (texts[0] ?? '') : `{ ${texts.join(', ')} }`];
}

/** The peers of a rule: selections of pods, and blocks of addresses. */
function splitPeers(namespace: string, peers: readonly NetworkPolicyPeer[]): { specs: PeerSpec[]; blocks: IPBlock[] } {
  const blocks = peers.flatMap(({ ipBlock }) => (ipBlock === undefined ? [] : [ipBlock]));
  const specs = peers.flatMap(({ ipBlock, podSelector, namespaceSelector }): PeerSpec[] => {
    if (ipBlock !== undefined || (podSelector === undefined && namespaceSelector === undefined)) return [];
    try {
      const namespaces = requirementsOf(namespaceSelector);
      return [
        {
          namespace: namespaces === undefined ? namespace : undefined,
          namespaces,
          pods: requirementsOf(podSelector) ?? [],
          blocks: undefined,
          port: undefined,
        },
      ];
    } catch (error) {
      // A selector that cannot be understood selects nothing: what is not understood is not allowed.
      if (error instanceof SelectorError) return [];
      throw error;
    }
  });
  return { specs, blocks };
}

const everybody: PeerSpec = { namespace: undefined, namespaces: [], pods: [], blocks: undefined, port: undefined };

/**
 * The chain of a policy. Named ports of ingress are those of the pod that is protected: pods with different numbers get
 * chains of their own. Named ports of egress are those of each destination.
 */
export function planPolicy(policy: NetworkPolicy, direction: Direction, ports: readonly NamedPort[]): PolicyChain {
  const { namespace = '', name } = policy.metadata;
  const used: string[] = [];
  const resolve = (wanted: string, protocol: string): number[] => {
    const found = ports.filter((port) => port.name === wanted && port.protocol === protocol).map(({ port }) => port);
    used.push(`${protocol}/${wanted}=${found}`);
    return found;
  };
  const rules: string[] = [];
  const sets = new Map<string, PeerSpec>();
  const nameOf = (spec: PeerSpec, family: IpFamily): string => {
    const set = peerSetName(spec);
    sets.set(set, spec);
    return `${set}-${family === 'IPv4' ? 4 : 6}`;
  };
  const side = direction === 'ingress' ? 'saddr' : 'daddr';
  const list =
    direction === 'ingress'
      ? (policy.spec?.ingress ?? []).map((rule) => ({ peers: rule.from ?? [], ports: rule.ports }))
      : (policy.spec?.egress ?? []).map((rule) => ({ peers: rule.to ?? [], ports: rule.ports }));
  for (const rule of list) {
    const wanted = planPorts(rule.ports, direction === 'ingress' ? resolve : undefined);
    const { specs, blocks } = splitPeers(namespace, rule.peers);
    const matches = wanted === 'all' ? [''] : wanted.matches.map((match) => `${match} `);
    if (rule.peers.length === 0) for (const match of matches) rules.push(`${match}accept`);
    for (const family of families) {
      const from = specs.map((spec) => `${ipWord(family)} ${side} @${nameOf(spec, family)} `);
      const ranges = planIpBlocks(blocks, family);
      if (ranges.length > 0) from.push(`${ipWord(family)} ${side} { ${ranges.join(', ')} } `);
      if (matches.length > 0) for (const peer of from) for (const match of matches) rules.push(`${peer}${match}accept`);
      if (wanted === 'all') continue;
      const among = [
        ...specs,
        ...(blocks.length > 0 ? [{ ...everybody, blocks }] : []),
        ...(rule.peers.length === 0 ? [everybody] : []),
      ];
      for (const port of wanted.named) {
        for (const spec of among) {
          const set = nameOf({ ...spec, port }, family);
          rules.push(`${ipWord(family)} daddr . meta l4proto . th dport @${set} accept`);
        }
      }
    }
  }
  const hash = shortHash([direction, namespace, name, ...used].join('\n'), 8);
  const chain = `${direction}-${hash}-${namespace}/${name}`.slice(0, maxNameLength);
  return { name: chain, rules, peers: [...sets.values()] };
}
