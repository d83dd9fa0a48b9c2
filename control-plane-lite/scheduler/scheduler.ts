// Gives every pod without a node the best node: decides one pod at a time on the cache, binds in the background.
import type { Logger } from 'pino';
import type { Namespace, Node, Pod } from '#kube/api/generated/core-v1.ts';
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import { pods as podResource } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { type EventRecorder, referenceTo } from '#kube/events/event-recorder.ts';
import type { Informer, Lister } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { bindPod } from './bind-pod.ts';
import { createClusterCache } from './cache/cluster-cache.ts';
import { createDeviceBinder, type DeviceInformers } from './devices/device-binder.ts';
import { type DeviceWork, planDevices } from './devices/plan-devices.ts';
import { createClassRankings, type Ranking } from './framework/class-ranking.ts';
import { planPreemption } from './framework/plan-preemption.ts';
import type { Refusal } from './framework/plugin.ts';
import type { PodInfo } from './framework/pod-info.ts';
import type { Profile } from './framework/profile.ts';
import { claimProblem, relationFilter, relationsOf, selectNode } from './framework/select-node.ts';
import { createNominations } from './nominations.ts';
import { createPreemptor } from './preemptor.ts';
import { createProfile } from './profile/create-profile.ts';
import type { ProfileConfig } from './profile/profile-config.ts';
import { type ClusterEvent, createHint } from './queue/requeue-hints.ts';
import { createSchedulingQueue, type QueueTimes } from './queue/scheduling-queue.ts';
import { createPodCounter } from './relations/domain-counts.ts';
import { createFailureReporter } from './report-failure.ts';
import type { SchedulerMetrics } from './scheduler-metrics.ts';
import { trackCluster } from './track-cluster.ts';
import { planVolumes, type VolumeWork } from './volumes/plan-volumes.ts';
import type { StorageInformers } from './volumes/storage-view.ts';
import { createVolumeBinder } from './volumes/volume-binder.ts';

export interface SchedulerOptions {
  /** Pods that name none of them are left alone. */
  profiles: readonly ProfileConfig[];
  times: QueueTimes;
  client: ApiClient;
  pods: Informer<Pod>;
  nodes: Informer<Node>;
  namespaces: Informer<Namespace>;
  budgets: Pick<Lister<PodDisruptionBudget>, 'list'>;
  storage: StorageInformers;
  devices: DeviceInformers;
  /** The recorder of events of one profile. */
  recorderFor(schedulerName: string): EventRecorder;
  clock: Clock;
  logger: Logger;
  random: () => number;
  metrics: SchedulerMetrics;
}

/** Binds in flight at most: decisions wait beyond this, so that they are not made on too much that is unconfirmed. */
const maxBinding = 128;
/** Decisions in a row before other work of the process gets its turn. */
const decisionsPerTurn = 32;

interface ActiveProfile {
  profile: Profile;
  rank: (pod: PodInfo) => Ranking;
  recorder: EventRecorder;
}

/** A decision, and what has to be done for the pod's claims before it is bound. */
interface Placement {
  info: PodInfo;
  node: string;
  volumes: VolumeWork | undefined;
  devices: readonly DeviceWork[];
}

function hasWork(work: VolumeWork | undefined): work is VolumeWork {
  return work !== undefined && work.bind.length + work.provision.length > 0;
}

function pluginsOf(refusals: Iterable<Refusal>): Set<string> {
  const plugins = new Set<string>();
  for (const { plugin } of refusals) plugins.add(plugin);
  return plugins;
}

