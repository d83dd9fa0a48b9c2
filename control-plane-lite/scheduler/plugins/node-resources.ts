// Whether a node has room for a pod, and how well the pod would fit. Behaviour: upstream's noderesources plugins, whose
// scores are rounded down: here they are not, so that nodes fill up more evenly.
import type { NodeInfo } from '../cache/node-info.ts';
import type { Plugin } from '../framework/plugin.ts';
import type { PodInfo } from '../framework/pod-info.ts';
import { type ShapePoint, valueOfShape } from './score-shape.ts';

/** A resource that counts for the score. */
export interface ScoredResource {
  name: string;
  weight: number;
}

/** NodeResourcesFitArgs. */
export interface FitArgs {
  strategy: 'LeastAllocated' | 'MostAllocated' | 'RequestedToCapacityRatio';
  resources: readonly ScoredResource[];
  shape: readonly ShapePoint[];
  /** Extended resources that are not looked at, and groups of them: the part before the slash. */
  ignoredResources: readonly string[];
  ignoredGroups: readonly string[];
}

export const defaultScoredResources: readonly ScoredResource[] = [
  { name: 'cpu', weight: 1 },
  { name: 'memory', weight: 1 },
];

export const defaultFitArgs: FitArgs = {
  strategy: 'LeastAllocated',
  resources: defaultScoredResources,
  shape: [],
  ignoredResources: [],
  ignoredGroups: [],
};

/** Resources that the pod needs and the node lacks, by name; `pods` for the number of pods. */
function missingResources(pod: PodInfo, node: NodeInfo, isIgnored: (resource: string) => boolean): string[] {
  const missing: string[] = [];
  const maxPods = node.allocatable.get('pods') ?? 0;
  if (node.pods.size + 1 > maxPods) missing.push('pods');
  for (const [resource, amount] of pod.requests) {
    if (amount <= 0 || isIgnored(resource)) continue;
    if (amount > (node.allocatable.get(resource) ?? 0) - (node.requested.get(resource) ?? 0)) missing.push(resource);
  }
  return missing;
}

/** What the node has of a resource and what would be taken of it with the pod there. */
function levels(name: string, pod: PodInfo, node: NodeInfo): { capacity: number; taken: number } {
  const capacity = node.allocatable.get(name) ?? 0;
  // Containers that ask for nothing count as if they asked for a little.
  if (name === 'cpu') return { capacity, taken: node.scoredCpu + pod.scoredCpu };
  if (name === 'memory') return { capacity, taken: node.scoredMemory + pod.scoredMemory };
  const own = pod.requests.get(name) ?? 0;
  if (own === 0 && name !== 'ephemeral-storage') return { capacity: 0, taken: 0 };
  return { capacity, taken: (node.requested.get(name) ?? 0) + own };
}

function scoreOf({ strategy, shape }: FitArgs, capacity: number, taken: number): number {
  switch (strategy) {
    case 'LeastAllocated':
      return taken > capacity ? 0 : ((capacity - taken) * 100) / capacity;
    case 'MostAllocated':
      return (Math.min(taken, capacity) * 100) / capacity;
    case 'RequestedToCapacityRatio':
      return valueOfShape(shape, taken > capacity ? 100 : Math.floor((taken * 100) / capacity));
    default:
      return strategy satisfies never;
  }
}

/** Room for the requests; what is best is up to the strategy. */
export function createNodeResourcesFit(args: FitArgs = defaultFitArgs): Plugin {
  const { resources, ignoredResources, ignoredGroups, strategy } = args;
  const isIgnored = (resource: string) =>
    ignoredResources.includes(resource) ||
    (resource.includes('/') && ignoredGroups.includes(resource.slice(0, resource.indexOf('/'))));
  return {
    name: 'NodeResourcesFit',
    weight: 1,
    filter: (pod, node) => {
      const missing = missingResources(pod, node, isIgnored);
      if (missing.length === 0) return undefined;
      const reasons = missing.map((resource) => (resource === 'pods' ? 'Too many pods' : `Insufficient ${resource}`));
      // What would not fit even on the empty node is not helped by others leaving.
      const never = missing.some(
        (resource) => (pod.requests.get(resource) ?? 0) > (node.allocatable.get(resource) ?? 0),
      );
      return { plugin: 'NodeResourcesFit', reasons, resolvable: !never };
    },
    score: (pod, node) => {
      let total = 0;
      let weights = 0;
      for (const { name, weight } of resources) {
        const { capacity, taken } = levels(name, pod, node);
        if (capacity === 0) continue;
        const score = scoreOf(args, capacity, taken);
        if (strategy === 'RequestedToCapacityRatio' && score <= 0) continue;
        total += score * weight;
        weights += weight;
      }
      if (weights === 0) return 0;
      return strategy === 'RequestedToCapacityRatio' ? Math.round(total / weights) : total / weights;
    },
  };
}

function deviation(fractions: readonly number[]): number {
  if (fractions.length < 2) return 0;
  const mean = fractions.reduce((sum, fraction) => sum + fraction, 0) / fractions.length;
  return Math.sqrt(fractions.reduce((sum, fraction) => sum + (fraction - mean) ** 2, 0) / fractions.length);
}

/** Nodes whose resources fill up evenly rank higher; pods that ask for none of them do not care. */
export function createNodeResourcesBalanced(resources: readonly ScoredResource[] = defaultScoredResources): Plugin {
  return {
    name: 'NodeResourcesBalancedAllocation',
    weight: 1,
    score: ({ requests }, { allocatable, requested }) => {
      if (!resources.some(({ name }) => (requests.get(name) ?? 0) > 0)) return 0;
      const fractions: number[] = [];
      for (const { name } of resources) {
        const capacity = allocatable.get(name) ?? 0;
        const own = requests.get(name) ?? 0;
        if (capacity === 0 || (own === 0 && name !== 'cpu' && name !== 'memory')) continue;
        fractions.push(Math.min(1, ((requested.get(name) ?? 0) + own) / capacity));
      }
      return (1 - deviation(fractions)) * 100;
    },
  };
}
