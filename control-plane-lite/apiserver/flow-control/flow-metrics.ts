// Metrics of priority and fairness, under the names of the reference.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Level } from './level.ts';

export type RejectionReason = 'queue-full' | 'concurrency-limit' | 'time-out' | 'cancelled';

export interface FlowMetrics {
  /** A request has its seats; `waitedMs` is undefined where none waits. */
  dispatched(level: string, schema: string, waitedMs: number | undefined): void;
  rejected(level: string, schema: string, reason: RejectionReason): void;
  executed(level: string, schema: string, ms: number): void;
}

const waitBuckets = [0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];
const executionBuckets = [0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];
const byFlow = ['priority_level', 'flow_schema'] as const;

/** Gauges of one value for each level, read when they are asked for. */
const gauges: readonly [string, string, (level: Level) => number][] = [
  ['current_inqueue_requests', 'Requests that wait for seats.', ({ queues }) => queues.waiting],
  ['current_inqueue_seats', 'Seats that are waited for.', ({ queues }) => queues.waitingSeats],
  [
    'current_executing_requests',
    'Requests that are being served.',
    ({ queues, exemptRunning }) => queues.running + exemptRunning,
  ],
  ['current_executing_seats', 'Seats in use.', ({ queues, exemptRunning }) => queues.seatsInUse + exemptRunning],
  ['nominal_limit_seats', 'Seats by shares.', ({ limits }) => limits.nominal],
  ['lower_limit_seats', 'Seats that lending leaves.', ({ limits }) => limits.lower],
  ['upper_limit_seats', 'Seats that borrowing allows.', ({ limits }) => limits.upper],
  ['current_limit_seats', 'Seats for now.', ({ queues }) => queues.limit],
];

export function createFlowMetrics(registry: Registry, levels: () => readonly Level[]): FlowMetrics {
  const registers = [registry];
  const name = (rest: string) => `apiserver_flowcontrol_${rest}`;
  /** Counted for every request, and told only when somebody asks. */
  const dispatched = new Map<string, { level: string; schema: string; count: number }>();
  new Counter({
    name: name('dispatched_requests_total'),
    help: 'Requests that were let in.',
    labelNames: byFlow,
    registers,
    collect() {
      this.reset();
      for (const { level, schema, count } of dispatched.values()) {
        this.inc({ priority_level: level, flow_schema: schema }, count);
      }
    },
  });
  const rejected = new Counter({
    name: name('rejected_requests_total'),
    help: 'Requests that were told to come back.',
    labelNames: [...byFlow, 'reason'],
    registers,
  });
  const waited = new Histogram({
    name: name('request_wait_duration_seconds'),
    help: 'Time that requests waited for seats.',
    labelNames: [...byFlow, 'execute'],
    buckets: waitBuckets,
    registers,
  });
  const executed = new Histogram({
    name: name('request_execution_seconds'),
    help: 'Time that requests had seats.',
    labelNames: byFlow,
    buckets: executionBuckets,
    registers,
  });
  for (const [rest, help, read] of gauges) {
    new Gauge({
      name: name(rest),
      help,
      labelNames: ['priority_level'],
      registers,
      collect() {
        this.reset();
        for (const level of levels()) this.set({ priority_level: level.config.name }, read(level));
      },
    });
  }
  return {
    dispatched: (level, schema, waitedMs) => {
      const key = `${level} ${schema}`;
      const known = dispatched.get(key);
      if (known === undefined) dispatched.set(key, { level, schema, count: 1 });
      else known.count += 1;
      if (waitedMs === undefined) return;
      waited.observe({ priority_level: level, flow_schema: schema, execute: 'true' }, waitedMs / 1000);
    },
    rejected: (level, schema, reason) => rejected.inc({ priority_level: level, flow_schema: schema, reason }),
    executed: (level, schema, ms) => executed.observe({ priority_level: level, flow_schema: schema }, ms / 1000),
  };
}
