// Nodes that are promised to pods which wait for others to leave. A promised place is held in the cache, so that nobody
// of lower or equal importance takes it; who is more important does not see it.
import type { ClusterCache } from './cache/cluster-cache.ts';
import type { PodInfo } from './framework/pod-info.ts';

export interface Nominations {
  nodeOf(uid: string): string | undefined;
  /** Promises the node. */
  set(info: PodInfo, node: string): void;
  /** Takes the promise back; returns the node. */
  take(uid: string): string | undefined;
  /** Computes something as if pods of lower priority had been promised nothing. */
  withoutLower<T>(priority: number, compute: () => T): T;
  /** Pods of lower priority to whom the node is promised. */
  lowerOn(node: string, priority: number): PodInfo[];
}

/** No promises yet. */
export function createNominations(cache: ClusterCache): Nominations {
  const held = new Map<string, { info: PodInfo; node: string }>();
  return {
    nodeOf: (uid) => held.get(uid)?.node,
    set(info, node) {
      held.set(info.uid, { info, node });
      cache.assume(info, node);
    },
    take(uid) {
      const entry = held.get(uid);
      if (entry === undefined) return undefined;
      held.delete(uid);
      cache.forget(uid);
      return entry.node;
    },
    withoutLower(priority, compute) {
      const lower = [...held.values()].filter(({ info }) => info.priority < priority);
      for (const { info } of lower) cache.forget(info.uid);
      const result = compute();
      for (const { info, node } of lower) cache.assume(info, node);
      return result;
    },
    lowerOn: (node, priority) =>
      [...held.values()]
        .filter((entry) => entry.node === node && entry.info.priority < priority)
        .map(({ info }) => info),
  };
}
