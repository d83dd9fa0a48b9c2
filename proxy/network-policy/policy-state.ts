// What is known of policies, pods and namespaces, and the table that follows from it. A pod that changes is compared with
// the sets in use; chains are made again only when a policy or a pod of this node has changed. Without effects.
import type { NetworkPolicy } from '#kube/api/generated/networking-v1.ts';
import { type Labels, labelSelectorMatches, SelectorError } from '#kube/api/label-selector.ts';
import type { IpFamily } from '../model/service-port.ts';
import { shortHash } from '../plan/short-hash.ts';
import { describePeers, type PeerSpec, peerElements, peerSetName } from './peer-set.ts';
import { type Direction, directions, isolates, type PolicyChain, planPolicy } from './plan-policy.ts';
import type { PolicyPod } from './policy-pod.ts';

const families = ['IPv4', 'IPv6'] as const;

/** A set or verdict map: elements by key; the value of a set's element is empty. `version` grows with each change. */
export interface PolicySet {
  type: string;
  comment: string;
  elements: ReadonlyMap<string, string>;
  version: number;
}

export interface PolicyTable {
  /** In which some policy of the cluster isolates: there, pods that nobody knows yet must wait. */
  isolated: readonly Direction[];
  chains: ReadonlyMap<string, readonly string[]>;
  sets: ReadonlyMap<string, PolicySet>;
}

/** Elements that several pods may have at the same time. */
interface CountedSet {
  spec: PeerSpec;
  family: IpFamily;
  byPod: Map<string, string[]>;
  counts: Map<string, number>;
  elements: Map<string, string>;
  version: number;
}

export interface PolicyState {
  setPolicy(policy: NetworkPolicy): void;
  removePolicy(key: string): void;
  /** `undefined` for a pod that policies do not look at any more. */
  setPod(key: string, pod: PolicyPod | undefined): void;
  setNamespace(name: string, labels: Labels | undefined): void;
  compute(): PolicyTable;
  readonly policyCount: number;
}

const suffix: Record<IpFamily, string> = { IPv4: '-4', IPv6: '-6' };
const addressTypes: Record<IpFamily, string> = { IPv4: 'ipv4_addr', IPv6: 'ipv6_addr' };

/** Names of what every table has. */
export const wellKnown = {
  verdicts: (direction: Direction, family: IpFamily): string => `${direction}-pods${suffix[family]}`,
  known: (family: IpFamily): string => `known-pods${suffix[family]}`,
  self: (family: IpFamily): string => `self${suffix[family]}`,
};

function keyOf({ metadata: { namespace = '', name } }: NetworkPolicy): string {
  return `${namespace}/${name}`;
}

function selects(policy: NetworkPolicy, pod: PolicyPod): boolean {
  try {
    // Absent is what an empty selector is: all pods of the namespace.
    return labelSelectorMatches(policy.spec?.podSelector ?? {}, pod.labels);
  } catch (error) {
    // Nobody knows whom it means; those it may mean stay isolated.
    if (error instanceof SelectorError) return true;
    throw error;
  }
}

