// Which pods of lower priority would have to go so that a pod fits somewhere. Pure over the cache.
// Behaviour and texts: upstream's defaultpreemption plugin; disruption budgets are not looked at.
import type { ClusterCache } from '../cache/cluster-cache.ts';
import { addPod, type NodeInfo, withoutPods } from '../cache/node-info.ts';
import { evaluate } from './evaluate.ts';
import type { Plugin, Refusal } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';

export type Preemption =
  | { outcome: 'victims'; node: string; victims: PodInfo[] }
  | { outcome: 'none'; message: string };

const notHelpful = 'Preemption is not helpful for scheduling';
const noVictims = 'No preemption victims found for incoming pod';
/** So many nodes that would do are compared; more are not worth the time. */
const maxCandidates = 100;

/** More important first: higher priority, then older. */
function byImportance(a: PodInfo, b: PodInfo): number {
  return b.priority - a.priority || (startOf(a) < startOf(b) ? -1 : 1);
}

function startOf({ pod }: PodInfo): string {
  return pod.status?.startTime ?? pod.metadata.creationTimestamp ?? '';
}

/** The least important set of pods without which the pod fits on the node. */
function selectVictims(pod: PodInfo, node: NodeInfo, plugins: readonly Plugin[]): PodInfo[] | undefined {
  const lower = [...node.pods.values()].filter(({ priority }) => priority < pod.priority).sort(byImportance);
  if (lower.length === 0) return undefined;
  const emptied = withoutPods(node, new Set(lower.map(({ uid }) => uid)));
  if (!evaluate(plugins, pod, emptied).fits) return undefined;
  const kept = new Set<string>();
  for (const candidate of lower) {
    const victims = lower.filter(({ uid }) => uid !== candidate.uid && !kept.has(uid));
    const trial = withoutPods(node, new Set(victims.map(({ uid }) => uid)));
    for (const uid of kept) {
      const spared = node.pods.get(uid);
      if (spared !== undefined) addPod(trial, spared);
    }
    if (evaluate(plugins, pod, trial).fits) kept.add(candidate.uid);
  }
  return lower.filter(({ uid }) => !kept.has(uid));
}

interface Candidate {
  node: string;
  victims: PodInfo[];
}

/** The candidate that costs least: lowest highest priority, lowest sum, fewest pods, youngest victims. */
function cheapest(candidates: readonly Candidate[]): Candidate | undefined {
  const cost = ({ victims }: Candidate) => {
    const priorities = victims.map(({ priority }) => priority);
    return { highest: Math.max(...priorities), sum: priorities.reduce((a, b) => a + b, 0), count: victims.length };
  };
  return [...candidates].sort((a, b) => {
    const [left, right] = [cost(a), cost(b)];
    const difference = left.highest - right.highest || left.sum - right.sum || left.count - right.count;
    if (difference !== 0) return difference;
    const [youngest, other] = [a, b].map(({ victims }) => victims.map(startOf).sort()[0] ?? '');
    return (youngest ?? '') > (other ?? '') ? -1 : 1;
  })[0];
}

/** `refusals`: why each node does not take the pod now. */
export function planPreemption(
  pod: PodInfo,
  cache: ClusterCache,
  plugins: readonly Plugin[],
  refusals: ReadonlyMap<string, Refusal>,
): Preemption {
  if (pod.pod.spec?.preemptionPolicy === 'Never') {
    return { outcome: 'none', message: 'not eligible due to preemptionPolicy=Never.' };
  }
  const candidates: Candidate[] = [];
  let hopeless = 0;
  let withoutVictims = 0;
  const anyLower = cache.lowestPriority < pod.priority;
  for (const [name, { resolvable }] of refusals) {
    const node = cache.nodes.get(name);
    if (!resolvable || node === undefined) {
      hopeless += 1;
      continue;
    }
    // Refused only because of where other pods are: removing pods of this node is no sure help.
    const relational = anyLower && evaluate(plugins, pod, node).fits;
    const victims = anyLower && !relational ? selectVictims(pod, node, plugins) : undefined;
    if (victims === undefined || victims.length === 0) withoutVictims += 1;
    else if (candidates.push({ node: name, victims }) >= maxCandidates) break;
  }
  const best = cheapest(candidates);
  if (best !== undefined) return { outcome: 'victims', ...best };
  const parts = [
    ...(withoutVictims === 0 ? [] : [`${withoutVictims} ${noVictims}`]),
    ...(hopeless === 0 ? [] : [`${hopeless} ${notHelpful}`]),
  ].sort();
  return { outcome: 'none', message: `0/${cache.nodes.size} nodes are available: ${parts.join(', ')}.` };
}
