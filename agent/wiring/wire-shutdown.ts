// The end of the machine: pods end before it, in their order.
import type { EventRecorder } from '#kube/events/event-recorder.ts';
import { runGracefulShutdown } from '../shutdown/graceful-shutdown.ts';
import { createLogind } from '../shutdown/logind.ts';
import { shutdownPeriods } from '../shutdown/plan-shutdown.ts';
import { createShutdownMetrics } from '../shutdown/shutdown-metrics.ts';
import type { PodWorkers } from '../sync/pod-workers.ts';
import { openBus } from '../systemd/bus.ts';
import type { AgentParts } from './agent-parts.ts';
import type { NodeParts } from './wire-node.ts';

/** Statuses and the node's condition are told in this time, where the API server can be reached. */
const flushMs = 1000;

/** Connects it; nothing is asked of the machine before `run`, and nothing at all without grace periods. */
export function wireShutdown(parts: AgentParts, nodeParts: NodeParts, workers: PodWorkers, recorder: EventRecorder) {
  const { settings, nodeName, clock, exec, logger } = parts;
  const { graceMs, criticalMs, byPriority } = settings.shutdown;
  const node = { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: nodeName };
  const metrics = createShutdownMetrics(parts.metrics.registry, clock);
  return {
    async run(signal: AbortSignal): Promise<void> {
      const bus = openBus();
      try {
        await runGracefulShutdown(
          {
            periods: shutdownPeriods(graceMs, criticalMs, byPriority),
            state: nodeParts.shutdown,
            logind: createLogind(bus, exec, process.pid),
            pods: workers.active,
            end: workers.end,
            changed: () => nodeParts.reporter.wake(),
            flush: () => clock.sleep(flushMs, signal).catch(() => undefined),
            record: (type, reason, text) => recorder.event(node, type, reason, text),
            metrics,
            clock,
            logger,
          },
          signal,
        );
      } finally {
        await bus.close();
      }
    },
  };
}
