// Which node suits a class of equal pods best, kept from one decision to the next: only nodes that changed since are
// looked at again. A decision costs what changed plus a peek at a heap, however many nodes there are.
import type { ClusterCache } from '../cache/cluster-cache.ts';
import { zoneScores, zoneSpreadWeight } from '../plugins/group-spread.ts';
import { evaluate } from './evaluate.ts';
import { createHeap, type Heap } from './heap.ts';
import type { Plugin, Refusal } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';

/** A node that fits, with its score. Ties are broken at random, once per evaluation. */
export interface RankedNode {
  readonly name: string;
  readonly zone: string;
  readonly score: number;
  readonly tie: number;
}

/** All nodes for one class of pods: those that fit, best first by zone, and why the others do not. */
export interface Ranking {
  readonly fitting: ReadonlyMap<string, RankedNode>;
  readonly refusals: ReadonlyMap<string, Refusal>;
  /** The best node for the pod; undefined when none fits. */
  best(pod: PodInfo): RankedNode | undefined;
}

interface ClassState extends Ranking {
  bringUpToDate(pod: PodInfo): void;
}

/** So many rankings of so many nodes are kept; the least recently used goes first. */
const maxRankedNodes = 200_000;
const minClasses = 8;

function createClassState(cache: ClusterCache, plugins: readonly Plugin[], random: () => number): ClassState {
  const fitting = new Map<string, RankedNode>();
  const refusals = new Map<string, Refusal>();
  const heaps = new Map<string, Heap<RankedNode>>();
  let version = -1;
  let layout = -1;

  function look(pod: PodInfo, name: string): void {
    fitting.delete(name);
    refusals.delete(name);
    const node = cache.nodes.get(name);
    if (node === undefined) return;
    const verdict = evaluate(plugins, pod, node);
    if (!verdict.fits) {
      refusals.set(name, verdict.refusal);
      return;
    }
    const ranked = { name, zone: node.zone, score: verdict.score, tie: random() };
    fitting.set(name, ranked);
    let heap = heaps.get(node.zone);
    if (heap === undefined) {
      heap = createHeap<RankedNode>((a, b) => a.score > b.score || (a.score === b.score && a.tie > b.tie));
      heaps.set(node.zone, heap);
    }
    heap.push(ranked);
  }

  function rebuild(pod: PodInfo): void {
    fitting.clear();
    refusals.clear();
    heaps.clear();
    for (const name of cache.nodes.keys()) look(pod, name);
  }

  /** The first entry that still stands; entries of nodes that changed are dropped on the way. */
  function top(heap: Heap<RankedNode>): RankedNode | undefined {
    for (let first = heap.peek(); first !== undefined; first = heap.peek()) {
      if (fitting.get(first.name) === first) return first;
      heap.pop();
    }
    return undefined;
  }

  return {
    fitting,
    refusals,
    bringUpToDate(pod) {
      const changed = layout === cache.layout ? cache.changedSince(version) : undefined;
      const entries = [...heaps.values()].reduce((sum, heap) => sum + heap.size, 0);
      if (changed === undefined || entries > 4 * cache.nodes.size + 100) rebuild(pod);
      else for (const name of changed) look(pod, name);
      version = cache.version;
      layout = cache.layout;
    },
    best(pod) {
      const zones = pod.group === '' ? undefined : zoneScores(heaps.keys(), cache.groupZones(pod.group));
      let best: RankedNode | undefined;
      let bestScore = Number.NEGATIVE_INFINITY;
      for (const [zone, heap] of heaps) {
        const first = top(heap);
        if (first === undefined) continue;
        const score = first.score + zoneSpreadWeight * (zones?.get(zone) ?? 0);
        if (score > bestScore || (score === bestScore && first.tie > (best?.tie ?? 0))) {
          best = first;
          bestScore = score;
        }
      }
      return best;
    },
  };
}

const otherNode: Refusal = { reasons: ["node(s) didn't satisfy plugin(s) [NodeAffinity]"], resolvable: false };

/** The ranking of a pod that names its nodes: only those are looked at. */
function rankNamedNodes(
  names: readonly string[],
  pod: PodInfo,
  cache: ClusterCache,
  plugins: readonly Plugin[],
  random: () => number,
): Ranking {
  const fitting = new Map<string, RankedNode>();
  const refusals = new Map<string, Refusal>();
  for (const name of names) {
    const node = cache.nodes.get(name);
    if (node === undefined) continue;
    const verdict = evaluate(plugins, pod, node);
    if (verdict.fits) fitting.set(name, { name, zone: node.zone, score: verdict.score, tie: random() });
    else refusals.set(name, verdict.refusal);
  }
  if (fitting.size === 0) {
    for (const name of cache.nodes.keys()) if (!refusals.has(name)) refusals.set(name, otherNode);
  }
  const best = [...fitting.values()].sort((a, b) => b.score - a.score || b.tie - a.tie)[0];
  return { fitting, refusals, best: () => best };
}

/** Returns the up-to-date ranking for a pod's class. */
export function createClassRankings(
  cache: ClusterCache,
  plugins: readonly Plugin[],
  random: () => number,
): (pod: PodInfo) => Ranking {
  const states = new Map<string, ClassState>();
  return (pod) => {
    if (pod.onlyNodes !== undefined) return rankNamedNodes(pod.onlyNodes, pod, cache, plugins, random);
    const state = states.get(pod.schedulingClass) ?? createClassState(cache, plugins, random);
    states.delete(pod.schedulingClass);
    states.set(pod.schedulingClass, state);
    const limit = Math.max(minClasses, Math.floor(maxRankedNodes / Math.max(1, cache.nodes.size)));
    if (states.size > limit) {
      const oldest = states.keys().next();
      if (oldest.done !== true) states.delete(oldest.value);
    }
    state.bringUpToDate(pod);
    return state;
  };
}
