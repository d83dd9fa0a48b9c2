// What the workers of pods use: objects, volumes, probes, images, statuses, events.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import {
  nodes as nodesResource,
  pods as podsResource,
  runtimeclasses,
  services as servicesResource,
} from '#kube/api/generated/resources.ts';
import { type EventRecorder, referenceTo } from '#kube/events/event-recorder.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { createAllocationManager } from '../allocation/allocation-manager.ts';
import { openAllocationStore } from '../allocation/allocation-store.ts';
import { parseResolvConf } from '../container/dns-config.ts';
import type { DownwardSettings } from '../container/downward-value.ts';
import { keptRuns } from '../container/plan-container-garbage.ts';
import { containerFieldPath } from '../container/pod-containers.ts';
import { createUserNamespaces } from '../container/user-namespaces.ts';
import { admitUnderPressure } from '../eviction/admit-under-pressure.ts';
import type { Pressure } from '../eviction/plan-pressure.ts';
import { createWarningLog } from '../explain/explainer.ts';
import { createPodSteps } from '../explain/pod-steps.ts';
import { hugepageNames } from '../node/machine-facts.ts';
import { recursiveReadOnly } from '../node/runtime-health.ts';
import { systemHttpGet } from '../probe/http-get.ts';
import { createProbeManager } from '../probe/probe-manager.ts';
import { registerSleepCount } from '../server/metrics/hook-metrics.ts';
import { createStatusManager } from '../status/status-manager.ts';
import { admitPod } from '../sync/admit-pod.ts';
import { createKeyBackoff } from '../sync/key-backoff.ts';
import type { PodTools } from '../sync/pod-work.ts';
import { createObjectCache } from '../volume/object-cache.ts';
import { createTokenManager } from '../volume/token-manager.ts';
import { createTrustBundles } from '../volume/trust-bundles.ts';
import type { AgentParts } from './agent-parts.ts';
import { wireImages } from './wire-images.ts';
import type { NodeParts } from './wire-node.ts';
import type { ResourceParts } from './wire-resources.ts';
import type { RuntimeParts } from './wire-runtime.ts';
import { wireStorage } from './wire-storage.ts';

const sandboxBackoffMs = { initial: 500, max: 60_000 };
const imageBackoffMs = { initial: 10_000, max: 300_000 };
const startingDelayMs = 1000;
const appArmorSwitch = '/sys/module/apparmor/parameters/enabled';

/** What the tools of pods are connected to. */
export interface PodConnections {
  runtimeParts: RuntimeParts;
  nodeParts: NodeParts;
  recorder: EventRecorder;
  /** Something the pod waits for has changed. */
  wake: (podUid: string) => void;
  startedAtMs: number;
  pressure: () => Pressure;
  resources: ResourceParts;
}

