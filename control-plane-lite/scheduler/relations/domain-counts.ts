// Pods that match something, counted by the value of a node label: what spreading and affinity compare. Counts are kept
// from one decision to the next, and only nodes that changed are counted again.
import type { ClusterCache } from '../cache/cluster-cache.ts';
import type { NodeInfo } from '../cache/node-info.ts';
import type { PodMatcher } from './affinity-terms.ts';

/** What is counted where. */
export interface CountQuestion {
  /** Equal questions have equal keys. */
  key: string;
  /** The node's domain; undefined where its pods do not count. Depends on labels and taints alone. */
  domainOf(node: NodeInfo): string | undefined;
  counts: PodMatcher;
}

export interface DomainCounts {
  /** Matching pods of each domain that has a node that counts, zero included. */
  readonly pods: ReadonlyMap<string, number>;
  /** Matching pods in all. */
  readonly total: number;
}

interface Entry extends DomainCounts {
  bringUpToDate(question: CountQuestion): void;
}

const maxEntries = 300;

function createEntry(cache: ClusterCache): Entry {
  const onNode = new Map<string, { domain: string; pods: number }>();
  const nodesOf = new Map<string, number>();
  const pods = new Map<string, number>();
  let total = 0;
  let version = -1;
  let layout = -1;

  function add(domain: string, nodes: number, count: number): void {
    const left = (nodesOf.get(domain) ?? 0) + nodes;
    total += count;
    if (left > 0) {
      nodesOf.set(domain, left);
      pods.set(domain, (pods.get(domain) ?? 0) + count);
    } else {
      nodesOf.delete(domain);
      pods.delete(domain);
    }
  }

  function look(name: string, { domainOf, counts }: CountQuestion): void {
    const known = onNode.get(name);
    if (known !== undefined) {
      onNode.delete(name);
      add(known.domain, -1, -known.pods);
    }
    const node = cache.nodes.get(name);
    const domain = node === undefined ? undefined : domainOf(node);
    if (node === undefined || domain === undefined) return;
    let matching = 0;
    for (const { pod } of node.pods.values()) if (counts(pod)) matching += 1;
    onNode.set(name, { domain, pods: matching });
    add(domain, 1, matching);
  }

  return {
    pods,
    get total() {
      return total;
    },
    bringUpToDate(question) {
      const changed = layout === cache.layout ? cache.changedSince(version) : undefined;
      for (const name of changed ?? new Set([...onNode.keys(), ...cache.nodes.keys()])) look(name, question);
      version = cache.version;
      layout = cache.layout;
    },
  };
}

/** Answers questions about one cluster; the least recently asked are forgotten. */
export type CountPods = (question: CountQuestion) => DomainCounts;

/** Counts nothing until asked. */
export function createPodCounter(cache: ClusterCache): CountPods {
  const entries = new Map<string, Entry>();
  return (question) => {
    const entry = entries.get(question.key) ?? createEntry(cache);
    entries.delete(question.key);
    entries.set(question.key, entry);
    if (entries.size > maxEntries) {
      const oldest = entries.keys().next();
      if (oldest.done !== true) entries.delete(oldest.value);
    }
    entry.bringUpToDate(question);
    return entry;
  };
}
