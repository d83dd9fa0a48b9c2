// Pods of one controller prefer nodes that have few of their kind: the default spreading, softly, by node.
import type { Plugin } from '../framework/plugin.ts';

/** By node; zones are compared where nodes are chosen. */
export const groupSpread: Plugin = {
  name: 'PodTopologySpread',
  weight: 1,
  score: ({ group }, { groups }) => (group === '' ? 0 : 100 / (1 + (groups.get(group) ?? 0))),
};

/** How much the zone counts, as a weight. */
export const zoneSpreadWeight = 1;

/** 0 to 100 for each zone: zones with few pods of the group rank higher. */
export function zoneScores(
  zones: Iterable<string>,
  counts: ReadonlyMap<string, number> | undefined,
): Map<string, number> {
  const scores = new Map([...zones].map((zone) => [zone, counts?.get(zone) ?? 0]));
  const most = Math.max(0, ...scores.values());
  const least = Math.min(most, ...scores.values());
  for (const [zone, count] of scores) scores.set(zone, (100 * (most - count + 1)) / (most - least + 1));
  return scores;
}
