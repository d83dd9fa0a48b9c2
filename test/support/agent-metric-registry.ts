// The registry of the agent's own metrics with all of its families in it, and nothing running behind them.
import { createMetrics } from '#kube/metrics/metrics.ts';
import { systemClock } from '#kube/process/clock.ts';
import { createCertificateMetrics } from '../../agent/certificate/certificate-metrics.ts';
import { createAgentMetrics } from '../../agent/server/agent-metrics.ts';
import { registerClaimMetrics } from '../../agent/server/metrics/claim-metrics.ts';
import { registerSleepCount } from '../../agent/server/metrics/hook-metrics.ts';
import { registerImageMetrics } from '../../agent/server/metrics/image-metrics.ts';
import { registerMachineMetrics } from '../../agent/server/metrics/machine-metrics.ts';
import {
  registerPinningMetrics,
  registerProcessorMetrics,
  registerTopologyMetrics,
} from '../../agent/server/metrics/manager-metrics.ts';
import { registerOrphanMetrics } from '../../agent/server/metrics/orphan-metrics.ts';
import { createPodMetrics } from '../../agent/server/metrics/pod-metrics.ts';
import { registerPullRecordCounts } from '../../agent/server/metrics/pull-record-counts.ts';
import { registerVolumeCounts } from '../../agent/server/metrics/volume-counts.ts';
import { registerVolumeMetrics } from '../../agent/server/volume-metrics.ts';
import { createShutdownMetrics } from '../../agent/shutdown/shutdown-metrics.ts';

/** Fills a registry; disposing it ends what watches. */
export function createAgentRegistry() {
  const { registry } = createMetrics();
  const agentMetrics = createAgentMetrics(registry, {
    nodeName: 'n',
    cgroupVersion: 2,
    gitVersion: 'v1.36.2',
    podCounts: () => ({ desired: 1, active: 1, running: 1, working: { sync: 1 } }),
    containerCounts: () => ({ created: 0, running: 1, exited: 0, unknown: 0 }),
    relistAgeSeconds: () => 0,
  });
  const machine = registerMachineMetrics(registry, {
    featureGates: {},
    startedAtMs: Date.now(),
    registered: Promise.resolve(),
    ready: Promise.resolve(),
    now: Date.now,
  });
  const pods = createPodMetrics(registry, {
    pods: () => [],
    findPod: () => undefined,
    runtimeOf: () => undefined,
    startedAtMs: 0,
  });
  createCertificateMetrics(registry, systemClock);
  createShutdownMetrics(registry, systemClock);
  registerTopologyMetrics(registry);
  registerOrphanMetrics(registry);
  registerSleepCount(registry);
  registerImageMetrics(registry);
  registerClaimMetrics(registry, () => new Map());
  registerPinningMetrics(registry);
  registerProcessorMetrics(registry, {
    isStatic: true,
    exclusive: () => 1,
    assignable: () => 3,
    byNode: () => new Map(),
  });
  registerPullRecordCounts(registry, '/nowhere');
  registerVolumeCounts(registry, '/nowhere', () => []);
  const view = {
    nodeName: 'n',
    pods: () => [],
    findPod: () => undefined,
    runtimeOf: () => undefined,
    allRuntimes: () => [],
  };
  registerVolumeMetrics(registry, view, { of: async () => [], forget: () => undefined });
  return { registry, agentMetrics, pods, [Symbol.dispose]: () => machine[Symbol.dispose]() };
}
