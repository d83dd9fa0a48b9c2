// Pods of one controller prefer nodes that have few of their kind: the spreading of pods without constraints of their
// own, softly, by node and by zone. Behaviour: podtopologyspread with defaultingType System, zones apart from nodes.
import type { Plugin } from '../framework/plugin.ts';

/** maxSkew of the default constraint by host name, less one: it waters small differences down. */
const tolerance = 4;
/** The weight of counts by node, as for a cluster of some nodes; a constant keeps rankings when nodes come. */
const countWeight = Math.log(5 + 2);

/** By node; zones are compared where nodes are chosen. */
export const groupSpread: Plugin = {
  name: 'PodTopologySpread',
  weight: 2,
  score: ({ group }, { groups }) => (group === '' ? 0 : (groups.get(group) ?? 0) * countWeight + tolerance),
  normalise: (raw, highest) => (highest === 0 ? 0 : (100 * (highest + tolerance - raw)) / highest),
};

/** What each zone adds: zones with few pods of the group rank higher. */
export function zoneScores(
  zones: Iterable<string>,
  counts: ReadonlyMap<string, number> | undefined,
  weight: number,
): Map<string, number> {
  const scores = new Map([...zones].map((zone) => [zone, counts?.get(zone) ?? 0]));
  const most = Math.max(0, ...scores.values());
  const least = Math.min(most, ...scores.values());
  for (const [zone, count] of scores) scores.set(zone, (weight * 100 * (most - count + 1)) / (most - least + 1));
  return scores;
}
