// The part of the configuration about resources of the node: what is evicted and collected when, which managers place
// pods on processors and memory, what is reserved.
import { quantityValue } from '#kube/api/quantity.ts';
import { UsageError } from '#kube/process/flags.ts';
import { parseThresholds, type Threshold } from '../eviction/thresholds.ts';
import type { ImageGarbagePolicy } from '../image/plan-image-garbage.ts';
import type { MemoryReservation } from '../resource-manager/reserved-memory.ts';
import { durationMs } from './load-configuration.ts';

type Fields = Record<string, unknown>;

/** What the agent does about resources. */
export interface NodeResourceSettings {
  evictionThresholds: Threshold[];
  pressureTransitionMs: number;
  evictionMaxPodGraceSeconds: number;
  imageGarbage: ImageGarbagePolicy;
  /** Of flags: dead containers are kept so long, and so many of each and in all; negative: no limit. */
  containerGarbage: { minAgeMs: number; maxPerContainer: number; maxTotal: number };
  systemReserved: Record<string, string>;
  kubeReserved: Record<string, string>;
  /** cgroups that are held to what is reserved for them, without a leading slash; absent: not enforced. */
  systemReservedCgroup: string | undefined;
  kubeReservedCgroup: string | undefined;
  /** enforceNodeAllocatable. */
  enforced: readonly string[];
  swapBehavior: 'NoSwap' | 'LimitedSwap';
  memoryQos: boolean;
  memoryThrottlingFactor: number;
  cpuManagerPolicy: 'none' | 'static';
  cpuManagerOptions: Record<string, string>;
  cpuReconcileMs: number;
  reservedCpus: string;
  memoryManagerPolicy: 'None' | 'Static';
  reservedMemory: MemoryReservation[];
  topologyPolicy: 'none' | 'best-effort' | 'restricted' | 'single-numa-node';
  topologyScope: 'container' | 'pod';
  topologyOptions: Record<string, string>;
  /** As configured: what is absent has its default. */
  featureGates: Record<string, string>;
}

function record(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function texts(value: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(record(value)).map(([key, item]) => [key, String(item)]));
}

function oneOf<T extends string>(name: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((item) => item === value);
  if (found === undefined) throw new UsageError(`${name} takes ${allowed.join(' or ')}, not ${JSON.stringify(value)}`);
  return found;
}

function percent(name: string, value: unknown): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0 || number > 100) {
    throw new UsageError(`${name} takes a whole number from 0 to 100, not ${String(value)}`);
  }
  return number;
}

function imageGarbage(c: Fields): ImageGarbagePolicy {
  const highPercent = percent('imageGCHighThresholdPercent', c['imageGCHighThresholdPercent'] ?? 85);
  const lowPercent = percent('imageGCLowThresholdPercent', c['imageGCLowThresholdPercent'] ?? 80);
  if (lowPercent >= highPercent) {
    throw new UsageError('imageGCLowThresholdPercent has to be below imageGCHighThresholdPercent');
  }
  const minAgeMs = durationMs(c['imageMinimumGCAge']);
  const maxAgeMs = durationMs(c['imageMaximumGCAge']);
  if (maxAgeMs > 0 && maxAgeMs <= minAgeMs) {
    throw new UsageError('imageMaximumGCAge has to be longer than imageMinimumGCAge');
  }
  return { highPercent, lowPercent, minAgeMs, maxAgeMs };
}

function reservedCgroup(c: Fields, field: string, kind: string, enforced: readonly string[]): string | undefined {
  const name = typeof c[field] === 'string' ? c[field].replace(/^\/+/, '') : '';
  const isEnforced = enforced.some((item) => item === kind || item === `${kind}-compressible`);
  if (isEnforced && name === '')
    throw new UsageError(`${field} has to be set where enforceNodeAllocatable names ${kind}`);
  return isEnforced ? name : undefined;
}

function reservedMemory(value: unknown): NodeResourceSettings['reservedMemory'] {
  const list = Array.isArray(value) ? value.map(record) : [];
  return list.map((item) => {
    const numaNode = Number(item['numaNode'] ?? 0);
    const limits = texts(item['limits']);
    if (!Number.isInteger(numaNode) || numaNode < 0) throw new UsageError('reservedMemory takes a number as numaNode');
    for (const text of Object.values(limits)) quantityValue(text);
    return { numaNode, limits };
  });
}

/** Checks and converts. Throws UsageError. */
export function resolveNodeResources(
  c: Fields,
  flags: Readonly<Record<string, unknown>>,
  enforced: readonly string[],
): NodeResourceSettings {
  const memoryQos = String(record(c['featureGates'])['MemoryQoS']) === 'true';
  const whole = (name: string, fallback: number) => Number(flags[name] ?? fallback);
  const ttl = flags['minimum-container-ttl-duration'];
  return {
    evictionThresholds: parseThresholds({
      hard: texts(c['evictionHard']),
      soft: texts(c['evictionSoft']),
      softGrace: texts(c['evictionSoftGracePeriod']),
      minReclaim: texts(c['evictionMinimumReclaim']),
      enforcePods: enforced.includes('pods'),
    }),
    pressureTransitionMs: durationMs(c['evictionPressureTransitionPeriod']),
    evictionMaxPodGraceSeconds: Number(c['evictionMaxPodGracePeriod'] ?? 0),
    imageGarbage: imageGarbage(c),
    containerGarbage: {
      minAgeMs: typeof ttl === 'number' ? ttl : durationMs(ttl),
      maxPerContainer: whole('maximum-dead-containers-per-container', 1),
      maxTotal: whole('maximum-dead-containers', -1),
    },
    systemReserved: texts(c['systemReserved']),
    kubeReserved: texts(c['kubeReserved']),
    systemReservedCgroup: reservedCgroup(c, 'systemReservedCgroup', 'system-reserved', enforced),
    kubeReservedCgroup: reservedCgroup(c, 'kubeReservedCgroup', 'kube-reserved', enforced),
    enforced,
    swapBehavior: oneOf('memorySwap.swapBehavior', record(c['memorySwap'])['swapBehavior'] || 'NoSwap', [
      'NoSwap',
      'LimitedSwap',
    ]),
    memoryQos,
    memoryThrottlingFactor: Number(c['memoryThrottlingFactor'] ?? 0.9),
    cpuManagerPolicy: oneOf('cpuManagerPolicy', c['cpuManagerPolicy'] ?? 'none', ['none', 'static']),
    cpuManagerOptions: texts(c['cpuManagerPolicyOptions']),
    cpuReconcileMs: durationMs(c['cpuManagerReconcilePeriod']) || 10_000,
    reservedCpus: String(c['reservedSystemCPUs'] ?? ''),
    memoryManagerPolicy: oneOf('memoryManagerPolicy', c['memoryManagerPolicy'] ?? 'None', ['None', 'Static']),
    reservedMemory: reservedMemory(c['reservedMemory']),
    topologyPolicy: oneOf('topologyManagerPolicy', c['topologyManagerPolicy'] ?? 'none', [
      'none',
      'best-effort',
      'restricted',
      'single-numa-node',
    ]),
    topologyScope: oneOf('topologyManagerScope', c['topologyManagerScope'] ?? 'container', ['container', 'pod']),
    topologyOptions: texts(c['topologyManagerPolicyOptions']),
    featureGates: texts(c['featureGates']),
  };
}
