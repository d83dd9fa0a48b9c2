// What the API server does now and then: compacts history, trims the cache, lets old events go, and whatever
// else it is given to repeat.
import { setImmediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Event } from '#kube/api/generated/core-v1.ts';
import { events } from '#kube/api/generated/resources.ts';
import type { Clock } from '#kube/process/clock.ts';
import { cacheOf, type Registry } from '../registry/registry.ts';

export interface MaintenanceDeps {
  registry: Registry;
  clock: Clock;
  logger: Logger;
  eventTtlMs: number;
  /** What was said one interval ago can still be continued from, older history goes. 0: nothing goes. */
  compactionIntervalMs: number;
}

/** Without compaction events expire all the same. */
const upkeepIntervalMs = 300_000;
const maxExpiredAtOnce = 5000;
const eventsPerSlice = 200;

function lastSeenMs(event: Event): number {
  const times = [
    event.lastTimestamp,
    event.eventTime,
    event.series?.lastObservedTime,
    event.metadata?.creationTimestamp,
  ];
  return Math.max(...times.map((time) => (time === undefined || time === null ? 0 : Date.parse(time))));
}

/** How far the store had come at a time. */
interface Milestone {
  atMs: number;
  revision: number;
}

/**
 * Removes events that nothing was added to for the time to live. Those written since `milestones` are younger: only what
 * was written before the first that is, is read, in slices between which requests are served.
 */
async function expireEvents(
  { registry, clock, eventTtlMs }: MaintenanceDeps,
  milestones: readonly Milestone[],
): Promise<void> {
  const served = registry.table.get(events);
  const deadline = clock.now() - eventTtlMs;
  const youngSince = milestones.find(({ atMs }) => atMs >= deadline)?.revision ?? Number.POSITIVE_INFINITY;
  const old = [...cacheOf(registry, served).walk()].filter(({ revision }) => revision <= youngSince);
  const expired: string[] = [];
  for (const [index, { key, value }] of old.entries()) {
    if (index % eventsPerSlice === eventsPerSlice - 1) await setImmediate();
    if (lastSeenMs(JSON.parse(value.toString()) as Event) < deadline) expired.push(key);
    if (expired.length >= maxExpiredAtOnce) break;
  }
  await Promise.all(expired.map((key) => registry.backend.transact(key, () => ({ type: 'delete' }))));
}

/** Work to be done now and then. */
export interface PeriodicJob {
  name: string;
  intervalMs: number;
  run(): Promise<void>;
}

/** Compaction and the expiry of events. */
export function createUpkeep(deps: MaintenanceDeps): PeriodicJob {
  const { registry, compactionIntervalMs } = deps;
  let keepFrom = registry.backend.revision;
  let milestones: Milestone[] = [];
  return {
    name: 'upkeep of the store',
    intervalMs: compactionIntervalMs > 0 ? compactionIntervalMs : upkeepIntervalMs,
    run: async () => {
      await expireEvents(deps, milestones);
      const revision = registry.backend.revision;
      const atMs = deps.clock.now();
      milestones = [...milestones.filter((each) => each.atMs >= atMs - deps.eventTtlMs), { atMs, revision }];
      if (compactionIntervalMs === 0) return;
      await registry.backend.compact(keepFrom);
      registry.cache.trim(keepFrom);
      keepFrom = revision;
    },
  };
}

/** Runs a job until aborted. A failure is logged, and the job is tried again at its next turn. */
export async function runPeriodically(
  job: PeriodicJob,
  { clock, logger }: Pick<MaintenanceDeps, 'clock' | 'logger'>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await clock.sleep(job.intervalMs, signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    try {
      await job.run();
    } catch (error) {
      logger.error({ err: error, job: job.name }, 'a periodic job failed, will be tried again');
    }
  }
}
