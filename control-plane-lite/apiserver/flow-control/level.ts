// One priority level while the server runs: its seats, and what was wanted of them.
import type { FlowSchema } from '#kube/api/generated/flowcontrol-v1.ts';
import type { LevelLimits } from './concurrency-limits.ts';
import { createFairQueues, type FairQueues } from './fair-queues.ts';
import type { LevelConfig } from './flow-config.ts';
import { createSeatDemand, type SeatDemand } from './seat-demand.ts';

/** A request that is in a level. */
export interface Waiter {
  schema: FlowSchema;
  distinguisher: string;
  username: string;
  verb: string;
  path: string;
  start(): void;
}

export interface LevelCounts {
  dispatched: number;
  rejected: number;
  timedOut: number;
  cancelled: number;
}

export interface Level {
  config: LevelConfig;
  limits: LevelLimits;
  queues: FairQueues<Waiter>;
  demand: SeatDemand;
  counts: LevelCounts;
  /** Requests of an exempt level, which has no queues. */
  exemptRunning: number;
}

export function createLevel(config: LevelConfig, limits: LevelLimits, nowMs: number): Level {
  return {
    config,
    limits,
    queues: createFairQueues(config.queuing, limits.nominal),
    demand: createSeatDemand(nowMs),
    counts: { dispatched: 0, rejected: 0, timedOut: 0, cancelled: 0 },
    exemptRunning: 0,
  };
}

/** Whether a level can go on under a new configuration without losing track of who waits. */
export function keepsQueues(a: LevelConfig, b: LevelConfig): boolean {
  return a.isExempt === b.isExempt && JSON.stringify(a.queuing) === JSON.stringify(b.queuing);
}
