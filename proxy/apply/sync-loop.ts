// Decides when to sync: at once for a first change, not more often than minSyncPeriod afterwards, and a check
// against the kernel every syncPeriod. The one place where a failed sync is retried.
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { Component } from '#kube/process/component.ts';
import { backoffDelayMs } from '#kube/queue/backoff.ts';
import type { NodeTopology } from '../model/select-endpoints.ts';
import type { IpFamily } from '../model/service-port.ts';
import { computeServiceState } from '../model/service-state.ts';
import type { ConntrackDeletion } from '../plan/plan-conntrack.ts';
import type { ObjectChanges, ServiceTracker } from '../track/service-tracker.ts';
import { createBurstLimiter } from './burst-limiter.ts';
import { type RefusedService, syncIsolating } from './isolate-failures.ts';
import type { ProgrammedServices } from './programmed-services.ts';
import { createQuarantine } from './quarantine.ts';
import type { RuleApplier, ServiceState } from './rule-applier.ts';
import type { SyncMetrics } from './sync-metrics.ts';
import { createWaker } from './waker.ts';

const retry = { initialMs: 1000, maxMs: 30_000 };
/** How often it is looked whether what is left over can go. */
const tidyPeriodMs = 5000;

export interface SyncLoopOptions {
  family: IpFamily;
  applier: RuleApplier;
  tracker: ServiceTracker;
  /** Read again at every sync: labels of the node may change. */
  topology(): NodeTopology;
  deleteConntrack(deletions: readonly ConntrackDeletion[]): Promise<void>;
  /** Finds what a proxy that was away has left to be deleted. Called after the first sync, with all services. */
  planStale(states: Iterable<ServiceState>): Promise<readonly ConntrackDeletion[]>;
  /** Told of a service whose rules the kernel refused. */
  onRefused(serviceKey: string, error: unknown): void;
  minSyncPeriodMs: number;
  syncPeriodMs: number;
  metrics: SyncMetrics;
  programmed: ProgrammedServices;
  clock: Clock;
  logger: Logger;
}

/** Told apart from the tracker's own, so that each family keeps its own account of what is dirty. */
export interface SyncLoop extends Component {
  /** Marks services as changed. */
  markDirty(keys: Iterable<string>, triggeredAtMs: readonly number[], changes?: ObjectChanges): void;
  markAllDirty(): void;
  /** Makes a full sync follow, for a change of what all rules share. */
  resync(): void;
}

