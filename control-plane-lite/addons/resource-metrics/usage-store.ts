// The last two reports of every node, and the usage that follows from them. What is old is not shown.
import type { Clock } from '#kube/process/clock.ts';
import { computeUsage, type Usage } from './compute-usage.ts';
import type { NodeReport } from './parse-resource-metrics.ts';

/** A report older than this is dropped: the node does not answer any more. */
const staleMs = 120_000;

interface Kept {
  previous: NodeReport | undefined;
  latest: NodeReport;
  receivedMs: number;
}

export interface UsageStore {
  add(nodeName: string, report: NodeReport): void;
  forget(nodeName: string): void;
  /** Whether usage can be told of the node yet. */
  isWarm(nodeName: string): boolean;
  node(nodeName: string): Usage | undefined;
  /** By container; undefined while that of any of them is unknown. A node speaks only of its own pods. */
  pod(nodeName: string, namespace: string, name: string): ReadonlyMap<string, Usage> | undefined;
}

/** Kept in memory: after a restart it is there again as soon as the nodes were asked twice. */
export function createUsageStore(clock: Pick<Clock, 'monotonicMs'>): UsageStore {
  const nodes = new Map<string, Kept>();

  function kept(nodeName: string): Kept | undefined {
    const found = nodes.get(nodeName);
    if (found === undefined || clock.monotonicMs() - found.receivedMs <= staleMs) return found;
    nodes.delete(nodeName);
    return undefined;
  }

  return {
    add(nodeName, report) {
      const before = kept(nodeName)?.latest;
      // An agent may answer twice from the same measurement.
      const isNew = before === undefined || (report.node?.atMs ?? 0) > (before.node?.atMs ?? 0);
      if (isNew) nodes.set(nodeName, { previous: before, latest: report, receivedMs: clock.monotonicMs() });
    },
    forget: (nodeName) => void nodes.delete(nodeName),
    isWarm: (nodeName) => kept(nodeName)?.previous !== undefined,
    node(nodeName) {
      const found = kept(nodeName);
      return found?.latest.node === undefined ? undefined : computeUsage(found.previous?.node, found.latest.node);
    },
    pod(nodeName, namespace, name) {
      const found = kept(nodeName);
      const key = `${namespace}/${name}`;
      const latest = found?.latest.pods.get(key);
      if (latest === undefined) return undefined;
      const usages = new Map<string, Usage>();
      for (const [container, point] of latest) {
        const usage = computeUsage(found?.previous?.pods.get(key)?.get(container), point);
        if (usage === undefined) return undefined;
        usages.set(container, usage);
      }
      return usages;
    },
  };
}
