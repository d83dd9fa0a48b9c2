// Whether a node has room for a pod, and how well the pod would fit: emptier and more balanced nodes rank higher.
// Behaviour: upstream's noderesources plugins.
import type { NodeInfo } from '../cache/node-info.ts';
import type { Plugin } from '../framework/plugin.ts';
import type { PodInfo } from '../framework/pod-info.ts';

/** Resources that the pod needs and the node lacks, by name; `pods` for the number of pods. */
export function missingResources(pod: PodInfo, node: NodeInfo): string[] {
  const missing: string[] = [];
  const maxPods = node.allocatable.get('pods') ?? 0;
  if (node.pods.size + 1 > maxPods) missing.push('pods');
  for (const [resource, amount] of pod.requests) {
    if (amount > 0 && amount > (node.allocatable.get(resource) ?? 0) - (node.requested.get(resource) ?? 0)) {
      missing.push(resource);
    }
  }
  return missing;
}

/** Whether the pod would not fit even on the empty node. */
function neverFits(pod: PodInfo, node: NodeInfo): boolean {
  return [...pod.requests].some(([resource, amount]) => amount > (node.allocatable.get(resource) ?? 0));
}

/** Room for the requests; emptier nodes rank higher. */
export const nodeResourcesFit: Plugin = {
  name: 'NodeResourcesFit',
  weight: 1,
  filter: (pod, node) => {
    const missing = missingResources(pod, node);
    if (missing.length === 0) return undefined;
    const reasons = missing.map((resource) => (resource === 'pods' ? 'Too many pods' : `Insufficient ${resource}`));
    return { reasons, resolvable: !neverFits(pod, node) };
  },
  score: (pod, { allocatable, scoredCpu, scoredMemory }) => {
    const free = (capacity: number, used: number) => (used > capacity ? 0 : ((capacity - used) * 100) / capacity);
    const cpu = allocatable.get('cpu') ?? 0;
    const memory = allocatable.get('memory') ?? 0;
    let total = 0;
    let counted = 0;
    if (cpu > 0) {
      total += free(cpu, scoredCpu + pod.scoredCpu);
      counted += 1;
    }
    if (memory > 0) {
      total += free(memory, scoredMemory + pod.scoredMemory);
      counted += 1;
    }
    return counted === 0 ? 0 : total / counted;
  },
};

/** Nodes whose cpu and memory fill up evenly rank higher. */
export const nodeResourcesBalanced: Plugin = {
  name: 'NodeResourcesBalancedAllocation',
  weight: 1,
  score: (pod, { allocatable, requested }) => {
    const fraction = (resource: string) => {
      const capacity = allocatable.get(resource) ?? 0;
      if (capacity === 0) return 1;
      return Math.min(1, ((requested.get(resource) ?? 0) + (pod.requests.get(resource) ?? 0)) / capacity);
    };
    return (1 - Math.abs(fraction('cpu') - fraction('memory')) / 2) * 100;
  },
};