export function createPolicyState(): PolicyState {
  const policies = new Map<string, Map<string, NetworkPolicy>>();
  const pods = new Map<string, PolicyPod>();
  const localPods = new Map<string, PolicyPod>();
  const namespaces = new Map<string, Labels>();
  let peerSets = new Map<string, CountedSet>();
  let chains = new Map<string, string[]>();
  let fixedSets = new Map<string, PolicySet>();
  let isolated: Direction[] = [];
  let isLocalDirty = true;
  let version = 0;

  function place(set: CountedSet, key: string, pod: PolicyPod | undefined): void {
    const before = set.byPod.get(key) ?? [];
    const after = pod === undefined ? [] : peerElements(set.spec, pod, namespaces.get(pod.namespace), set.family);
    if (before.length === after.length && before.every((element, i) => element === after[i])) return;
    for (const element of after) {
      set.counts.set(element, (set.counts.get(element) ?? 0) + 1);
      set.elements.set(element, '');
    }
    for (const element of before) {
      const left = (set.counts.get(element) ?? 1) - 1;
      if (left > 0) set.counts.set(element, left);
      else {
        set.counts.delete(element);
        set.elements.delete(element);
      }
    }
    if (after.length === 0) set.byPod.delete(key);
    else set.byPod.set(key, after);
    version += 1;
    set.version = version;
  }

  function createPeerSet(spec: PeerSpec, family: IpFamily): CountedSet {
    version += 1;
    const set: CountedSet = { spec, family, byPod: new Map(), counts: new Map(), elements: new Map(), version };
    for (const [key, pod] of pods) place(set, key, pod);
    return set;
  }

  function groupChain(direction: Direction, policyChains: readonly PolicyChain[]): string {
    const names = policyChains.map(({ name }) => name).sort();
    const group = `${direction}-group-${shortHash(names.join('\n'), 12)}`;
    chains.set(group, [...names.map((name) => `jump ${name}`), 'drop']);
    for (const { name, rules } of policyChains) chains.set(name, rules);
    return group;
  }

  function rebuild(): void {
    chains = new Map();
    const everyPolicy = [...policies.values()].flatMap((group) => [...group.values()]);
    isolated = directions.filter((direction) => everyPolicy.some((policy) => isolates(policy, direction)));
    const wanted = new Map<string, PeerSpec>();
    const elements = new Map<string, Map<string, string>>();
    const put = (set: string, key: string, value: string): void => {
      const into = elements.get(set) ?? new Map<string, string>();
      elements.set(set, into.set(key, value));
    };
    for (const pod of localPods.values()) {
      const own = [...(policies.get(pod.namespace)?.values() ?? [])].filter((policy) => selects(policy, pod));
      for (const address of pod.addresses) {
        const family = address.includes(':') ? 'IPv6' : 'IPv4';
        put(wellKnown.known(family), address, '');
        put(wellKnown.self(family), `${address} . ${address}`, '');
      }
      for (const direction of directions) {
        const isolating = own.filter((policy) => isolates(policy, direction));
        if (isolating.length === 0) continue;
        const planned = isolating.map((policy) => planPolicy(policy, direction, pod.ports));
        for (const spec of planned.flatMap(({ peers }) => peers)) wanted.set(peerSetName(spec), spec);
        const group = groupChain(direction, planned);
        for (const address of pod.addresses) {
          const family = address.includes(':') ? 'IPv6' : 'IPv4';
          put(wellKnown.verdicts(direction, family), address, `goto ${group}`);
        }
      }
    }
    const next = new Map<string, CountedSet>();
    for (const [name, spec] of wanted) {
      for (const family of families) {
        const full = `${name}${suffix[family]}`;
        next.set(full, peerSets.get(full) ?? createPeerSet(spec, family));
      }
    }
    peerSets = next;
    version += 1;
    const fixed = (name: string, type: string, text: string): [string, PolicySet] => [
      name,
      { type, comment: text, elements: elements.get(name) ?? new Map(), version },
    ];
    fixedSets = new Map(
      families.flatMap((family) => [
        fixed(wellKnown.known(family), addressTypes[family], 'pods of this node'),
        fixed(wellKnown.self(family), `${addressTypes[family]} . ${addressTypes[family]}`, 'pods to themselves'),
        ...directions.map((direction) =>
          fixed(
            wellKnown.verdicts(direction, family),
            `${addressTypes[family]} : verdict`,
            `isolated for ${direction}`,
          ),
        ),
      ]),
    );
    isLocalDirty = false;
  }

  return {
    get policyCount() {
      return [...policies.values()].reduce((sum, group) => sum + group.size, 0);
    },
    setPolicy: (policy) => {
      const { namespace = '' } = policy.metadata;
      const group = policies.get(namespace) ?? new Map<string, NetworkPolicy>();
      policies.set(namespace, group.set(keyOf(policy), policy));
      isLocalDirty = true;
    },
    removePolicy: (key) => {
      const namespace = key.split('/')[0] ?? '';
      const group = policies.get(namespace);
      group?.delete(key);
      if (group?.size === 0) policies.delete(namespace);
      isLocalDirty = true;
    },
    setPod: (key, pod) => {
      const before = pods.get(key);
      if (pod === undefined) pods.delete(key);
      else pods.set(key, pod);
      for (const set of peerSets.values()) place(set, key, pod);
      if (pod?.isLocal !== true) localPods.delete(key);
      else localPods.set(key, pod);
      if (before?.isLocal === true || pod?.isLocal === true) isLocalDirty = true;
    },
    setNamespace: (name, labels) => {
      if (labels === undefined) namespaces.delete(name);
      else namespaces.set(name, labels);
      for (const [key, pod] of pods) {
        if (pod.namespace === name) for (const set of peerSets.values()) place(set, key, pod);
      }
    },
    compute: () => {
      if (isLocalDirty) rebuild();
      const sets = new Map(fixedSets);
      for (const [name, { spec, family, elements, version: at }] of peerSets) {
        const address = addressTypes[family];
        const type = spec.port === undefined ? address : `${address} . inet_proto . inet_service`;
        sets.set(name, { type, comment: describePeers(spec), elements, version: at });
      }
      return { isolated, chains, sets };
    },
  };
}
