// What the API server does now and then: compacts history, trims the cache, lets old events go.
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
}

/** As the reference: what was said five minutes ago can still be continued from, older history goes. */
const intervalMs = 300_000;
const maxExpiredAtOnce = 5000;

function lastSeenMs(event: Event): number {
  const times = [
    event.lastTimestamp,
    event.eventTime,
    event.series?.lastObservedTime,
    event.metadata?.creationTimestamp,
  ];
  return Math.max(...times.map((time) => (time === undefined || time === null ? 0 : Date.parse(time))));
}

/** Removes events that nothing was added to for the time to live. */
async function expireEvents({ registry, clock, eventTtlMs }: MaintenanceDeps): Promise<void> {
  const served = registry.table.get(events);
  const deadline = clock.now() - eventTtlMs;
  const expired: string[] = [];
  for (const entry of cacheOf(registry, served).walk()) {
    const event = JSON.parse(entry.value.toString()) as Event;
    if (lastSeenMs(event) < deadline) expired.push(entry.key);
    if (expired.length >= maxExpiredAtOnce) break;
  }
  await Promise.all(expired.map((key) => registry.backend.transact(key, () => ({ type: 'delete' }))));
}

/** Runs until aborted. A failure is logged and tried again at the next turn. */
export async function runMaintenance(deps: MaintenanceDeps, signal: AbortSignal): Promise<void> {
  const { registry, clock, logger } = deps;
  let keepFrom = registry.backend.revision;
  while (!signal.aborted) {
    try {
      await clock.sleep(intervalMs, signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    try {
      await expireEvents(deps);
      const revision = registry.backend.revision;
      await registry.backend.compact(keepFrom);
      registry.cache.trim(keepFrom);
      keepFrom = revision;
    } catch (error) {
      logger.error({ err: error }, 'could not compact the store');
    }
  }
}
