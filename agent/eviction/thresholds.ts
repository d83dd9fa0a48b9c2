// Eviction thresholds of the configuration: which signal must not fall below which amount, and for how long it may
// (pkg/kubelet/eviction/helpers.go: ParseThresholdConfig). Pure.
import {
  addQuantities,
  compareQuantities,
  formatQuantity,
  parseQuantity,
  type Quantity,
  QuantityError,
  quantityOf,
  zeroQuantity,
} from '#kube/api/quantity.ts';
import { parseDurationMs, UsageError } from '#kube/process/flags.ts';

/** What is watched, and the resource that is short when it is low. */
export const resourceOfSignal = {
  'memory.available': 'memory',
  'allocatableMemory.available': 'memory',
  'nodefs.available': 'ephemeral-storage',
  'nodefs.inodesFree': 'inodes',
  'imagefs.available': 'ephemeral-storage',
  'imagefs.inodesFree': 'inodes',
  'containerfs.available': 'ephemeral-storage',
  'containerfs.inodesFree': 'inodes',
  'pid.available': 'pids',
} as const;

export type Signal = keyof typeof resourceOfSignal;

/** An amount, or a share of what there is in all. */
export type ThresholdValue = { quantity: Quantity } | { share: number };

export interface Threshold {
  signal: Signal;
  value: ThresholdValue;
  /** How long it may last; undefined: a hard threshold. */
  graceMs: number | undefined;
  /** Beyond the threshold, before the shortage counts as over. */
  minReclaim: ThresholdValue | undefined;
}

/** The fields of the configuration. */
export interface ThresholdFields {
  hard: Readonly<Record<string, string>>;
  soft: Readonly<Record<string, string>>;
  softGrace: Readonly<Record<string, string>>;
  minReclaim: Readonly<Record<string, string>>;
  /** Pods as a whole are held to the node's allocatable. */
  enforcePods: boolean;
}

function signalOf(field: string, text: string): Signal {
  const known = Object.keys(resourceOfSignal).find((name) => name === text && !name.startsWith('allocatable'));
  if (known === undefined) throw new UsageError(`${field}: unknown eviction signal ${text}`);
  return known as Signal;
}

/** Undefined for the shares that switch a threshold off. Throws UsageError. */
function parseValue(field: string, signal: string, text: string): ThresholdValue | undefined {
  const percent = /^(-?\d+(?:\.\d+)?)%$/.exec(text)?.[1];
  if (percent !== undefined) {
    // The reference computes in single precision, which shows in the last digits of large disks.
    const share = Math.fround(Math.fround(Number(percent)) / 100);
    if (share < 0) throw new UsageError(`${field}: ${signal} takes a positive percentage, not ${text}`);
    return share === 0 || Number(percent) === 100 ? undefined : { share };
  }
  try {
    const quantity = parseQuantity(text);
    if (quantity.nano <= 0n) throw new UsageError(`${field}: ${signal} takes a positive amount, not ${text}`);
    return { quantity };
  } catch (error) {
    if (!(error instanceof QuantityError)) throw error;
    throw new UsageError(`${field}: ${signal} takes an amount or a percentage, not "${text}"`, { cause: error });
  }
}

/** Reads the fields. Throws UsageError about the first mistake. */
export function parseThresholds(fields: ThresholdFields): Threshold[] {
  const reclaim = new Map(
    Object.entries(fields.minReclaim).map(([name, text]) => [
      signalOf('evictionMinimumReclaim', name),
      parseValue('evictionMinimumReclaim', name, text === '0' ? '0%' : text),
    ]),
  );
  const read = (field: string, list: Readonly<Record<string, string>>, grace: (name: string) => number | undefined) =>
    Object.entries(list).flatMap(([name, text]): Threshold[] => {
      const signal = signalOf(field, name);
      const value = parseValue(field, name, text);
      return value === undefined ? [] : [{ signal, value, graceMs: grace(name), minReclaim: reclaim.get(signal) }];
    });
  const hard = read('evictionHard', fields.hard, () => undefined);
  const soft = read('evictionSoft', fields.soft, (name) => {
    const grace = fields.softGrace[name];
    if (grace === undefined) throw new UsageError(`evictionSoftGracePeriod has to name ${name}, as evictionSoft does`);
    return parseDurationMs(grace);
  });
  const pods = fields.enforcePods ? hard.filter(({ signal }) => signal === 'memory.available') : [];
  const ofPods = pods.map((item) => ({ ...item, signal: 'allocatableMemory.available' as const }));
  return [...hard, ...soft, ...ofPods];
}

/** The amount a value stands for, of `capacity` in all. */
export function amountOfValue(value: ThresholdValue | undefined, capacity: number): Quantity {
  if (value === undefined) return zeroQuantity;
  return 'quantity' in value ? value.quantity : quantityOf(Math.trunc(capacity * value.share), 'BinarySI');
}

/** What is left and what there is in all, by signal. */
export type Observations = ReadonlyMap<string, { available: number; capacity: number }>;

/** The thresholds that are passed; with `reclaim` also those that are not passed by as much as they should be. */
export function selectMet(thresholds: readonly Threshold[], seen: Observations, reclaim: boolean): Threshold[] {
  return thresholds.filter(({ signal, value, minReclaim }) => {
    const observed = seen.get(signal);
    if (observed === undefined) return false;
    const extra = reclaim ? amountOfValue(minReclaim, observed.capacity) : zeroQuantity;
    const limit = addQuantities(amountOfValue(value, observed.capacity), extra);
    return compareQuantities(limit, quantityOf(Math.trunc(observed.available))) > 0;
  });
}

/** The threshold's amount and what is left, as texts. */
export function describeMet(threshold: Threshold, seen: Observations): { quantity: string; available: string } {
  const { available, capacity } = seen.get(threshold.signal) ?? { available: 0, capacity: 0 };
  const format = resourceOfSignal[threshold.signal] === 'inodes' ? 'DecimalSI' : 'BinarySI';
  return {
    quantity: formatQuantity(amountOfValue(threshold.value, capacity)),
    available: formatQuantity(quantityOf(Math.trunc(available), format)),
  };
}
