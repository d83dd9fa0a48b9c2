// How fast nodes may be given taints that evict pods: slowly, and not at all when so many nodes are silent that the
// fault is more likely on this side. Pure but for its own token count. Numbers: upstream's defaults.
import type { Node } from '#kube/api/generated/core-v1.ts';
import { readyStatus } from './plan-taints.ts';

const evictionsPerSecond = 0.1;
const unhealthyFraction = 0.55;
const largeClusterNodes = 50;
const secondaryPerSecond = 0.01;

function zoneOf(node: Node): string {
  const labels = node.metadata.labels;
  return `${labels?.['topology.kubernetes.io/region'] ?? ''}/${labels?.['topology.kubernetes.io/zone'] ?? ''}`;
}

function rateOf(nodes: readonly Node[]): number {
  const silent = nodes.filter((node) => readyStatus(node) !== 'True').length;
  // A zone that is silent as a whole while others are not has lost its power, not its connection.
  if (silent === nodes.length) return evictionsPerSecond;
  if (silent < 3 || silent / nodes.length < unhealthyFraction) return evictionsPerSecond;
  return nodes.length > largeClusterNodes ? secondaryPerSecond : 0;
}

export interface EvictionBudget {
  /** Whether the node may get an evicting taint now; true uses up the zone's turn. */
  take(node: Node, all: readonly Node[], nowMs: number): boolean;
}

/** Whether no node at all is ready: then nobody is evicted. */
export function isFullyDisrupted(nodes: readonly Node[]): boolean {
  return nodes.length > 0 && nodes.every((node) => readyStatus(node) !== 'True');
}

/** One for the cluster; zones are told apart by the nodes' labels. */
export function createEvictionBudget(): EvictionBudget {
  const nextByZone = new Map<string, number>();
  return {
    take(node, all, nowMs) {
      if (isFullyDisrupted(all)) return false;
      const zone = zoneOf(node);
      const rate = rateOf(all.filter((candidate) => zoneOf(candidate) === zone));
      if (rate === 0 || nowMs < (nextByZone.get(zone) ?? 0)) return false;
      nextByZone.set(zone, nowMs + 1000 / rate);
      return true;
    },
  };
}
