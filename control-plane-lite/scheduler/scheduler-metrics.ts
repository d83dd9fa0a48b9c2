// The scheduler's own metrics, under upstream's names.
import { Counter, Histogram, type Registry } from 'prom-client';

export interface SchedulerMetrics {
  /** A decision was computed. */
  decided(tookMs: number): void;
  /** A pod was bound, could not be placed, or failed. */
  attempted(result: 'scheduled' | 'unschedulable' | 'error', tookMs: number): void;
}

const buckets = Array.from({ length: 15 }, (_, exponent) => 0.001 * 2 ** exponent);

/** Registers the metrics; without a registry nothing is counted. */
export function createSchedulerMetrics(registry: Registry | undefined): SchedulerMetrics {
  if (registry === undefined) return { decided: () => undefined, attempted: () => undefined };
  const registers = [registry];
  const attempts = new Counter({
    name: 'scheduler_schedule_attempts_total',
    help: 'Number of attempts to schedule pods, by the result.',
    labelNames: ['result', 'profile'],
    registers,
  });
  const durations = new Histogram({
    name: 'scheduler_scheduling_attempt_duration_seconds',
    help: 'Scheduling attempt latency in seconds (scheduling algorithm + binding)',
    labelNames: ['result', 'profile'],
    buckets,
    registers,
  });
  const algorithm = new Histogram({
    name: 'scheduler_scheduling_algorithm_duration_seconds',
    help: 'Scheduling algorithm latency in seconds',
    buckets,
    registers,
  });
  return {
    decided: (tookMs) => algorithm.observe(tookMs / 1000),
    attempted(result, tookMs) {
      const labels = { result, profile: 'default-scheduler' };
      attempts.inc(labels);
      durations.observe(labels, tookMs / 1000);
    },
  };
}
