// Gives the server its view of the node: pods with their statuses, what the runtime has, samples of statistics.
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { ComponentMetrics } from '#kube/metrics/metrics.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import type { CgroupManager } from '../cgroup/cgroup-manager.ts';
import type { AgentSettings } from '../config/settings.ts';
import type { ImageService } from '../cri/image-service.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import type { MachineFacts } from '../node/machine-facts.ts';
import type { RuntimeCache } from '../runtime-cache/runtime-cache.ts';
import type { CgroupStatsReader } from '../stats/cgroup-stats.ts';
import { keepGroupSwitches } from '../stats/group-switches.ts';
import { createMetricGroups } from '../stats/metric-groups.ts';
import { createSampler } from '../stats/sampler.ts';
import type { StatusManager } from '../status/status-manager.ts';
import type { PodWorkers } from '../sync/pod-workers.ts';
import type { VolumeStatsSource } from '../volume/volume-stats.ts';
import type { AgentMetrics } from './agent-metrics.ts';
import { type AgentServerOptions, runAgentServer } from './agent-server.ts';
import type { NodeView } from './node-view.ts';
import type { ExplainRouteOptions } from './routes/explain-routes.ts';
import { metricRoutes } from './routes/metric-routes.ts';
import { registerVolumeMetrics } from './volume-metrics.ts';

/** Relisting that has not succeeded for so long makes the node unhealthy, as kubelet's PLEG check. */
const relistLimitMs = 180_000;

export interface ServerParts {
  settings: AgentSettings;
  nodeName: string;
  nodeIps: string[];
  facts: MachineFacts;
  runtime: RuntimeService;
  images: ImageService;
  client: ApiClient;
  clock: Clock;
  exec: Exec;
  logger: Logger;
  metrics: ComponentMetrics;
  agentMetrics: AgentMetrics;
  cgroups: CgroupManager;
  /** Processes of a container that were killed because memory ran out. */
  oomKills(podUid: string, container: string): number;
  cgroupReader: CgroupStatsReader;
  workers: PodWorkers;
  statuses: StatusManager;
  cache: RuntimeCache;
  volumeStats: VolumeStatsSource;
  explain: ExplainRouteOptions['explain'];
  replaceable?: AgentServerOptions['replaceable'];
}

function createView({ nodeName, workers, statuses, cache }: ServerParts): NodeView {
  const withStatus = (pod: Pod): Pod => ({ ...pod, status: statuses.get(pod.metadata.uid ?? '') ?? pod.status ?? {} });
  return {
    nodeName,
    pods: () => workers.all().map(withStatus),
    findPod(namespace, name, uid) {
      const pod = workers
        .all()
        .find(
          ({ metadata }) =>
            metadata.name === name && metadata.namespace === namespace && (uid ?? metadata.uid) === metadata.uid,
        );
      return pod === undefined ? undefined : withStatus(pod);
    },
    runtimeOf: cache.get,
    allRuntimes: cache.all,
  };
}

/** Serves until its signal is aborted. `listening` resolves when every port is open. */
export function connectServer(parts: ServerParts): {
  run(signal: AbortSignal): Promise<void>;
  listening: Promise<void>;
} {
  const listening = Promise.withResolvers<void>();
  const { settings, clock, cache, cgroups, workers } = parts;
  const view = createView(parts);
  const groups = keepGroupSwitches(
    createMetricGroups(),
    join(settings.rootDir, 'berth', 'metric-groups.json'),
    parts.logger,
  );
  registerVolumeMetrics(parts.metrics.registry, view, parts.volumeStats);
  const sample = createSampler({
    groups,
    reader: parts.cgroupReader,
    clock,
    pods: workers.active,
    runtimeOf: cache.get,
    pathOf: cgroups.pathOf,
    oomKills: parts.oomKills,
    groupPaths: cgroups.groupPaths,
  });
  const stale = () => clock.monotonicMs() - cache.lastRelistMs > relistLimitMs;
  const { facts, runtime, images, metrics, agentMetrics, volumeStats } = parts;
  const { rootDir } = settings;
  const run = (signal: AbortSignal) =>
    runAgentServer(
      {
        ...parts,
        view,
        problem: () => (stale() ? 'the container runtime has not been relisted for three minutes' : undefined),
        metricRoutes: (server, switches) =>
          metricRoutes(server, {
            sample,
            groups,
            view,
            facts,
            runtime,
            images,
            metrics,
            agentMetrics,
            volumeStats,
            rootDir,
            switches,
          }),
        retry: workers.retry,
        observe: agentMetrics.observeRequest,
        requestStarted: agentMetrics.requestStarted,
        observeAuthorization: agentMetrics.observeAuthorization,
        listening: listening.resolve,
      },
      signal,
    );
  return { run, listening: listening.promise };
}
