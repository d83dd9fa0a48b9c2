// Keeps the node from running out of memory, disk and process ids: looks every ten seconds, tells conditions of the
// node, frees what nobody uses, and where that is not enough ends one pod at a time
// (pkg/kubelet/eviction/eviction_manager.go).
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { formatTime } from '#kube/api/time.ts';
import type { Clock } from '#kube/process/clock.ts';
import { isCriticalPod } from '../sync/plan-preemption.ts';
import type { EndReason } from '../sync/pod-work.ts';
import { evictionMessage } from './eviction-message.ts';
import { type EvictionRecords, maxRanked } from './eviction-records.ts';
import { calm, initialPressureState, type Pressure, planPressure } from './plan-pressure.ts';
import { type DiskLayout, type PodUsage, rankPods } from './rank-pods.ts';
import { type Reclaim, reclaimNode } from './reclaim-node.ts';
import {
  describeMet,
  type Observations,
  resourceOfSignal,
  type Signal,
  selectMet,
  type Threshold,
} from './thresholds.ts';

const periodMs = 10_000;
/** Memory can be gone within a second; asking for it costs next to nothing. */
const memoryPeriodMs = 1000;
/** How long a pod that was evicted may take to be gone before another one follows. */
const cleanupMs = 30_000;
const hardGraceSeconds = 1;

export interface EvictionOptions {
  thresholds: readonly Threshold[];
  transitionMs: number;
  /** The longest grace period of a pod that goes for a soft threshold. */
  maxPodGraceSeconds: number;
  observe(): Promise<{ seen: Observations; layout: DiskLayout }>;
  /** Memory alone. */
  observeMemory(): Observations;
  /** Pods that use the node. */
  pods(): readonly Pod[];
  /** Containers, volumes and cgroups of the pod are gone. */
  isGone(podUid: string): boolean;
  measure(pods: readonly Pod[], withDisk: boolean, signal: AbortSignal): Promise<(pod: Pod) => PodUsage | undefined>;
  reclaim: Reclaim;
  end(podUid: string, reason: EndReason): void;
  records: EvictionRecords;
  recordPod(pod: Pod, reason: string, message: string, annotations: Record<string, string>): void;
  recordNode(type: 'Normal' | 'Warning', reason: string, message: string): void;
  /** Told when a condition changes. */
  changed(): void;
  /** Told of each eviction. */
  evicted?(signal: Signal): void;
  clock: Clock;
  logger: Logger;
}

export interface EvictionManager {
  /** The conditions of the node, as they were when it was last looked. */
  pressure(): Pressure;
  /** Looks once. Returns the pod that was evicted. */
  synchronize(signal: AbortSignal): Promise<Pod | undefined>;
  run(signal: AbortSignal): Promise<void>;
}