/** Connects the tools of pods. */
export async function wirePods(parts: AgentParts, connections: PodConnections) {
  const { settings, nodeName, nodeIps, facts, client, clock, logger } = parts;
  const { recorder, wake, startedAtMs, pressure, resources: given } = connections;
  const { agentMetrics, direct, runtime, images, cgroups, cache } = connections.runtimeParts;
  const { health, reporter } = connections.nodeParts;
  const hostIps = () => nodeIps;
  const warnings = createWarningLog(clock);
  const record = warnings.watch((pod, type, reason, message, container) => {
    const fieldPath = container === undefined ? undefined : containerFieldPath(pod, container);
    recorder.event(referenceTo(podsResource, pod, fieldPath), type, reason, message);
  });
  const { observeStatusSync: observeSync } = agentMetrics;
  const statuses = createStatusManager({ client, clock, logger, startingDelayMs, observeSync });
  const objects = createObjectCache({ client, clock, logger, changed: (uids) => uids.forEach(wake) });
  const tokens = createTokenManager(client, clock);
  const trustBundles = createTrustBundles({ client, clock, logger, changed: (uids) => uids.forEach(wake) });
  const serviceInformer = createInformer({ client, resource: servicesResource, clock, logger });

  const downward = (pod: Pod, podIps: string[]): DownwardSettings => ({
    hostIps: nodeIps,
    podIps: pod.spec.hostNetwork === true ? nodeIps : podIps,
    nodeAllocatable: reporter.node()?.status?.allocatable ?? {},
  });

  let isOffline = false;
  const setOffline = (value: boolean) => {
    isOffline = value;
  };
  const storage = wireStorage(parts, {
    nodeParts: connections.nodeParts,
    sources: {
      objects,
      tokens,
      trustBundles,
      isOffline: () => isOffline,
      downward: (pod) => downward(pod, cache.get(pod.metadata.uid ?? '')?.sandboxes[0]?.ips ?? []),
    },
    record,
    observe: agentMetrics.observeVolume,
    wake,
    handlers: given.handlers,
  });
  const { mounter, volumes } = storage;

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
    ...(connections.runtimeParts.unified
      ? {
          unified: {
            swapBehavior: settings.swapBehavior,
            swapBytes: facts.swapBytes,
            memoryBytes: facts.memoryBytes,
            memoryQos: settings.memoryQos,
            groupOomKill: settings.singleProcessOomKill !== true,
            throttlingFactor: settings.memoryThrottlingFactor,
          },
        }
      : {}),
  };
  const resolvConf = settings.resolvConf === '' ? '' : await readFile(settings.resolvConf, 'utf8').catch(() => '');
  const appArmor = (await readFile(appArmorSwitch, 'utf8').catch(() => '')).startsWith('Y');
  const { clusterDns, clusterDomain } = settings;
  const legacyLogsDir = settings.podLogsDir === '/var/log/pods' ? '/var/log/containers' : undefined;

  const allocation = createAllocationManager({
    allocated: await openAllocationStore(join(settings.rootDir, 'allocated_pods_state'), logger),
    actuated: await openAllocationStore(join(settings.rootDir, 'actuated_pods_state'), logger),
    node: reporter.node,
    pinned: { cpu: settings.cpuManagerPolicy === 'static', memory: settings.memoryManagerPolicy === 'Static' },
    record,
    clock,
    logger,
  });

  const steps = createPodSteps(clock, agentMetrics.observeStartStep);
  const imageBackoff = createKeyBackoff(clock, imageBackoffMs.initial, imageBackoffMs.max);
  const pulls = await wireImages(parts, { images, objects, tokens, record, backoff: imageBackoff });
  const tools: PodTools = {
    allocation,
    claims: given.claims,
    deviceHealth: given.deviceHealth,
    deadKept: keptRuns(settings.containerGarbage),
    execute: {
      allocation,
      cgroups,
      runtime,
      httpGet: systemHttpGet,
      clock,
      logger,
      record,
      mounter,
      imageVolumes: storage.images,
      recursiveReadOnly: (pod) => recursiveReadOnly(pod, health.abilities()),
      rootDir: settings.rootDir,
      clusterDomain,
      ensureImage: pulls.ensureImage,
      imageVolumeStep(step) {
        if (step === 'requested') pulls.observed.volumeRequested();
        else pulls.observed.volumeMounted(step === 'failed');
      },
      sleepCut: registerSleepCount(parts.metrics.registry),
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
      credentials: pulls.credentials,
      downward,
      legacyLogsDir,
      started: agentMetrics.observeContainerStarted,
      extras: given.extras,
      readHostsFile: () => readFile('/etc/hosts', 'utf8'),
      steps,
      imageBackoff,
      sandboxBackoff: createKeyBackoff(clock, sandboxBackoffMs.initial, sandboxBackoffMs.max),
      backoff: createKeyBackoff(clock, settings.crashLoopInitialMs, settings.crashLoopMaxMs),
      refresh: cache.refresh,
      runtimeHandler,
      userNamespaces: createUserNamespaces({
        rootDir: settings.rootDir,
        maxPods: settings.maxPods,
        idsPerPod: settings.idsPerPod,
        isSupported: (name) => health.abilities().handlers.find((item) => item.name === name)?.userNamespaces === true,
      }),
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
      if (connections.nodeParts.shutdown.isActive) {
        return { reason: 'NodeShutdown', message: 'Pod was rejected as the node is shutting down.' };
      }
      const pressed = admitUnderPressure(pod, pressure());
      if (pressed !== undefined) return pressed;
      const abilities = { allowedSysctls, appArmor };
      const rejection = admitPod(pod, given.withDevices(reporter.node()), others, abilities);
      if (rejection === undefined) return given.admit(pod, others, signal);
      // Labels and taints may have changed since the node was last looked at.
      const node = await client.get(nodesResource, { name: nodeName }, { signal });
      return admitPod(pod, given.withDevices(node), others, abilities) ?? (await given.admit(pod, others, signal));
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
      trustBundles.release(uid);
      storage.stats.forget(uid);
      warnings.forget(uid);
    },
  };
  return {
    tools,
    warnings,
    statuses,
    volumes,
    storage,
    trustBundles,
    objects,
    probes,
    serviceInformer,
    legacyLogsDir,
    setOffline,
  };
}
