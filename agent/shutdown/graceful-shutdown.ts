// Ends pods before their machine ends, by priority, while a lock holds up the end (pkg/kubelet/nodeshutdown). From the
// first word of it the node takes no pods and is not ready.
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { EndReason } from '../sync/pod-work.ts';
import type { Logind } from './logind.ts';
import {
  planShutdown,
  type ShutdownGroup,
  type ShutdownPeriod,
  shutdownGraceSeconds,
  totalGraceMs,
} from './plan-shutdown.ts';
import type { ShutdownMetrics } from './shutdown-metrics.ts';

const message = 'Pod was terminated in response to imminent node shutdown.';
const pollMs = 100;
const retryMs = 5000;
const reloadWaitMs = 2000;

/** Whether the machine is about to end; read by what reports the node and by what admits pods. */
export interface ShutdownState {
  isActive: boolean;
}

export interface GracefulShutdownOptions {
  periods: readonly ShutdownPeriod[];
  state: ShutdownState;
  logind: Logind;
  /** Pods that have not ended. */
  pods(): readonly Pod[];
  end(podUid: string, reason: EndReason): void;
  /** The node's status has changed. */
  changed(): void;
  /** Tells what ended pods ended with, as far as that can be told. */
  flush(): Promise<void>;
  metrics: ShutdownMetrics;
  record(type: 'Normal' | 'Warning', reason: string, text: string): void;
  clock: Clock;
  logger: Logger;
}

/** Ends one group: waits until its pods have ended, or its time is over. */
async function endGroup(group: ShutdownGroup, options: GracefulShutdownOptions, signal: AbortSignal): Promise<void> {
  const { clock, logger, pods, end } = options;
  logger.info({ priority: group.priority, pods: group.pods.length }, 'ending pods before the machine ends');
  const uids = new Set(group.pods.map(({ metadata }) => metadata.uid ?? ''));
  for (const pod of group.pods) {
    const graceSeconds = shutdownGraceSeconds(pod, group);
    const reason = { phase: 'Failed' as const, reason: 'Terminated', message, disruption: message, graceSeconds };
    end(pod.metadata.uid ?? '', reason);
  }
  const deadlineMs = clock.monotonicMs() + group.graceMs;
  while (!signal.aborted && clock.monotonicMs() < deadlineMs) {
    if (!pods().some(({ metadata }) => uids.has(metadata.uid ?? ''))) return;
    await clock.sleep(pollMs, signal).catch(() => undefined);
  }
  if (!signal.aborted) logger.warn({ priority: group.priority }, 'pods did not end in their time');
}

/** Ends all pods, group after group. */
export async function endPods(options: GracefulShutdownOptions, signal: AbortSignal): Promise<void> {
  options.metrics.started();
  for (const group of planShutdown(options.pods(), options.periods)) {
    if (signal.aborted) return;
    await endGroup(group, options, signal);
  }
  options.metrics.ended();
  await options.flush();
}

/** Makes sure that the machine's end can be held up for long enough. */
async function ensureDelay({ logind, periods, clock, logger }: GracefulShutdownOptions): Promise<void> {
  const wantedMs = totalGraceMs(periods);
  if ((await logind.maxDelayMs()) >= wantedMs) return;
  await logind.setMaxDelay(wantedMs);
  const deadlineMs = clock.monotonicMs() + reloadWaitMs;
  while (clock.monotonicMs() < deadlineMs) {
    if ((await logind.maxDelayMs()) >= wantedMs) return;
    await clock.sleep(pollMs);
  }
  logger.warn({ wantedMs }, 'the login manager holds up the end of the machine for less than pods may need');
}

/** One lock and what it waits for; returns when it has to be taken again. */
async function guard(options: GracefulShutdownOptions, signal: AbortSignal): Promise<void> {
  const { logind, state, clock, logger } = options;
  await ensureDelay(options);
  const round = new AbortController();
  const stop = AbortSignal.any([signal, round.signal]);
  let ending: AbortController | undefined;
  const heard = (isStarting: boolean): void => {
    if (isStarting === state.isActive) return;
    state.isActive = isStarting;
    options.changed();
    if (!isStarting) {
      logger.info('the end of the machine was called off');
      ending?.abort(new Error('called off'));
      round.abort(new Error('called off'));
      return;
    }
    options.record('Normal', 'NodeShutdown', 'Shutdown manager detected shutdown event');
    ending = new AbortController();
    endPods(options, AbortSignal.any([signal, ending.signal]))
      .catch((error: unknown) => logger.error({ err: error }, 'cannot end the pods of the machine'))
      // Nothing holds it up any more; the lock is taken again when the end is called off.
      .finally(() => lock.abort(new Error('the pods have ended')));
  };
  const lock = new AbortController();
  const unwatch = await logind.watchShutdown(heard);
  try {
    await logind.holdLock(AbortSignal.any([stop, lock.signal]));
    while (!stop.aborted) await clock.sleep(retryMs, stop).catch(() => undefined);
  } finally {
    unwatch();
  }
}

/** Runs until the signal is aborted. Without periods nothing is held up. */
export async function runGracefulShutdown(options: GracefulShutdownOptions, signal: AbortSignal): Promise<void> {
  const { periods, clock, logger } = options;
  while (!signal.aborted) {
    if (totalGraceMs(periods) > 0) {
      try {
        await guard(options, signal);
        continue;
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error }, 'cannot hold up the end of the machine for pods');
      }
      await clock.sleep(retryMs, signal).catch(() => undefined);
    } else {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    }
  }
}
