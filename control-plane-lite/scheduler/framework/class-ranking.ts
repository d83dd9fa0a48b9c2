// Which node suits a class of equal pods best, kept from one decision to the next: only nodes that changed since are
// looked at again. A decision costs what changed plus a peek at a heap, however many nodes there are.
import type { ClusterCache } from '../cache/cluster-cache.ts';
import { zoneScores } from '../plugins/group-spread.ts';
import { evaluate } from './evaluate.ts';
import { createHeap, type Heap } from './heap.ts';
import type { Plugin, Refusal } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';
import { createScale } from './score-scale.ts';

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
  /** What the zone adds to a node's score for the pod; undefined where zones do not count. */
  zoneBonus(pod: PodInfo): ReadonlyMap<string, number> | undefined;
  /** The best node for the pod; undefined when none fits. */
  best(pod: PodInfo): RankedNode | undefined;
}

/** What the rankings of one profile are made with. */
export interface RankingOptions {
  plugins: readonly Plugin[];
  /** How much the spreading of a controller's pods over zones counts. */
  zoneWeight: number;
  random: () => number;
}

interface ClassState extends Ranking {
  bringUpToDate(pod: PodInfo): void;
}

/** What is known of a node that fits, before its score is brought to scale. */
interface Candidate {
  zone: string;
  score: number;
  raw: readonly number[];
  tie: number;
}

/** So many rankings of so many nodes are kept; the least recently used goes first. */
const maxRankedNodes = 400_000;
const minClasses = 8;

function createClassState(cache: ClusterCache, options: RankingOptions): ClassState {
  const { plugins, zoneWeight, random } = options;
  const candidates = new Map<string, Candidate>();
  const fitting = new Map<string, RankedNode>();
  const refusals = new Map<string, Refusal>();
  const heaps = new Map<string, Heap<RankedNode>>();
  const scale = createScale(plugins);
  let version = -1;
  let layout = -1;
  let images = '';

  function rank(name: string, { zone, score, raw, tie }: Candidate): void {
    const ranked = { name, zone, score: score + scale.total(raw), tie };
    fitting.set(name, ranked);
    let heap = heaps.get(zone);
    if (heap === undefined) {
      heap = createHeap<RankedNode>((a, b) => a.score > b.score || (a.score === b.score && a.tie > b.tie));
      heaps.set(zone, heap);
    }
    heap.push(ranked);
  }

  function look(pod: PodInfo, name: string): void {
    const known = candidates.get(name);
    if (known !== undefined) scale.remove(known.raw);
    candidates.delete(name);
    fitting.delete(name);
    refusals.delete(name);
    const node = cache.nodes.get(name);
    if (node === undefined) return;
    const verdict = evaluate(plugins, pod, node);
    if (!verdict.fits) {
      refusals.set(name, verdict.refusal);
      return;
    }
    candidates.set(name, { zone: node.zone, score: verdict.score, raw: verdict.raw, tie: random() });
    scale.add(verdict.raw);
  }

  function rankAll(): void {
    fitting.clear();
    heaps.clear();
    for (const [name, candidate] of candidates) rank(name, candidate);
  }

  /** The first entry that still stands; entries of nodes that changed are dropped on the way. */
  function top(heap: Heap<RankedNode>): RankedNode | undefined {
    for (let first = heap.peek(); first !== undefined; first = heap.peek()) {
      if (fitting.get(first.name) === first) return first;
      heap.pop();
    }
    return undefined;
  }

  function zoneBonus(pod: PodInfo): Map<string, number> | undefined {
    if (pod.group === '' || zoneWeight === 0) return undefined;
    const zones = [...heaps].filter(([, heap]) => top(heap) !== undefined).map(([zone]) => zone);
    return zoneScores(zones, cache.groupZones(pod.group), zoneWeight);
  }

  return {
    fitting,
    refusals,
    zoneBonus,
    bringUpToDate(pod) {
      const imagesNow = cache.imageVersion(pod.images);
      const changed = layout === cache.layout && images === imagesNow ? cache.changedSince(version) : undefined;
      for (const name of changed ?? new Set([...candidates.keys(), ...refusals.keys(), ...cache.nodes.keys()])) {
        look(pod, name);
      }
      const entries = [...heaps.values()].reduce((sum, heap) => sum + heap.size, 0);
      if (scale.hasMoved() || changed === undefined || entries > 4 * cache.nodes.size + 100) rankAll();
      else {
        for (const name of changed) {
          const candidate = candidates.get(name);
          if (candidate !== undefined) rank(name, candidate);
        }
      }
      version = cache.version;
      layout = cache.layout;
      images = imagesNow;
    },
    best(pod) {
      const bonus = heaps.size > 1 ? zoneBonus(pod) : undefined;
      let best: RankedNode | undefined;
      let bestScore = Number.NEGATIVE_INFINITY;
      for (const [zone, heap] of heaps) {
        const first = top(heap);
        if (first === undefined) continue;
        const score = first.score + (bonus?.get(zone) ?? 0);
        if (score > bestScore || (score === bestScore && first.tie > (best?.tie ?? 0))) {
          best = first;
          bestScore = score;
        }
      }
      return best;
    },
  };
}

const otherNode: Refusal = {
  plugin: 'NodeAffinity',
  reasons: ["node(s) didn't satisfy plugin(s) [NodeAffinity]"],
  resolvable: false,
};

/** The ranking of a pod that names its nodes: only those are looked at. */
function rankNamedNodes(
  names: readonly string[],
  pod: PodInfo,
  cache: ClusterCache,
  { plugins, random }: RankingOptions,
): Ranking {
  const fitting = new Map<string, RankedNode>();
  const refusals = new Map<string, Refusal>();
  const candidates = new Map<string, Candidate>();
  const scale = createScale(plugins);
  for (const name of new Set(names)) {
    const node = cache.nodes.get(name);
    if (node === undefined) continue;
    const verdict = evaluate(plugins, pod, node);
    if (verdict.fits) {
      candidates.set(name, { zone: node.zone, score: verdict.score, raw: verdict.raw, tie: random() });
      scale.add(verdict.raw);
    } else refusals.set(name, verdict.refusal);
  }
  for (const [name, { zone, score, raw, tie }] of candidates) {
    fitting.set(name, { name, zone, score: score + scale.total(raw), tie });
  }
  if (fitting.size === 0) {
    for (const name of cache.nodes.keys()) if (!refusals.has(name)) refusals.set(name, otherNode);
  }
  const best = [...fitting.values()].sort((a, b) => b.score - a.score || b.tie - a.tie)[0];
  return { fitting, refusals, zoneBonus: () => undefined, best: () => best };
}

/** Returns the up-to-date ranking for a pod's class. */
export function createClassRankings(cache: ClusterCache, options: RankingOptions): (pod: PodInfo) => Ranking {
  const states = new Map<string, ClassState>();
  return (pod) => {
    if (pod.onlyNodes !== undefined) return rankNamedNodes(pod.onlyNodes, pod, cache, options);
    const state = states.get(pod.schedulingClass) ?? createClassState(cache, options);
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
