// The highest raw score of each plugin over the nodes that fit, kept up to date as nodes change, and what raw scores
// are worth by it. Ranks have to be made anew only when a highest score has moved.
import type { Plugin } from './plugin.ts';

export interface ScoreScale {
  add(raw: readonly number[]): void;
  remove(raw: readonly number[]): void;
  /** Whether a highest score is another one than when this was last asked. */
  hasMoved(): boolean;
  /** The weighted sum of the raw scores, brought to scale. */
  total(raw: readonly number[]): number;
}

/** A scale without nodes, for the plugins that have `normalise`. */
export function createScale(plugins: readonly Plugin[]): ScoreScale {
  const scaled = plugins.flatMap(({ score, normalise, weight = 1 }) =>
    score === undefined || normalise === undefined ? [] : [{ normalise, weight, counts: new Map<number, number>() }],
  );
  const highest = scaled.map(() => 0);
  let asked: readonly number[] = [];

  function count(raw: readonly number[], change: 1 | -1): void {
    for (const [index, value] of raw.entries()) {
      const counts = scaled[index]?.counts;
      if (counts === undefined) continue;
      const left = (counts.get(value) ?? 0) + change;
      if (left > 0) {
        counts.set(value, left);
        if (value > (highest[index] ?? 0)) highest[index] = value;
        continue;
      }
      counts.delete(value);
      if (value === highest[index]) highest[index] = Math.max(0, ...counts.keys());
    }
  }

  return {
    add: (raw) => count(raw, 1),
    remove: (raw) => count(raw, -1),
    hasMoved() {
      const moved = highest.some((value, index) => value !== asked[index]);
      if (moved) asked = [...highest];
      return moved;
    },
    total: (raw) =>
      scaled.reduce(
        (sum, { normalise, weight }, index) => sum + weight * normalise(raw[index] ?? 0, highest[index] ?? 0),
        0,
      ),
  };
}
