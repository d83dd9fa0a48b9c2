// Puts priority and fairness together on the registry, or the plain limits where it is switched off.
import type { Registry as MetricsRegistry } from 'prom-client';
import { flowschemas, prioritylevelconfigurations } from '#kube/api/generated/resources.ts';
import type { Registry } from '../../registry/registry.ts';
import type { RequestInfo } from '../http/request-info.ts';
import type { PeriodicJob } from '../maintenance.ts';
import type { PathHandler } from '../non-resource.ts';
import { planFlowConfig } from './flow-config.ts';
import { createFlowController } from './flow-controller.ts';
import { createFlowDumps } from './flow-dumps.ts';
import { createFlowMetrics, type FlowMetrics } from './flow-metrics.ts';
import { createInFlightLimit, type InFlightLimits } from './in-flight-limit.ts';
import type { RequestLimit } from './request-limit.ts';
import { createTurns } from './turns.ts';

export interface FlowControlDeps {
  isFair: boolean;
  limits: InFlightLimits;
  registry: Registry;
  metricsRegistry: MetricsRegistry;
  nowMs(): number;
}

export interface FlowControl {
  limit: RequestLimit;
  handlers: readonly PathHandler[];
  jobs: readonly PeriodicJob[];
  /** The configuration has changed. */
  invalidate(): void;
}

/** As often as the reference moves seats. */
const adjustEveryMs = 10_000;

export function createFlowControl(deps: FlowControlDeps): FlowControl {
  const { registry, limits } = deps;
  if (!deps.isFair) {
    return { limit: createInFlightLimit(limits), handlers: [], jobs: [], invalidate: () => undefined };
  }
  const storedObjects = ({ group, version, plural }: RequestInfo): number => {
    const prefix = registry.table.find(group, version, plural)?.storagePrefix ?? '';
    return prefix === '' ? 0 : registry.cache.resource(prefix).size;
  };
  const readConfig = () =>
    planFlowConfig(registry.objects.list(flowschemas), registry.objects.list(prioritylevelconfigurations));
  const metrics: FlowMetrics = createFlowMetrics(deps.metricsRegistry, () => flows.levels());
  const totalSeats = limits.readOnly + limits.mutating;
  const turns = createTurns((next) => setImmediate(next));
  const flows = createFlowController({ totalSeats, readConfig, storedObjects, metrics, turns, nowMs: deps.nowMs });
  const adjust = { name: 'seats of priority levels', intervalMs: adjustEveryMs, run: async () => flows.adjust() };
  return { limit: flows, handlers: [createFlowDumps(flows)], jobs: [adjust], invalidate: () => flows.invalidate() };
}
