// Builds the agent out of its parts: the only place that constructs them and connects one to another.
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import {
  nodes as nodesResource,
  pods as podsResource,
  runtimeclasses,
  services as servicesResource,
} from '#kube/api/generated/resources.ts';
import { amountsOf } from '#kube/api/pod-resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createEventRecorder, referenceTo } from '#kube/events/event-recorder.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { ComponentMetrics } from '#kube/metrics/metrics.ts';
import type { Clock } from '#kube/process/clock.ts';
import { type Component, runGroup } from '#kube/process/component.ts';
import type { Exec } from '#kube/process/exec.ts';
import { kubernetesVersion } from '#kube/process/version.ts';
import { createCgroupManager } from './cgroup/cgroup-manager.ts';
import { createCgroupV1 } from './cgroup/cgroup-v1.ts';
import { createCgroupV2, isUnifiedHierarchy } from './cgroup/cgroup-v2.ts';
import type { AgentSettings } from './config/settings.ts';
import { parseResolvConf } from './container/dns-config.ts';
import type { DownwardSettings } from './container/downward-value.ts';
import { runLogRotation } from './container/log-rotation.ts';
import { containerFieldPath } from './container/pod-containers.ts';
import type { ImageService } from './cri/image-service.ts';
import { limitCalls } from './cri/limit-calls.ts';
import { observeCalls } from './cri/observe-calls.ts';
import type { RuntimeService } from './cri/runtime-service.ts';
import { createCredentialsSource } from './image/credentials-source.ts';
import { createEnsureImage } from './image/ensure-image.ts';
import { hugepageNames, type MachineFacts } from './node/machine-facts.ts';
import { createNodeReporter } from './node/node-reporter.ts';
import { createNodeStatusSource } from './node/node-status-source.ts';
import { createRuntimeHealth } from './node/runtime-health.ts';
import { createPodSources } from './pod-source/pod-sources.ts';
import { systemHttpGet } from './probe/http-get.ts';
import { createProbeManager } from './probe/probe-manager.ts';
import { createRuntimeCache } from './runtime-cache/runtime-cache.ts';
import { createAgentMetrics } from './server/agent-metrics.ts';
import { connectServer } from './server/connect-server.ts';
import { createCgroupV1StatsReader } from './stats/cgroup-v1-stats.ts';
import { createCgroupV2StatsReader } from './stats/cgroup-v2-stats.ts';
import { countContainers, countPods } from './stats/count-pods.ts';
import { createStatusManager } from './status/status-manager.ts';
import { admitPod } from './sync/admit-pod.ts';
import { runHousekeeping } from './sync/housekeeping.ts';
import { createKeyBackoff } from './sync/key-backoff.ts';
import type { RecordPodEvent } from './sync/pod-events.ts';
import type { PodTools } from './sync/pod-work.ts';
import { createPodWorkers, type PodWorkers } from './sync/pod-workers.ts';
import { createMounter } from './volume/mounter.ts';
import { createObjectCache } from './volume/object-cache.ts';
import { createTokenManager } from './volume/token-manager.ts';
import { createVolumeManager } from './volume/volume-manager.ts';

const cgroupFsRoot = '/sys/fs/cgroup';
const criCallsInFlight = 8;
const restartBackoffMs = 10_000;
const flushLimitMs = 1000;
const startingDelayMs = 1000;

/** What the agent is given. */
export interface AgentParts {
  settings: AgentSettings;
  nodeName: string;
  nodeIps: string[];
  facts: MachineFacts;
  runtime: RuntimeService;
  images: ImageService;
  /** As the runtime calls itself, for example containerd and 1.6.20. */
  runtimeName: string;
  runtimeVersion: string;
  client: ApiClient;
  /** With a rate limit of its own. */
  eventClient: ApiClient;
  /** For the Node object and its Lease. */
  heartbeatClient: ApiClient;
  metrics: ComponentMetrics;
  clock: Clock;
  exec: Exec;
  logger: Logger;
}

