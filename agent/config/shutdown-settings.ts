// How long pods have when their machine ends: shutdownGracePeriod and its kin.
import { UsageError } from '#kube/process/flags.ts';
import { durationMs } from './load-configuration.ts';

export interface ShutdownSettings {
  graceMs: number;
  /** The part of it that only critical pods have. */
  criticalMs: number;
  /** Instead of both, where it is not empty. */
  byPriority: { priority: number; shutdownGracePeriodSeconds: number }[];
}

/** Throws UsageError for periods that make no sense. */
export function resolveShutdown(c: Record<string, unknown>): ShutdownSettings {
  const given = c['shutdownGracePeriodByPodPriority'];
  const byPriority = (Array.isArray(given) ? given : []).map((item: unknown) => {
    const fields = (item ?? {}) as Record<string, unknown>;
    const priority = Number(fields['priority'] ?? 0);
    const seconds = Number(fields['shutdownGracePeriodSeconds'] ?? 0);
    if (!Number.isInteger(priority) || !Number.isInteger(seconds) || seconds < 0) {
      throw new UsageError('shutdownGracePeriodByPodPriority takes items of priority and shutdownGracePeriodSeconds');
    }
    return { priority, shutdownGracePeriodSeconds: seconds };
  });
  return {
    graceMs: durationMs(c['shutdownGracePeriod']),
    criticalMs: durationMs(c['shutdownGracePeriodCriticalPods']),
    byPriority,
  };
}
