// The scheduler's own metrics, under upstream's names.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { PodInfo } from './framework/pod-info.ts';

/** What gauges are read from when somebody asks. */
export interface SchedulerState {
  queue: {
    counts(): { active: number; backoff: number; unschedulable: number };
    refused(): Iterable<{ info: PodInfo; rejectors: ReadonlySet<string> }>;
  };
  cache: { readonly nodes: ReadonlyMap<string, unknown>; counts(): { pods: number; assumed: number } };
  gated(): number;
}

export interface SchedulerMetrics {
  /** A decision was computed. */
  decided(tookMs: number): void;
  /** A pod was bound, could not be placed, or failed. */
  attempted(result: 'scheduled' | 'unschedulable' | 'error', profile: string, tookMs: number): void;
  extensionPoint(name: 'Filter' | 'Bind', profile: string, tookMs: number, isSuccess: boolean): void;
  /** A pod got its node. */
  scheduled(done: { attempts: number; waitedMs: number } | undefined): void;
  /** Pods were looked for that could go. */
  preempted(victims: number): void;
  /** A pod entered a part of the queue. */
  entered(part: 'active' | 'backoff' | 'unschedulable', event: string): void;
  /** The state of the scheduler that runs from now on. */
  watch(state: SchedulerState): void;
}

const exponential = (first: number, factor: number, count: number) =>
  Array.from({ length: count }, (_, exponent) => first * factor ** exponent);
const buckets = exponential(0.001, 2, 15);

const silent: SchedulerMetrics = {
  decided: () => undefined,
  attempted: () => undefined,
  extensionPoint: () => undefined,
  scheduled: () => undefined,
  preempted: () => undefined,
  entered: () => undefined,
  watch: () => undefined,
};

function registerGauges(registers: Registry[], current: () => SchedulerState | undefined): void {
  new Gauge({
    name: 'scheduler_pending_pods',
    help: "Number of pending pods, by the queue type: 'active', 'backoff', 'unschedulable' or 'gated'.",
    labelNames: ['queue'],
    registers,
    collect() {
      const state = current();
      if (state === undefined) return;
      const counts = { ...state.queue.counts(), gated: state.gated() };
      for (const [queue, count] of Object.entries(counts)) this.set({ queue }, count);
    },
  });
  new Gauge({
    name: 'scheduler_unschedulable_pods',
    help: 'Number of unschedulable pods, by the plugins that refused them.',
    labelNames: ['plugin', 'profile'],
    registers,
    collect() {
      this.reset();
      for (const { info, rejectors } of current()?.queue.refused() ?? []) {
        for (const plugin of rejectors) this.inc({ plugin, profile: info.schedulerName });
      }
    },
  });
  new Gauge({
    name: 'scheduler_cache_size',
    help: 'Number of nodes, pods, and assumed (bound) pods in the scheduler cache.',
    labelNames: ['type'],
    registers,
    collect() {
      const state = current();
      if (state === undefined) return;
      const { pods, assumed } = state.cache.counts();
      this.set({ type: 'nodes' }, state.cache.nodes.size);
      this.set({ type: 'pods' }, pods);
      this.set({ type: 'assumed_pods' }, assumed);
    },
  });
}

/** Registers the metrics; without a registry nothing is counted. */
export function createSchedulerMetrics(registry: Registry | undefined): SchedulerMetrics {
  if (registry === undefined) return silent;
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
  const points = new Histogram({
    name: 'scheduler_framework_extension_point_duration_seconds',
    help: 'Latency for running all plugins of a specific extension point.',
    labelNames: ['extension_point', 'status', 'profile'],
    buckets: exponential(0.0001, 2, 12),
    registers,
  });
  const victims = new Histogram({
    name: 'scheduler_preemption_victims',
    help: 'Number of selected preemption victims',
    buckets: exponential(1, 2, 7),
    registers,
  });
  const preemptions = new Counter({
    name: 'scheduler_preemption_attempts_total',
    help: 'Total preemption attempts in the cluster till now',
    registers,
  });
  const tries = new Histogram({
    name: 'scheduler_pod_scheduling_attempts',
    help: 'Number of attempts to successfully schedule a pod.',
    buckets: exponential(1, 2, 5),
    registers,
  });
  const waits = new Histogram({
    name: 'scheduler_pod_scheduling_sli_duration_seconds',
    help: 'Latency for a pod being scheduled, from the time the pod enters the scheduling queue.',
    labelNames: ['attempts'],
    buckets: exponential(0.01, 2, 20),
    registers,
  });
  const incoming = new Counter({
    name: 'scheduler_queue_incoming_pods_total',
    help: 'Number of pods added to scheduling queues by event and queue type.',
    labelNames: ['queue', 'event'],
    registers,
  });
  let state: SchedulerState | undefined;
  registerGauges(registers, () => state);
  return {
    decided: (tookMs) => algorithm.observe(tookMs / 1000),
    attempted(result, profile, tookMs) {
      attempts.inc({ result, profile });
      durations.observe({ result, profile }, tookMs / 1000);
    },
    extensionPoint(name, profile, tookMs, isSuccess) {
      points.observe(
        { extension_point: name, status: isSuccess ? 'Success' : 'Unschedulable', profile },
        tookMs / 1000,
      );
    },
    scheduled(done) {
      if (done === undefined) return;
      tries.observe(done.attempts);
      waits.observe({ attempts: done.attempts > 15 ? '16+' : `${done.attempts}` }, done.waitedMs / 1000);
    },
    preempted(count) {
      preemptions.inc();
      if (count > 0) victims.observe(count);
    },
    entered: (queue, event) => incoming.inc({ queue, event }),
    watch(next) {
      state = next;
    },
  };
}
