// How the server's seats are shared out: nominally by shares, and from time to time by what each level needed of late.
import type { LevelConfig } from './flow-config.ts';

export interface LevelLimits {
  nominal: number;
  /** What lending leaves at least. */
  lower: number;
  /** What borrowing adds at most. */
  upper: number;
}

/** Nominal seats of each level and the bounds that they move within. */
export function planNominalLimits(levels: Iterable<LevelConfig>, total: number): Map<string, LevelLimits> {
  const all = [...levels];
  const shares = all.reduce((sum, level) => sum + level.shares, 0);
  return new Map(
    all.map((level) => {
      const nominal = shares === 0 ? 0 : Math.ceil((total * level.shares) / shares);
      const lendable = Math.round((nominal * level.lendablePercent) / 100);
      const { borrowingLimitPercent: percent } = level;
      const upper = percent === undefined ? total : nominal + Math.round((nominal * percent) / 100);
      return [level.name, { nominal, lower: nominal - lendable, upper: Math.max(upper, nominal) }];
    }),
  );
}

export interface LevelDemand extends LevelLimits {
  name: string;
  /** Most seats wanted at once since the last time. */
  highSeats: number;
  /** Seats wanted over a longer time. */
  smoothSeats: number;
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);
const rounds = 60;

/**
 * Seats for now: in proportion to what was wanted over time, but never below what a level needed at its busiest (as far
 * as its nominal seats go), and never above what it may borrow.
 */
export function planCurrentLimits(demands: readonly LevelDemand[], total: number): Map<string, number> {
  const bounded = demands.map((each) => {
    const low = Math.min(Math.max(each.lower, Math.min(each.nominal, each.highSeats)), each.upper);
    return { name: each.name, low, high: Math.max(each.upper, low), target: Math.max(each.smoothSeats, low, 1) };
  });
  const sumAt = (factor: number) =>
    bounded.reduce((sum, { target, low, high }) => sum + clamp(target * factor, low, high), 0);
  let [least, most] = [0, total];
  for (let round = 0; round < rounds; round += 1) {
    const middle = (least + most) / 2;
    if (sumAt(middle) < total) least = middle;
    else most = middle;
  }
  return new Map(
    bounded.map(({ name, target, low, high }) => [name, Math.max(1, Math.round(clamp(target * least, low, high)))]),
  );
}
