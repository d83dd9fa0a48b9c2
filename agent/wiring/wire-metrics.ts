// Metrics that are read off what the other parts know already.
import { registerMachineMetrics } from '../server/metrics/machine-metrics.ts';
import { createPodMetrics, type PodMetrics } from '../server/metrics/pod-metrics.ts';
import { registerPullRecordCounts } from '../server/metrics/pull-record-counts.ts';
import { registerVolumeCounts } from '../server/metrics/volume-counts.ts';
import type { StatusManager } from '../status/status-manager.ts';
import type { PodWorkers } from '../sync/pod-workers.ts';
import type { AgentParts } from './agent-parts.ts';
import type { NodeParts } from './wire-node.ts';
import type { RuntimeParts } from './wire-runtime.ts';

/** What the metrics are read from. */
export interface MetricConnections {
  runtimeParts: RuntimeParts;
  nodeParts: NodeParts;
  statuses: StatusManager;
  workers: PodWorkers;
  startedAtMs: number;
  ready: Promise<void>;
}

/** Registers them. Disposing ends what they watch. */
export function wireMetrics(parts: AgentParts, connections: MetricConnections): PodMetrics & Disposable {
  const { settings, clock, metrics } = parts;
  const { workers, statuses, startedAtMs, runtimeParts } = connections;
  const gates = settings.configuration['featureGates'];
  const machine = registerMachineMetrics(metrics.registry, {
    featureGates: typeof gates === 'object' && gates !== null ? { ...gates } : {},
    startedAtMs,
    registered: connections.nodeParts.reporter.ready,
    ready: connections.ready,
    now: clock.now,
  });
  registerPullRecordCounts(metrics.registry, settings.rootDir);
  registerVolumeCounts(metrics.registry, settings.rootDir, workers.active);
  const pods = createPodMetrics(metrics.registry, {
    pods: () =>
      workers.all().map((pod) => ({ ...pod, status: statuses.get(pod.metadata.uid ?? '') ?? pod.status ?? {} })),
    findPod: workers.get,
    runtimeOf: runtimeParts.cache.get,
    startedAtMs,
  });
  runtimeParts.cache.subscribe(pods.runtimeChanged);
  return { ...pods, [Symbol.dispose]: () => machine[Symbol.dispose]() };
}
