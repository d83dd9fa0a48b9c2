// Asks all plugins about one pod on one node.
import type { NodeInfo } from '../cache/node-info.ts';
import type { Plugin, Refusal } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';

/** The verdict: either the first refusal, or the weighted sum of scores. */
export type Verdict = { fits: true; score: number } | { fits: false; refusal: Refusal };

/** Stops at the first refusal. */
export function evaluate(plugins: readonly Plugin[], pod: PodInfo, node: NodeInfo): Verdict {
  for (const { filter } of plugins) {
    const refusal = filter?.(pod, node);
    if (refusal !== undefined) return { fits: false, refusal };
  }
  let score = 0;
  for (const plugin of plugins) {
    if (plugin.score !== undefined) score += (plugin.weight ?? 1) * plugin.score(pod, node);
  }
  return { fits: true, score };
}