/** Creates the manager. */
export function createEvictionManager(options: EvictionOptions): EvictionManager {
  const { thresholds, clock, logger, transitionMs } = options;
  let state = initialPressureState;
  let pressure = calm;

  function graceOf({ graceMs }: Threshold, pod: Pod): number {
    if (graceMs === undefined) return hardGraceSeconds;
    return Math.min(options.maxPodGraceSeconds, pod.spec.terminationGracePeriodSeconds ?? 30);
  }

  async function evict(
    threshold: Threshold,
    seen: Observations,
    layout: DiskLayout,
    reclaimed: string[],
    signal: AbortSignal,
  ): Promise<Pod | undefined> {
    const pods = options.pods();
    const resource = resourceOfSignal[threshold.signal];
    const usageOf = await options.measure(pods, resource !== 'memory' && resource !== 'pids', signal);
    const ranked = rankPods(pods, threshold.signal, usageOf, layout);
    const chosen = ranked.find(({ pod }) => !isCriticalPod(pod))?.pod;
    if (chosen === undefined) {
      logger.error({ resource, pods: pods.length }, 'the node is short of a resource, and no pod may be evicted');
      return undefined;
    }
    const { message, annotations } = evictionMessage(chosen, threshold, seen, usageOf(chosen));
    const { name, namespace = '', uid = '' } = chosen.metadata;
    const gracePeriodSeconds = graceOf(threshold, chosen);
    const { quantity } = describeMet(threshold, seen);
    const { graceMs } = threshold;
    await options.records.add({
      at: formatTime(clock.now()),
      namespace,
      name,
      uid,
      signal: threshold.signal,
      resource,
      observed: seen.get(threshold.signal) ?? { available: 0, capacity: 0 },
      threshold: {
        quantity,
        kind: graceMs === undefined ? 'hard' : 'soft',
        ...(graceMs === undefined ? {} : { gracePeriodSeconds: graceMs / 1000 }),
      },
      lastedSeconds: Math.round((clock.monotonicMs() - (state.firstSeenMs.get(threshold) ?? 0)) / 1000),
      reclaimed,
      ranking: ranked.slice(0, maxRanked).map(({ pod, usage, request, exceeds }) => ({
        namespace: pod.metadata.namespace ?? '',
        name: pod.metadata.name,
        uid: pod.metadata.uid ?? '',
        priority: pod.spec.priority ?? 0,
        ...(usage === undefined ? {} : { usage }),
        request,
        exceedsRequest: exceeds,
        critical: isCriticalPod(pod),
      })),
      rankedPods: ranked.length,
      gracePeriodSeconds,
      message,
    });
    logger.warn({ pod: name, namespace, signal: threshold.signal, message }, 'evicting a pod');
    options.recordPod(chosen, 'Evicted', message, annotations);
    options.evicted?.(threshold.signal);
    const reason = { phase: 'Failed' as const, reason: 'Evicted', message, disruption: message };
    options.end(uid, { ...reason, graceSeconds: gracePeriodSeconds });
    return chosen;
  }

  async function synchronize(signal: AbortSignal): Promise<Pod | undefined> {
    await options.records.retry();
    const { seen, layout } = await options.observe();
    const plan = planPressure(thresholds, seen, state, { nowMs: clock.monotonicMs(), transitionMs });
    const before = pressure;
    ({ state, pressure } = plan);
    const { memory, disk, pids } = pressure;
    if (before.memory !== memory || before.disk !== disk || before.pids !== pids) {
      logger.warn({ memory, disk, pids }, 'the pressure on the node has changed');
      options.changed();
    }
    const [threshold] = plan.due;
    if (threshold === undefined) return undefined;
    const resource = resourceOfSignal[threshold.signal];
    options.recordNode('Warning', 'EvictionThresholdMet', `Attempting to reclaim ${resource}`);
    const reclaimed = await reclaimNode(options.reclaim, threshold.signal, layout, logger, signal);
    if (reclaimed.length > 0) {
      const after = await options.observe();
      if (selectMet(thresholds, after.seen, true).length === 0) return undefined;
    }
    return evict(threshold, seen, layout, reclaimed, signal);
  }

  /** Until the time has come, or until `early` says so. */
  async function wait(ms: number, stepMs: number, early: () => boolean, signal: AbortSignal): Promise<void> {
    const untilMs = clock.monotonicMs() + ms;
    while (!signal.aborted && clock.monotonicMs() < untilMs) {
      await clock.sleep(stepMs, signal).catch(() => undefined);
      if (early()) return;
    }
  }

  const memoryThresholds = thresholds.filter(({ signal }) => resourceOfSignal[signal] === 'memory');
  const hasMemoryRunLow = () =>
    selectMet(memoryThresholds, options.observeMemory(), false).some((item) => !state.met.includes(item));

  return {
    pressure: () => pressure,
    synchronize,
    async run(signal) {
      while (!signal.aborted) {
        let evicted: Pod | undefined;
        try {
          evicted = await synchronize(signal);
        } catch (error) {
          if (signal.aborted) return;
          logger.error({ err: error }, 'cannot look after the resources of the node, will try again');
        }
        const uid = evicted?.metadata.uid;
        if (uid === undefined) await wait(periodMs, memoryPeriodMs, hasMemoryRunLow, signal);
        else await wait(cleanupMs, memoryPeriodMs, () => options.isGone(uid), signal);
      }
    },
  };
}
