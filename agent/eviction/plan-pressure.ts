// From what is left of memory, disks and process ids to conditions of the node and to the one shortage that something
// has to be done about, with grace periods and the time a condition outlives its cause
// (pkg/kubelet/eviction/eviction_manager.go: synchronize). Pure.
import { type Observations, resourceOfSignal, type Signal, selectMet, type Threshold } from './thresholds.ts';

/** The kinds of shortage that are conditions of the node. */
export interface Pressure {
  memory: boolean;
  disk: boolean;
  pids: boolean;
}

export type ShortageKind = keyof Pressure;

/** What has to be remembered between two looks. Times are monotonic milliseconds. */
export interface PressureState {
  met: readonly Threshold[];
  firstSeenMs: ReadonlyMap<Threshold, number>;
  lastSeenMs: ReadonlyMap<ShortageKind, number>;
}

export interface PressurePlan {
  state: PressureState;
  pressure: Pressure;
  /** The shortages whose grace period is over, the most urgent first. */
  due: readonly Threshold[];
}

export const calm: Pressure = { memory: false, disk: false, pids: false };
export const initialPressureState: PressureState = { met: [], firstSeenMs: new Map(), lastSeenMs: new Map() };

/** The condition that tells of a signal. */
export function kindOfSignal(signal: Signal): ShortageKind {
  switch (resourceOfSignal[signal]) {
    case 'memory':
      return 'memory';
    case 'pids':
      return 'pids';
    default:
      return 'disk';
  }
}

/** Names of the conditions that are True, as messages list them. */
export function conditionNames({ memory, disk, pids }: Pressure): string[] {
  return [...(memory ? ['MemoryPressure'] : []), ...(disk ? ['DiskPressure'] : []), ...(pids ? ['PIDPressure'] : [])];
}

/** One look. `transitionMs` is how long a condition stays after its cause. */
export function planPressure(
  thresholds: readonly Threshold[],
  seen: Observations,
  before: PressureState,
  { nowMs, transitionMs }: { nowMs: number; transitionMs: number },
): PressurePlan {
  const unresolved = new Set(selectMet(before.met, seen, true));
  const now = new Set(selectMet(thresholds, seen, false));
  const met = thresholds.filter((item) => now.has(item) || unresolved.has(item));
  const firstSeenMs = new Map(met.map((item) => [item, before.firstSeenMs.get(item) ?? nowMs]));
  const lastSeenMs = new Map(before.lastSeenMs);
  for (const { signal } of met) lastSeenMs.set(kindOfSignal(signal), nowMs);
  const isRecent = (kind: ShortageKind) => {
    const last = lastSeenMs.get(kind);
    return last !== undefined && (last === nowMs || nowMs - last < transitionMs);
  };
  const due = met.filter((item) => nowMs - (firstSeenMs.get(item) ?? nowMs) >= (item.graceMs ?? 0));
  return {
    state: { met: due, firstSeenMs, lastSeenMs },
    pressure: { memory: isRecent('memory'), disk: isRecent('disk'), pids: isRecent('pids') },
    due: [...due].sort((a, b) => urgency(a) - urgency(b)),
  };
}

/** Memory runs out fastest; a hard threshold goes before a soft one. */
function urgency({ signal, graceMs }: Threshold): number {
  return (kindOfSignal(signal) === 'memory' ? 0 : 2) + (graceMs === undefined ? 0 : 1);
}
