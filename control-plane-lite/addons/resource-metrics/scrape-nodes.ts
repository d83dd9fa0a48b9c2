// Asks every agent for its measurements in turn: a few at once, so many a second, and seldom those that do not answer.
import type { Logger } from 'pino';
import type { Node } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import { parseResourceMetrics } from './parse-resource-metrics.ts';
import type { UsageStore } from './usage-store.ts';

export interface ScraperDeps {
  /** Empty while somebody else serves the metrics API. */
  nodes(): readonly Node[];
  /** The text of a node's /metrics/resource. */
  scrape(nodeName: string, signal: AbortSignal): Promise<string>;
  store: UsageStore;
  clock: Clock;
  logger: Logger;
  intervalMs: number;
}

const tickMs = 1_000;
/** Until a node was asked twice there is nothing to tell of it. */
const mostWarmUpMs = 5_000;
const mostBackoffMs = 300_000;
const maxConcurrent = 24;
/** With more nodes than this allows in one interval, each is asked less often. */
const maxPerTick = 100;

interface Turn {
  dueMs: number;
  failures: number;
  isAsked: boolean;
}

/** Nodes whose agents serve nothing have no port. */
function isServing({ status }: Node): boolean {
  return (status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0) > 0 && (status?.addresses ?? []).length > 0;
}

/** Runs until the signal is aborted, and waits for the requests that are under way. */
export async function scrapeNodes(deps: ScraperDeps, signal: AbortSignal): Promise<void> {
  const { store, clock, logger, intervalMs } = deps;
  const warmUpMs = Math.min(mostWarmUpMs, intervalMs);
  const turns = new Map<string, Turn>();
  const underWay = new Set<Promise<void>>();
  let waiting: [string, Turn][] = [];

  async function ask(name: string, turn: Turn): Promise<void> {
    turn.isAsked = true;
    try {
      const text = await deps.scrape(name, signal);
      store.add(name, parseResourceMetrics(text, clock.now()));
      turn.failures = 0;
      turn.dueMs = clock.monotonicMs() + (store.isWarm(name) ? intervalMs : warmUpMs);
    } catch (error) {
      if (signal.aborted) return;
      turn.dueMs = clock.monotonicMs() + Math.min(mostBackoffMs, intervalMs * 2 ** turn.failures);
      turn.failures += 1;
      logger.debug({ err: error, node: name }, 'the agent did not tell its measurements');
    } finally {
      turn.isAsked = false;
    }
  }

  function startDue(): void {
    const names = new Set<string>();
    const due: [string, Turn][] = [];
    for (const node of deps.nodes()) {
      if (!isServing(node)) continue;
      const { name } = node.metadata;
      names.add(name);
      const turn = turns.get(name) ?? { dueMs: 0, failures: 0, isAsked: false };
      turns.set(name, turn);
      if (!turn.isAsked && turn.dueMs <= clock.monotonicMs()) due.push([name, turn]);
    }
    for (const name of turns.keys()) {
      if (names.has(name)) continue;
      turns.delete(name);
      store.forget(name);
    }
    waiting = due.sort(([, a], [, b]) => a.dueMs - b.dueMs).slice(0, maxPerTick);
    startWaiting();
  }

  function startWaiting(): void {
    while (!signal.aborted && underWay.size < maxConcurrent) {
      const next = waiting.shift();
      if (next === undefined) return;
      const asking = ask(...next).finally(() => {
        underWay.delete(asking);
        startWaiting();
      });
      underWay.add(asking);
    }
  }

  while (!signal.aborted) {
    startDue();
    await clock.sleep(tickMs, signal).catch(() => undefined);
  }
  await Promise.all(underWay);
}
