// Builds the agent out of its parts. Together with the files of wiring/ the only place that constructs them and
// connects one to another.
import { join } from 'node:path';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { amountsOf } from '#kube/api/pod-resources.ts';
import { createEventRecorder } from '#kube/events/event-recorder.ts';
import { type Component, runGroup } from '#kube/process/component.ts';
import { kubernetesVersion } from '#kube/process/version.ts';
import { computePodsShare } from './cgroup/compute-limits.ts';
import { podLogsDirectory } from './container/log-paths.ts';
import { runLogRotation } from './container/log-rotation.ts';
import { runLocalStorageEviction } from './eviction/local-storage-eviction.ts';
import { calm } from './eviction/plan-pressure.ts';
import { createExplainer } from './explain/explainer.ts';
import { systemFetchText } from './pod-source/manifest-url.ts';
import { createPodSources } from './pod-source/pod-sources.ts';
import { createAgentMetrics } from './server/agent-metrics.ts';
import { connectServer } from './server/connect-server.ts';
import { registerOrphanMetrics } from './server/metrics/orphan-metrics.ts';
import { countContainers, countPods } from './stats/count-pods.ts';
import { runHousekeeping } from './sync/housekeeping.ts';
import { createPodWorkers, type PodWorkers } from './sync/pod-workers.ts';
import type { AgentParts } from './wiring/agent-parts.ts';
import { wireMetrics } from './wiring/wire-metrics.ts';
import { wireNode } from './wiring/wire-node.ts';
import { wirePods } from './wiring/wire-pods.ts';
import { wirePressure } from './wiring/wire-pressure.ts';
import { wireResources } from './wiring/wire-resources.ts';
import { wireRuntime } from './wiring/wire-runtime.ts';
import { wireShutdown } from './wiring/wire-shutdown.ts';

const flushLimitMs = 1000;
const stuckMs = 180_000;

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