function createCgroups({ settings, clock }: AgentParts, unified: boolean) {
  return createCgroupManager({
    fs: unified ? createCgroupV2(cgroupFsRoot, clock) : createCgroupV1(cgroupFsRoot, clock),
    driver: settings.cgroupDriver,
    root: settings.cgroupRoot,
    perQos: settings.cgroupsPerQos,
    limits: settings,
    enforceAllocatable: settings.enforceAllocatable,
  });
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

/** Connects everything. Nothing runs before `run`. */
export async function createAgent(parts: AgentParts): Promise<Component> {
  const { settings, nodeName, nodeIps, facts, client, clock, exec, logger, metrics } = parts;
  const ready = Promise.withResolvers<void>();
  const startedAtMs = clock.now();
  const unified = await isUnifiedHierarchy(cgroupFsRoot);
  const agentMetrics = createAgentMetrics(metrics.registry, {
    nodeName,
    cgroupVersion: unified ? 2 : 1,
    gitVersion: kubernetesVersion,
    podCounts: () => countPods(workers?.stages() ?? [], cache.all()),
    containerCounts: () => countContainers(cache.all()),
    relistAgeSeconds: () => (clock.monotonicMs() - cache.lastRelistMs) / 1000,
  });
  const direct = observeCalls(parts.runtime, clock, agentMetrics.observeRuntimeCall);
  const images = observeCalls(parts.images, clock, agentMetrics.observeRuntimeCall);
  const runtime = limitCalls(direct, criCallsInFlight);
  const cgroups = createCgroups(parts, unified);
  const cgroupReader = unified
    ? createCgroupV2StatsReader(cgroupFsRoot, clock)
    : createCgroupV1StatsReader(cgroupFsRoot, clock);
  const mounter = createMounter(exec);
  const hostIps = () => nodeIps;
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
  const record: RecordPodEvent = (pod, type, reason, message, container) => {
    const fieldPath = container === undefined ? undefined : containerFieldPath(pod, container);
    recorder.event(referenceTo(podsResource, pod, fieldPath), type, reason, message);
  };

  const cache = createRuntimeCache({
    runtime,
    clock,
    logger,
    relistPeriodMs: 1000,
    observeRelist: agentMetrics.observeRelist,
  });
  const { observeStatusSync: observeSync } = agentMetrics;
  const statuses = createStatusManager({ client, clock, logger, startingDelayMs, observeSync });
  const objects = createObjectCache({ client, clock, logger, changed: (uids) => uids.forEach(wake) });
  const tokens = createTokenManager(client, clock);
  const serviceInformer = createInformer({ client, resource: servicesResource, clock, logger });

  const health = createRuntimeHealth(runtime, clock, logger, () => reporter.wake());
  const nodeStatus = createNodeStatusSource({
    settings,
    facts,
    nodeName,
    nodeIps,
    images,
    runtimeVersion: `${parts.runtimeName}://${parts.runtimeVersion}`,
    problems: health.problems,
    reader: cgroupReader,
    clock,
  });
  const reporter = createNodeReporter({
    client: parts.heartbeatClient,
    clock,
    logger,
    nodeName,
    register: settings.registerNode,
    labels: {
      'beta.kubernetes.io/arch': facts.architecture,
      'beta.kubernetes.io/os': 'linux',
      'kubernetes.io/arch': facts.architecture,
      'kubernetes.io/hostname': nodeName,
      'kubernetes.io/os': 'linux',
      ...settings.nodeLabels,
    },
    taints: settings.taints,
    providerId: settings.providerId,
    status: nodeStatus,
    updatePeriodMs: settings.nodeStatusUpdateMs,
    reportPeriodMs: settings.nodeStatusReportMs,
    leaseDurationSeconds: settings.leaseDurationSeconds,
  });

  const downward = (pod: Pod, podIps: string[]): DownwardSettings => ({
    hostIps: nodeIps,
    podIps: pod.spec.hostNetwork === true ? nodeIps : podIps,
    nodeAllocatable: reporter.node()?.status?.allocatable ?? {},
  });

  const volumes = createVolumeManager({
    rootDir: settings.rootDir,
    mounter,
    sources: {
      objects,
      tokens,
      downward: (pod) => downward(pod, cache.get(pod.metadata.uid ?? '')?.sandboxes[0]?.ips ?? []),
    },
    clock,
    logger,
    failed: (pod, message) => record(pod, 'Warning', 'FailedMount', message),
  });

  async function runtimeHandler(pod: Pod): Promise<string> {
    const name = pod.spec.runtimeClassName;
    if (name === undefined || name === '') return '';
    return (await client.get(runtimeclasses, { name })).handler;
  }

  const probes = createProbeManager({
    runtime: direct,
    httpGet: systemHttpGet,
    clock,
    logger,
    record,
    hostIps,
    observe: agentMetrics.observeProbe,
    changed: wake,
    startedAtMs,
  });

  const resources = {
    memoryCapacityBytes: facts.memoryBytes,
    hugepageSizes: facts.hugepages.map(({ pageKiB }) => hugepageNames(pageKiB).runtime),
    cpuCfsQuota: settings.cpuCfsQuota,
    cpuCfsQuotaPeriodMs: settings.cpuCfsQuotaPeriodMs,
  };
  const resolvConf = settings.resolvConf === '' ? '' : await readFile(settings.resolvConf, 'utf8').catch(() => '');
  const { clusterDns, clusterDomain } = settings;
  const legacyLogsDir = settings.podLogsDir === '/var/log/pods' ? '/var/log/containers' : undefined;

  const tools: PodTools = {
    execute: {
      runtime,
      httpGet: systemHttpGet,
      clock,
      logger,
      record,
      mounter,
      rootDir: settings.rootDir,
      clusterDomain,
      ensureImage: createEnsureImage({
        images,
        clock,
        logger,
        record,
        parallelPulls: settings.parallelPulls,
      }),
      container: {
        resources,
        security: { seccompProfileRoot: `${settings.rootDir}/seccomp`, seccompDefault: settings.seccompDefault },
      },
      sandbox: {
        podLogsDir: settings.podLogsDir,
        dns: { clusterDns, clusterDomain, host: parseResolvConf(resolvConf) },
        resources,
      },
      services: () => serviceInformer.list(),
      sources: (pod) => ({
        configMap: (namespace, name) => objects.configMap(pod.metadata.uid ?? '', namespace, name),
        secret: (namespace, name) => objects.secret(pod.metadata.uid ?? '', namespace, name),
      }),
      credentials: createCredentialsSource(objects, settings.rootDir),
      downward,
      legacyLogsDir,
      started: agentMetrics.observeContainerStarted,
      readHostsFile: () => readFile('/etc/hosts', 'utf8'),
      backoff: createKeyBackoff(clock, restartBackoffMs, settings.crashLoopMaxMs),
      refresh: cache.refresh,
      runtimeHandler,
    },
    cache,
    statuses,
    volumes,
    cgroups,
    probes,
    clock,
    logger,
    hostIps,
    async admit(pod, others, signal) {
      const { allowedSysctls } = settings;
      const rejection = admitPod(pod, reporter.node(), others, allowedSysctls);
      if (rejection === undefined) return undefined;
      // Labels and taints may have changed since the node was last looked at.
      const node = await client.get(nodesResource, { name: nodeName }, { signal });
      return admitPod(pod, node, others, allowedSysctls);
    },
    observeStep: agentMetrics.observePodStep,
    observeStarted: agentMetrics.observePodStarted,
    networkProblem: health.networkProblem,
    syncFrequencyMs: settings.syncFrequencyMs,
    podLogsDir: settings.podLogsDir,
    runtimeName: parts.runtimeName,
    release(uid) {
      objects.release(uid);
      tokens.release(uid);
    },
  };
  const podWorkers = createPodWorkers(tools);
  workers = podWorkers;

  const sources = createPodSources({
    client,
    clock,
    logger,
    nodeName,
    node: reporter.node,
    staticPodPath: settings.staticPodPath,
    fileCheckMs: settings.fileCheckMs,
    workers: podWorkers,
    statuses,
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
    await Promise.all([cache.relist(signal), health.check(signal), serviceInformer.synced]);
    await cgroups.ensureNode(amountsOf((await nodeStatus(undefined)).allocatable));
    await sources.begin();
    podWorkers.sourcesReady();
    ready.resolve();
    await podWorkers.run(signal);
  }

  const rotation = {
    runtime: direct,
    pods: cache.all,
    clock,
    logger,
    maxBytes: settings.logMaxBytes,
    maxFiles: settings.logMaxFiles,
    periodMs: settings.logMonitorMs,
  };
  const housekeeping = {
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
  });

  return {
    ready: ready.promise,
    async run(signal) {
      try {
        await runGroup(
          [
            { run: serviceInformer.run },
            cache,
            statuses,
            health,
            { run: reportNode },
            { run: startPods },
            server,
            sources,
            { run: (stop) => runLogRotation(rotation, stop) },
            { run: (stop) => runHousekeeping(housekeeping, stop) },
          ],
          signal,
        );
      } finally {
        probes.close();
        await objects.close();
        // What cannot be told quickly is not worth a slow end.
        await Promise.race([recorder.flushed(), clock.sleep(flushLimitMs)]);
        stopEvents.abort(new Error('the agent ends'));
      }
    },
  };
}