export function createSyncLoop(options: SyncLoopOptions): SyncLoop {
  const { applier, tracker, metrics, clock, family } = options;
  const logger = options.logger.child({ family });
  const firstSync = Promise.withResolvers<void>();
  const waker = createWaker(clock);
  const limiter = createBurstLimiter(options.minSyncPeriodMs);
  const quarantine = createQuarantine();
  let dirty = new Set<string>();
  let triggeredAtMs: number[] = [];
  let dirtySinceMs: number | undefined;
  let failures = 0;
  let forced = false;
  let hasLookedForStale = false;

  function readStates(keys: Iterable<string>): Map<string, ServiceState> {
    const topology = options.topology();
    return new Map(
      [...keys].map((key) => {
        const { service, slices } = tracker.read(key);
        return [key, computeServiceState(service, slices, family, topology)];
      }),
    );
  }

  function noteRefused({ key, error }: RefusedService): void {
    const retryMs = quarantine.refuse(key, clock.monotonicMs());
    metrics.failed(family);
    metrics.refused(family, quarantine.keys);
    logger.error({ err: error, service: key, retryMs }, 'the kernel refuses the rules of a service');
    options.onRefused(key, error);
  }

  function noteApplied(keys: Iterable<string>): void {
    const nowMs = clock.now();
    for (const key of keys) {
      if (quarantine.has(key)) quarantine.release(key);
      options.programmed.note(family, key, nowMs, tracker.read(key).service !== undefined);
    }
    metrics.refused(family, quarantine.keys);
  }

  async function syncOnce(): Promise<void> {
    const keys = dirty;
    forced = false;
    const triggers = triggeredAtMs;
    const sinceMs = dirtySinceMs;
    dirty = new Set();
    triggeredAtMs = [];
    dirtySinceMs = undefined;
    const startedMs = clock.monotonicMs();
    try {
      const states = readStates(keys);
      const { result, applied, refused } = await syncIsolating(applier, states);
      const durationMs = clock.monotonicMs() - startedMs;
      metrics.synced({ durationMs, full: result.full, lines: result.lines, rules: applier.ruleCount, family });
      for (const at of triggers) metrics.programmed(family, clock.now() - at);
      if (sinceMs !== undefined) metrics.applied(family, clock.monotonicMs() - sinceMs);
      for (const service of refused) noteRefused(service);
      noteApplied(applied);
      for (const [key, state] of states) metrics.observe(family, key, state);
      failures = 0;
      firstSync.resolve();
      await options.deleteConntrack(result.conntrack);
      if (!hasLookedForStale) await attempt('delete stale flows of UDP', () => deleteStale(states.values()));
      hasLookedForStale = true;
    } catch (error) {
      failures += 1;
      metrics.failed(family);
      forced = true;
      for (const key of keys) dirty.add(key);
      logger.error({ err: error, failures }, 'cannot apply rules; trying again');
    }
  }

  async function deleteStale(states: Iterable<ServiceState>): Promise<void> {
    await options.deleteConntrack(await options.planStale(states));
  }

  /** Each by itself: what is refused again must not hold back a change of others. */
  async function retryQuarantined(): Promise<void> {
    for (const key of quarantine.due(clock.monotonicMs())) {
      const { applied, refused, result } = await syncIsolating(applier, readStates([key]));
      for (const service of refused) noteRefused(service);
      noteApplied(applied);
      await options.deleteConntrack(result.conntrack);
    }
  }

  async function verify(): Promise<void> {
    if (await applier.isIntact()) return;
    logger.warn('rules were removed by someone else; writing all of them again');
    applier.forceFull();
    for (const key of tracker.allKeys()) dirty.add(key);
  }

  /** Work besides changes: what fails is told and done again at its next time. */
  async function attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      logger.error({ err: error }, `cannot ${what}`);
    }
  }

  return {
    ready: firstSync.promise,
    markDirty: (keys, times, changes) => {
      for (const key of keys) dirty.add(key);
      triggeredAtMs.push(...times);
      dirtySinceMs ??= clock.monotonicMs();
      metrics.pending(family, changes);
      waker.wake();
    },
    markAllDirty: () => {
      for (const key of tracker.allKeys()) dirty.add(key);
      waker.wake();
    },
    resync: () => {
      applier.forceFull();
      forced = true;
      waker.wake();
    },
    run: async (signal) => {
      let nextCheckMs = clock.monotonicMs() + options.syncPeriodMs;
      let nextTidyMs = Number.POSITIVE_INFINITY;
      let first = true;
      const tidy = async (): Promise<void> => {
        nextTidyMs = clock.monotonicMs() + tidyPeriodMs;
        if ((await applier.tidy?.()) !== true) nextTidyMs = Number.POSITIVE_INFINITY;
      };
      while (!signal.aborted) {
        if (dirty.size > 0 || first || forced) {
          const delayMs = failures > 0 ? backoffDelayMs(failures, retry) : limiter.delayMs(clock.monotonicMs());
          if (delayMs > 0) await clock.sleep(delayMs, signal).catch(ignoreAbort(signal));
          if (signal.aborted) break;
          limiter.take(clock.monotonicMs());
          await syncOnce();
          first = false;
          nextTidyMs = Math.min(nextTidyMs, clock.monotonicMs() + tidyPeriodMs);
          continue;
        }
        const nextMs = Math.min(nextCheckMs, nextTidyMs, quarantine.nextMs);
        await waker.wait(Math.max(0, nextMs - clock.monotonicMs()), signal);
        if (signal.aborted) break;
        const nowMs = clock.monotonicMs();
        if (nowMs >= quarantine.nextMs) await attempt('apply what was refused before', retryQuarantined);
        if (nowMs >= nextTidyMs) await attempt('remove what is left over', tidy);
        if (nowMs >= nextCheckMs) {
          await attempt('check rules against the kernel', verify);
          nextCheckMs = clock.monotonicMs() + options.syncPeriodMs;
        }
      }
    },
  };
}

/** A sleep that ends because of the signal is no error. */
function ignoreAbort(signal: AbortSignal): (error: unknown) => void {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}