/** Connects everything. Nothing runs before `run`. */
export async function createAgent(parts: AgentParts): Promise<Component> {
  const { settings, nodeName, client, clock, logger, metrics } = parts;
  const ready = Promise.withResolvers<void>();
  const startedAtMs = clock.now();
  const runtimeParts = await wireRuntime(parts, (unified) =>
    createAgentMetrics(metrics.registry, {
      nodeName,
      cgroupVersion: unified ? 2 : 1,
      gitVersion: kubernetesVersion,
      podCounts: () => countPods(workers?.stages() ?? [], cache.all()),
      containerCounts: () => countContainers(cache.all()),
      relistAgeSeconds: () => (clock.monotonicMs() - cache.lastRelistMs) / 1000,
    }),
  );
  const { agentMetrics, direct, images, cgroups, cgroupReader, cache } = runtimeParts;
  let pressureParts: Awaited<ReturnType<typeof wirePressure>> | undefined;
  const pressure = () => pressureParts?.pressure() ?? calm;
  const resources = await wireResources(parts, runtimeParts, {
    changed: () => nodeParts.reporter.wake(),
    wake: (uids) => uids.forEach(wake),
    wakeAll() {
      for (const { metadata } of workers?.active() ?? []) wake(metadata.uid ?? '');
    },
  });
  const nodeParts = wireNode(parts, runtimeParts, { pressure, devices: resources.counts });
  const { health, nodeStatus, reporter } = nodeParts;
  let workers: PodWorkers | undefined;
  const wake = (uid: string) => workers?.wake(uid);

  const stopEvents = new AbortController();
  const recorder = createEventRecorder({
    client: parts.eventClient,
    signal: stopEvents.signal,
    component: 'kubelet',
    host: nodeName,
    clock,
    logger,
  });
  const podParts = await wirePods(parts, { runtimeParts, nodeParts, recorder, wake, startedAtMs, pressure, resources });
  const { tools, statuses, volumes, objects, probes, serviceInformer, legacyLogsDir } = podParts;
  const podWorkers = createPodWorkers(tools);
  workers = podWorkers;
  const shutdown = wireShutdown(parts, nodeParts, podWorkers, recorder);
  const watched = wireMetrics(parts, {
    runtimeParts,
    nodeParts,
    statuses,
    workers: podWorkers,
    startedAtMs,
    ready: ready.promise,
  });
  agentMetrics.onPulled(watched.imagePulled);
  resources.watchProcessors(podWorkers.active);

  const logsOf = ({ metadata: { namespace = '', name, uid = '' } }: Pod) =>
    podLogsDirectory(settings.podLogsDir, namespace, name, uid);
  const { record: recordPod } = tools.execute;
  const connections = { runtimeParts, nodeParts, recorder, recordPod, volumes, workers: podWorkers, logsOf };
  const pressured = await wirePressure(parts, connections);
  pressureParts = pressured;

  const explainer = createExplainer({
    clock,
    steps: tools.execute.steps,
    warnings: podParts.warnings,
    pods: podWorkers.active,
    statusOf: statuses.get,
    nextStepInMs: podWorkers.nextStepInMs,
    pulledBytes: parts.pullProgress,
    setCondition: statuses.setExtraCondition,
    evictionOf: pressured.records.of,
  });

  const sources = createPodSources({
    client,
    clock,
    logger,
    nodeName,
    node: reporter.node,
    staticPodPath: settings.staticPodPath,
    fileCheckMs: settings.fileCheckMs,
    staticPodUrl: settings.staticPodUrl,
    staticPodUrlHeader: settings.staticPodUrlHeader,
    httpCheckMs: settings.httpCheckMs,
    fetchText: systemFetchText,
    servicesSynced: serviceInformer.synced,
    workers: podWorkers,
    statuses,
    checkpointPath: join(settings.rootDir, 'berth', 'pods.json'),
    setOffline: podParts.setOffline,
  });

  /** Asked first, so that a node that is ready is registered as ready. */
  async function reportNode(signal: AbortSignal): Promise<void> {
    await health.check(signal);
    await reporter.run(signal);
  }

  /** Pods are touched only when this is the one agent of the node: when its ports could be opened. */
  async function startPods(signal: AbortSignal): Promise<void> {
    await Promise.race([server.listening, aborted(signal)]);
    if (signal.aborted) return;
    await Promise.all([cache.relist(signal), health.check(signal)]);
    const capacity = amountsOf((await nodeStatus(undefined)).capacity);
    await cgroups.ensureNode(computePodsShare(capacity, settings.reserved.map(amountsOf)));
    await Promise.all([podWorkers.run(signal), tellPods(signal)]);
  }

  /** Nobody is evicted before all pods of the node are known. */
  async function runPressure(signal: AbortSignal): Promise<void> {
    await Promise.race([ready.promise, aborted(signal)]);
    if (!signal.aborted) await pressured.run(signal);
  }

  /** Static pods need no API server; it may even be one of them. All others wait for it. */
  async function tellPods(signal: AbortSignal): Promise<void> {
    await sources.beginStatic(signal);
    await Promise.race([sources.begin(signal), aborted(signal)]);
    if (signal.aborted) return;
    podWorkers.sourcesReady();
    ready.resolve();
  }

  const rotation = {
    runtime: direct,
    pods: cache.all,
    clock,
    logger,
    maxBytes: settings.logMaxBytes,
    maxFiles: settings.logMaxFiles,
    periodMs: settings.logMonitorMs,
    workers: settings.logWorkers,
  };
  const housekeeping = {
    observeOrphans: registerOrphanMetrics(metrics.registry),
    ready: ready.promise,
    volumes,
    cgroups,
    cache,
    workers: podWorkers,
    clock,
    logger,
    podLogsDir: settings.podLogsDir,
    legacyLogsDir,
    podCidr: () => reporter.node()?.spec?.podCIDR,
    setPodCidr: (cidr: string, stop: AbortSignal) => direct.updateRuntimeConfig(cidr, stop),
  };
  const localStorage = {
    volumes,
    runtime: direct,
    pods: podWorkers.active,
    runtimeOf: cache.get,
    logsOf,
    end: podWorkers.end,
    record: tools.execute.record,
    clock,
    logger,
  };
  const server = connectServer({
    ...parts,
    runtime: direct,
    images,
    agentMetrics,
    cgroups,
    cgroupReader,
    workers: podWorkers,
    statuses,
    cache,
    volumeStats: podParts.storage.stats,
    explain: explainer.explain,
    replaceable: parts.certificates.replaceable,
    oomKills: pressured.oomKills,
  });

  /** The runtime answers, and still nothing was listed for long: a new start can help, unlike where the runtime is away. */
  const stuck = () =>
    health.problems().length === 0 && clock.monotonicMs() - cache.lastRelistMs > stuckMs
      ? 'the container runtime has not been relisted for three minutes'
      : undefined;

  return {
    ready: ready.promise,
    async run(signal) {
      try {
        await runGroup(
          [
            { run: serviceInformer.run },
            podParts.storage,
            cache,
            statuses,
            health,
            { run: reportNode },
            { run: startPods },
            server,
            sources,
            explainer,
            parts.certificates,
            shutdown,
            { run: (stop) => parts.notifier.run({ ready: server.listening, problem: stuck }, stop) },
            { run: (stop) => runLogRotation(rotation, stop) },
            { run: (stop) => runHousekeeping(housekeeping, stop) },
            { run: runPressure },
            { run: resources.run },
            { run: (stop) => resources.serve(podWorkers.active, stop) },
            ...(settings.localStorage
              ? [{ run: (stop: AbortSignal) => runLocalStorageEviction(localStorage, stop) }]
              : []),
          ],
          signal,
        );
      } finally {
        watched[Symbol.dispose]();
        probes.close();
        await objects.close();
        await podParts.trustBundles.close();
        // What cannot be told quickly is not worth a slow end.
        await Promise.race([recorder.flushed(), clock.sleep(flushLimitMs)]);
        // An open connection would keep the process from ending.
        await runtimeParts.bus.close();
        stopEvents.abort(new Error('the agent ends'));
      }
    },
  };
}