/** Runs until the signal is aborted; the informers must be running. */
export async function runScheduler(options: SchedulerOptions, signal: AbortSignal): Promise<void> {
  const { client, pods, namespaces, clock, logger, metrics, random } = options;
  const cache = createClusterCache();
  const profiles = new Map<string, ActiveProfile>();
  for (const config of options.profiles) {
    const profile = createProfile(config, cache);
    const rank = createClassRankings(cache, { plugins: profile.plugins, zoneWeight: profile.zoneWeight, random });
    profiles.set(config.schedulerName, { profile, rank, recorder: options.recorderFor(config.schedulerName) });
  }
  const profileOf = ({ schedulerName }: PodInfo) => profiles.get(schedulerName)?.profile;
  const view = {
    cache,
    countPods: createPodCounter(cache),
    namespaceLabels: (name: string) => namespaces.get(name)?.metadata.labels,
  };
  const nominations = createNominations(cache);
  const preemptor = createPreemptor({ client, clock, logger, signal });
  const current = ({ key, pod }: PodInfo) => pods.get(key) ?? pod;
  const report = createFailureReporter({ client, clock, logger, signal, current });
  let binding = 0;
  let turnPlanned = false;

  const wake = () => {
    if (turnPlanned || signal.aborted) return;
    turnPlanned = true;
    setImmediate(turn);
  };
  const queue = createSchedulingQueue(clock, wake, options.times, metrics.entered);
  const tell = (event: ClusterEvent, name: string) => {
    queue.clusterChanged(name, createHint(event, cache, profileOf, nominations.nodeOf));
  };
  const volumeBinder = createVolumeBinder({
    client,
    informers: options.storage,
    clock,
    signal,
    changed: () => tell({ kind: 'storage' }, 'StorageChange'),
  });
  const deviceBinder = createDeviceBinder(client, options.devices, () =>
    tell({ kind: 'devices' }, 'ResourceClaimChange'),
  );
  const tracked = trackCluster({ ...options, cache, queue, nominations, profileOf, placed: metrics.scheduled, tell });
  metrics.watch({ queue, cache, gated: () => tracked.gated.size });

  async function bind(info: PodInfo, node: string, { recorder }: ActiveProfile, startedMs: number): Promise<void> {
    try {
      const bindStartedMs = clock.monotonicMs();
      const result = await bindPod({ client, clock, signal }, info, node);
      metrics.extensionPoint(
        'Bind',
        info.schedulerName,
        clock.monotonicMs() - bindStartedMs,
        result.outcome === 'bound',
      );
      switch (result.outcome) {
        case 'bound': {
          if (result.node !== node) cache.forget(info.uid);
          metrics.scheduled(queue.done(info.uid));
          metrics.attempted('scheduled', info.schedulerName, clock.monotonicMs() - startedMs);
          if (result.node !== node) return;
          const text = `Successfully assigned ${info.key} to ${node}`;
          recorder.event(referenceTo(podResource, info.pod), 'Normal', 'Scheduled', text, { action: 'Binding' });
          return;
        }
        case 'gone':
          cache.forget(info.uid);
          queue.delete(info.uid);
          tell({ kind: 'room', name: node }, 'AssignedPodDelete');
          return;
        case 'failed':
          failed(info, node, recorder, result.error, startedMs);
          return;
        default:
          result satisfies never;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      binding -= 1;
      wake();
    }
  }

  function failed(info: PodInfo, node: string, recorder: EventRecorder, error: unknown, startedMs: number): void {
    cache.forget(info.uid);
    metrics.attempted('error', info.schedulerName, clock.monotonicMs() - startedMs);
    logger.warn({ err: error, pod: info.key, node }, 'cannot bind, will retry');
    queue.failed(info.uid, 'retry');
    tell({ kind: 'room', name: node }, 'AssignedPodDelete');
    const message = `binding rejected: ${error instanceof Error ? error.message : String(error)}`;
    void report(info, { message, reason: 'SchedulerError' }, recorder);
  }

  /** Binds the pod once its claims are bound; that may take long, and nobody waits for it. */
  async function bindWithClaims(placement: Placement, active: ActiveProfile, startedMs: number): Promise<void> {
    const { info, node, volumes, devices } = placement;
    try {
      const isWanted = () => pods.get(info.key)?.metadata.uid === info.uid;
      await deviceBinder.bind(devices, info.pod, signal);
      if (hasWork(volumes)) await volumeBinder.bind(volumes, node, isWanted, active.profile.volumes.bindTimeoutMs);
    } catch (error) {
      cache.forget(info.uid);
      if (signal.aborted || pods.get(info.key)?.metadata.uid !== info.uid) return;
      failed(info, node, active.recorder, error, startedMs);
      return;
    }
    binding += 1;
    await bind(info, node, active, startedMs);
  }

  function place(placement: Placement, active: ActiveProfile, startedMs: number): void {
    const { info, node, volumes, devices } = placement;
    cache.assume(info, node);
    if (hasWork(volumes) || deviceBinder.isNeeded(devices, info.pod)) {
      if (volumes !== undefined) volumeBinder.assume(volumes);
      deviceBinder.assume(devices);
      void bindWithClaims(placement, active, startedMs);
      return;
    }
    binding += 1;
    void bind(info, node, active, startedMs);
  }

  /** The node is promised to a more important pod: who waited for it has to look again. */
  function revokeLower(node: string, priority: number): void {
    for (const other of nominations.lowerOn(node, priority)) {
      nominations.take(other.uid);
      queue.reconsider(other.uid);
      const { namespace, name, uid } = other.pod.metadata;
      const patch = { metadata: { uid }, status: { nominatedNodeName: null } };
      client
        .patch(podResource, { namespace, name }, 'merge', patch, { subresource: 'status', signal })
        .catch((error: unknown) => logger.debug({ err: error, pod: other.key }, 'cannot clear the nomination'));
    }
  }

  async function preempt(info: PodInfo, node: string, victims: readonly PodInfo[], recorder: EventRecorder) {
    const isDone = await preemptor.evict(victims, info, node, recorder);
    if (isDone || signal.aborted) return;
    nominations.take(info.uid);
    queue.reconsider(info.uid);
  }

  function decide(info: PodInfo, active: ActiveProfile): void {
    const { profile, rank, recorder } = active;
    const startedMs = clock.monotonicMs();
    // A pod that waits for its victims to leave has held its place until now.
    const nominated = nominations.take(info.uid);
    const { decision, volumes, devices, problem, preemption } = nominations.withoutLower(info.priority, () => {
      const volumes =
        info.claims.length === 0
          ? undefined
          : planVolumes(info.pod, volumeBinder.view, profile.volumes, cache.claimUsers);
      const devices = profile.devices ? planDevices(info.pod, deviceBinder.view) : undefined;
      const problem =
        volumes?.problem === undefined
          ? claimProblem('DynamicResources', devices?.problem)
          : claimProblem('VolumeBinding', volumes.problem);
      const relations = problem === undefined ? relationsOf(info, view, profile, volumes, devices) : [];
      const decision = selectNode({ pod: info, ranking: rank(info), cache, relations, problem, nominated });
      if (decision.outcome === 'fits' || profile.preemption === undefined || cache.nodes.size === 0) {
        return { decision, volumes, devices, problem, preemption: undefined };
      }
      const budgets = options.budgets.list();
      const { plugins, preemption: settings } = profile;
      const start = Math.floor(random() * cache.nodes.size);
      const plan = { cache, plugins, relations: relationFilter(relations), settings, budgets };
      const preemption = planPreemption(info, plan, decision.refusals, { nominated, start });
      return { decision, volumes, devices, problem, preemption };
    });
    const tookMs = clock.monotonicMs() - startedMs;
    metrics.decided(tookMs);
    metrics.extensionPoint('Filter', info.schedulerName, tookMs, decision.outcome === 'fits');
    if (decision.outcome === 'fits') {
      const { node: name } = decision;
      const node = cache.nodes.get(name);
      const placement = {
        info,
        node: name,
        volumes: node === undefined ? undefined : volumes?.workFor(node),
        devices: (node === undefined ? undefined : devices?.workFor(node)) ?? [],
      };
      place(placement, active, startedMs);
      return;
    }
    metrics.attempted('unschedulable', info.schedulerName, tookMs);
    const rejectors = problem === undefined ? pluginsOf(decision.refusals.values()) : new Set([problem.plugin]);
    queue.failed(info.uid, 'unschedulable', rejectors);
    if (preemption !== undefined) metrics.preempted(preemption.outcome === 'victims' ? preemption.victims.length : 0);
    if (preemption?.outcome === 'victims') {
      const { node, victims } = preemption;
      revokeLower(node, info.priority);
      nominations.set(info, node);
      void report(info, { message: decision.message, nominatedNodeName: node }, recorder);
      void preempt(info, node, victims, recorder);
      return;
    }
    const isWaiting = nominated !== undefined && preemption?.isWaiting === true;
    if (isWaiting) nominations.set(info, nominated);
    const suffix = preemption === undefined ? '' : ` no new claims to deallocate, preemption: ${preemption.message}`;
    void report(
      info,
      { message: `${decision.message}${suffix}`, ...(isWaiting ? {} : { nominatedNodeName: '' }) },
      recorder,
    );
  }

  function turn(): void {
    turnPlanned = false;
    if (signal.aborted) return;
    for (let decisions = 0; decisions < decisionsPerTurn; decisions += 1) {
      if (binding >= maxBinding) return;
      const info = queue.next();
      if (info === undefined) return;
      const active = profiles.get(info.schedulerName);
      if (active !== undefined) decide(info, active);
    }
    wake();
  }

  wake();
  const stopped = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => stopped.resolve(), { once: true });
  if (signal.aborted) stopped.resolve();
  await stopped.promise;
  queue.close();
}
