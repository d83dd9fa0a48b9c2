// Which pods of lower priority would have to go so that a pod fits somewhere. Pure over the cache.
// Behaviour and texts: upstream's defaultpreemption plugin.
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import type { ClusterCache } from '../cache/cluster-cache.ts';
import { addPod, type NodeInfo, removePod, withoutPods } from '../cache/node-info.ts';
import { diagnose } from './diagnosis.ts';
import { type BudgetedPods, splitByBudgets } from './disruption-budgets.ts';
import { firstRefusal } from './evaluate.ts';
import type { Plugin, Refusal } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';
import type { PreemptionSettings } from './profile.ts';
import type { RelationFilter } from './select-node.ts';

export type Preemption =
  | { outcome: 'victims'; node: string; victims: PodInfo[] }
  /** `isWaiting`: the pod keeps the node that it was promised, and waits. */
  | { outcome: 'none'; message: string; isWaiting: boolean };

export interface PreemptionView {
  cache: ClusterCache;
  plugins: readonly Plugin[];
  /** What other pods mean for the pod's place. */
  relations: RelationFilter;
  settings: PreemptionSettings;
  budgets: readonly PodDisruptionBudget[];
}

const plugin = 'DefaultPreemption';
const notHelpful: Refusal = {
  plugin,
  reasons: ['Preemption is not helpful for scheduling'],
  resolvable: false,
};
const noVictims: Refusal = { plugin, reasons: ['No preemption victims found for incoming pod'], resolvable: false };

function startOf({ pod }: PodInfo): string {
  return pod.status?.startTime ?? pod.metadata.creationTimestamp ?? '';
}

/** More important first: higher priority, then older. */
function byImportance(a: PodInfo, b: PodInfo): number {
  return b.priority - a.priority || (startOf(a) < startOf(b) ? -1 : 1);
}

interface Candidate {
  node: string;
  /** Most important first. */
  victims: PodInfo[];
  /** Victims whose budget does not allow it. */
  violations: number;
}

/** The least important set of pods without which the pod fits on the node; those with a budget are spared first. */
function selectVictims(pod: PodInfo, node: NodeInfo, view: PreemptionView): Candidate | Refusal {
  const lower = [...node.pods.values()].filter(({ priority }) => priority < pod.priority).sort(byImportance);
  if (lower.length === 0) return noVictims;
  const gone = new Map(lower.map((info) => [info.uid, info]));
  const trial = withoutPods(node, new Set(gone.keys()));
  const refusal = () => firstRefusal(view.plugins, pod, trial) ?? view.relations(node, [...gone.values()]);
  const stillRefused = refusal();
  if (stillRefused !== undefined) return stillRefused;
  const reprieve = (info: PodInfo): boolean => {
    addPod(trial, info);
    gone.delete(info.uid);
    if (refusal() === undefined) return true;
    removePod(trial, info.uid);
    gone.set(info.uid, info);
    return false;
  };
  const { violating, others }: BudgetedPods = splitByBudgets(lower, view.budgets);
  const violations = violating.filter((info) => !reprieve(info)).length;
  for (const info of others) reprieve(info);
  if (gone.size === 0) return noVictims;
  return { node: node.name, victims: [...gone.values()].sort(byImportance), violations };
}

/** When the oldest of the most important victims started. */
function earliestStart(victims: readonly PodInfo[]): string {
  const highest = victims[0]?.priority;
  const starts = victims.filter(({ priority }) => priority === highest).map(startOf);
  return starts.sort()[0] ?? '';
}

/** Which of two candidates costs less: kept budgets, low priorities, few pods, young pods. Negative: the first. */
function compareCost(a: Candidate, b: Candidate): number {
  const highest = ({ victims }: Candidate) => victims[0]?.priority ?? Number.NEGATIVE_INFINITY;
  // Each pod counts, also at priority zero and below.
  const sum = ({ victims }: Candidate) => victims.reduce((total, { priority }) => total + priority + 2 ** 31, 0);
  const difference =
    a.violations - b.violations || highest(a) - highest(b) || sum(a) - sum(b) || a.victims.length - b.victims.length;
  if (difference !== 0) return difference;
  const [left, right] = [earliestStart(a.victims), earliestStart(b.victims)];
  if (left === right) return 0;
  return left > right ? -1 : 1;
}

/** Whether pods that were told to go for the pod are still on its node: then nobody else has to go. */
function waitsForVictims(pod: PodInfo, nominated: NodeInfo): boolean {
  return [...nominated.pods.values()].some(
    ({ pod: other, priority }) =>
      priority < pod.priority &&
      other.metadata.deletionTimestamp !== undefined &&
      (other.status?.conditions ?? []).some(
        ({ type, status, reason }) =>
          type === 'DisruptionTarget' && status === 'True' && reason === 'PreemptionByScheduler',
      ),
  );
}

/**
 * Plans. `refusals`: why each node does not take the pod now; `nominated`: the node it was promised before; `start`:
 * with which of the nodes to begin, where there are more than are compared.
 */
export function planPreemption(
  pod: PodInfo,
  view: PreemptionView,
  refusals: ReadonlyMap<string, Refusal>,
  { nominated, start = 0 }: { nominated?: string | undefined; start?: number } = {},
): Preemption {
  if (pod.pod.spec?.preemptionPolicy === 'Never') {
    return { outcome: 'none', message: 'not eligible due to preemptionPolicy=Never.', isWaiting: false };
  }
  const { cache, settings } = view;
  const promised = nominated === undefined ? undefined : cache.nodes.get(nominated);
  if (promised !== undefined && refusals.get(promised.name)?.resolvable === true && waitsForVictims(pod, promised)) {
    return {
      outcome: 'none',
      message: 'not eligible due to a terminating pod on the nominated node.',
      isWaiting: true,
    };
  }
  const potential = [...refusals].filter(([, { resolvable }]) => resolvable).map(([name]) => name);
  const wanted = Math.max(Math.floor((potential.length * settings.minPercentage) / 100), settings.minAbsolute);
  const candidates: Candidate[] = [];
  const reasons: Refusal[] = [];
  const anyLower = cache.lowestPriority < pod.priority;
  for (let index = 0; index < potential.length; index += 1) {
    const node = cache.nodes.get(potential[(start + index) % potential.length] ?? '');
    if (node === undefined) continue;
    const found = anyLower ? selectVictims(pod, node, view) : noVictims;
    if ('reasons' in found) reasons.push(found);
    else candidates.push(found);
    if (candidates.length >= wanted && candidates.some(({ violations }) => violations === 0)) break;
  }
  const best = candidates.reduce<Candidate | undefined>(
    (least, candidate) => (least === undefined || compareCost(candidate, least) < 0 ? candidate : least),
    undefined,
  );
  if (best !== undefined) return { outcome: 'victims', node: best.node, victims: best.victims };
  const others = Array.from({ length: cache.nodes.size - reasons.length }, () => notHelpful);
  return { outcome: 'none', message: diagnose(cache.nodes.size, [...reasons, ...others]), isWaiting: false };
}
