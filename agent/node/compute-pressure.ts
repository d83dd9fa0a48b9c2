// Whether the node is short of memory, disk or process ids, by the hard eviction thresholds
// (pkg/kubelet/eviction/helpers.go). Pure.
import { parseQuantity, quantityToNumber } from '#kube/api/quantity.ts';

/** What is left and what there is in all, by eviction signal such as memory.available. */
export type Signals = ReadonlyMap<string, { available: number; capacity: number }>;

/** The kinds of shortage that are conditions of the node. */
export interface Pressure {
  memory: boolean;
  disk: boolean;
  pids: boolean;
}

const diskSignals = [
  'nodefs.available',
  'nodefs.inodesFree',
  'imagefs.available',
  'imagefs.inodesFree',
  'containerfs.available',
  'containerfs.inodesFree',
];

function isBelow(signal: string, thresholds: Record<string, string>, signals: Signals): boolean {
  const threshold = thresholds[signal];
  const observed = signals.get(signal);
  if (threshold === undefined || observed === undefined) return false;
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(threshold)?.[1];
  const limit =
    percent === undefined ? quantityToNumber(parseQuantity(threshold)) : (observed.capacity * Number(percent)) / 100;
  return observed.available < limit;
}

/** Compares what is left with the thresholds; signals that were not observed say nothing. */
export function computePressure(thresholds: Record<string, string>, signals: Signals): Pressure {
  return {
    memory: isBelow('memory.available', thresholds, signals),
    disk: diskSignals.some((signal) => isBelow(signal, thresholds, signals)),
    pids: isBelow('pid.available', thresholds, signals),
  };
}
