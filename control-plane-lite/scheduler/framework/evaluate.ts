// Asks all plugins about one pod on one node.
import type { NodeInfo } from '../cache/node-info.ts';
import type { Plugin, Refusal } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';

/**
 * The verdict: either the first refusal, or the weighted sum of scores. `raw` has those that are brought to scale when
 * all nodes are known, in the order of their plugins.
 */
export type Verdict = { fits: true; score: number; raw: readonly number[] } | { fits: false; refusal: Refusal };

/** The first plugin's refusal; undefined when the pod may go there. */
export function firstRefusal(plugins: readonly Plugin[], pod: PodInfo, node: NodeInfo): Refusal | undefined {
  for (const { filter } of plugins) {
    const refusal = filter?.(pod, node);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** Stops at the first refusal. */
export function evaluate(plugins: readonly Plugin[], pod: PodInfo, node: NodeInfo): Verdict {
  const refusal = firstRefusal(plugins, pod, node);
  if (refusal !== undefined) return { fits: false, refusal };
  let score = 0;
  const raw: number[] = [];
  for (const plugin of plugins) {
    if (plugin.score === undefined) continue;
    const value = plugin.score(pod, node);
    if (plugin.normalise === undefined) score += (plugin.weight ?? 1) * value;
    else raw.push(value);
  }
  return { fits: true, score, raw };
}
