// Decides when to sync: at once for a first change, not more often than minSyncPeriod afterwards, and a check
// against the kernel every syncPeriod. The one place where a failed sync is retried.
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { Component } from '#kube/process/component.ts';
import type { NodeTopology } from '../model/select-endpoints.ts';
import type { IpFamily } from '../model/service-port.ts';
import { computeServiceState } from '../model/service-state.ts';
import type { ConntrackDeletion } from '../plan/plan-conntrack.ts';
import type { ServiceTracker } from '../track/service-tracker.ts';
import type { RuleApplier } from './rule-applier.ts';
import type { SyncMetrics } from './sync-metrics.ts';

const retryDelayMs = 1000;
const maxRetryDelayMs = 30_000;

export interface SyncLoopOptions {
  family: IpFamily;
  applier: RuleApplier;
  tracker: ServiceTracker;
  /** Read again at every sync: labels of the node may change. */
  topology(): NodeTopology;
  deleteConntrack(deletions: readonly ConntrackDeletion[]): Promise<void>;
  minSyncPeriodMs: number;
  syncPeriodMs: number;
  metrics: SyncMetrics;
  clock: Clock;
  logger: Logger;
}

/** Told apart from the tracker's own, so that each family keeps its own account of what is dirty. */
export interface SyncLoop extends Component {
  /** Marks services as changed. */
  markDirty(keys: Iterable<string>, triggeredAtMs: readonly number[]): void;
  markAllDirty(): void;
  /** Makes a full sync follow, for a change of what all rules share. */
  resync(): void;
}

/** A wait that ends at a signal, at a time, or at a call of `wake`. */
function createWaker(clock: Clock): { wake(): void; wait(delayMs: number, signal: AbortSignal): Promise<void> } {
  let pending = false;
  let resolve: (() => void) | undefined;
  return {
    wake: () => {
      pending = true;
      resolve?.();
    },
    wait: async (delayMs, signal) => {
      if (!pending && !signal.aborted) {
        const { promise, resolve: done } = Promise.withResolvers<void>();
        resolve = done;
        const end = (): void => done();
        const timer = clock.after(delayMs, end);
        signal.addEventListener('abort', end, { once: true });
        await promise;
        timer.cancel();
        signal.removeEventListener('abort', end);
        resolve = undefined;
      }
      pending = false;
    },
  };
}

export function createSyncLoop(options: SyncLoopOptions): SyncLoop {
  const { applier, tracker, metrics, clock, family } = options;
  const logger = options.logger.child({ family });
  const firstSync = Promise.withResolvers<void>();
  const waker = createWaker(clock);
  let dirty = new Set<string>();
  let triggeredAtMs: number[] = [];
  let failures = 0;
  let forced = false;

  async function syncOnce(): Promise<void> {
    const keys = dirty;
    forced = false;
    const triggers = triggeredAtMs;
    dirty = new Set();
    triggeredAtMs = [];
    const topology = options.topology();
    const changed = new Map(
      [...keys].map((key) => {
        const { service, slices } = tracker.read(key);
        return [key, computeServiceState(service, slices, family, topology)];
      }),
    );
    const startedMs = clock.monotonicMs();
    try {
      const result = await applier.sync(changed);
      metrics.synced({
        durationMs: clock.monotonicMs() - startedMs,
        full: result.full,
        rules: applier.ruleCount,
        family,
      });
      for (const at of triggers) metrics.programmed(clock.now() - at);
      failures = 0;
      firstSync.resolve();
      await options.deleteConntrack(result.conntrack);
    } catch (error) {
      failures += 1;
      metrics.failed();
      forced = true;
      for (const key of keys) dirty.add(key);
      logger.error({ err: error, failures }, 'cannot apply rules; trying again');
    }
  }

  async function verify(): Promise<void> {
    try {
      if (await applier.isIntact()) return;
    } catch (error) {
      logger.error({ err: error }, 'cannot check rules against the kernel');
      return;
    }
    logger.warn('rules were removed by someone else; writing all of them again');
    applier.forceFull();
    for (const key of tracker.allKeys()) dirty.add(key);
  }

  return {
    ready: firstSync.promise,
    markDirty: (keys, times) => {
      for (const key of keys) dirty.add(key);
      triggeredAtMs.push(...times);
      metrics.pending();
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
      let lastSyncMs = Number.NEGATIVE_INFINITY;
      let first = true;
      while (!signal.aborted) {
        if (dirty.size > 0 || first || forced) {
          const earliest = lastSyncMs + (failures > 0 ? backoff(failures) : options.minSyncPeriodMs);
          const delayMs = earliest - clock.monotonicMs();
          if (delayMs > 0) await clock.sleep(delayMs, signal).catch(ignoreAbort(signal));
          if (signal.aborted) break;
          lastSyncMs = clock.monotonicMs();
          await syncOnce();
          first = false;
          continue;
        }
        await waker.wait(Math.max(0, nextCheckMs - clock.monotonicMs()), signal);
        if (!signal.aborted && clock.monotonicMs() >= nextCheckMs) {
          await verify();
          nextCheckMs = clock.monotonicMs() + options.syncPeriodMs;
        }
      }
    },
  };
}

function backoff(failures: number): number {
  return Math.min(retryDelayMs * 2 ** (failures - 1), maxRetryDelayMs);
}

/** A sleep that ends because of the signal is no error. */
function ignoreAbort(signal: AbortSignal): (error: unknown) => void {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}
