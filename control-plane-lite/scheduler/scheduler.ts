// Gives every pod without a node the best node: decides one pod at a time on the cache, binds in the background.
import type { Logger } from 'pino';
import { findCondition } from '#kube/api/conditions.ts';
import type { Namespace, Node, Pod } from '#kube/api/generated/core-v1.ts';
import { pods as podResource } from '#kube/api/generated/resources.ts';
import { isPodScheduled, isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import { formatTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { type EventRecorder, referenceTo } from '#kube/events/event-recorder.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { createClusterCache } from './cache/cluster-cache.ts';
import { createClassRankings } from './framework/class-ranking.ts';
import { planPreemption } from './framework/plan-preemption.ts';
import type { Plugin } from './framework/plugin.ts';
import { createPodInfo, type PodInfo } from './framework/pod-info.ts';
import { selectNode } from './framework/select-node.ts';
import { createPreemptor } from './preemptor.ts';
import { createSchedulingQueue } from './queue/scheduling-queue.ts';
import type { SchedulerMetrics } from './scheduler-metrics.ts';
import { claimNamesOf, planVolumes, type VolumeWork } from './volumes/plan-volumes.ts';
import type { StorageInformers } from './volumes/storage-view.ts';
import { createVolumeBinder } from './volumes/volume-binder.ts';

export interface SchedulerOptions {
  /** Pods that name another scheduler are left alone. */
  schedulerName: string;
  client: ApiClient;
  pods: Informer<Pod>;
  nodes: Informer<Node>;
  namespaces: Informer<Namespace>;
  storage: StorageInformers;
  plugins: readonly Plugin[];
  recorder: EventRecorder;
  clock: Clock;
  logger: Logger;
  random: () => number;
  metrics: SchedulerMetrics;
}

/** Binds in flight at most: decisions wait beyond this, so that they are not made on too much that is unconfirmed. */
const maxBinding = 128;
/** Decisions in a row before other work of the process gets its turn. */
const decisionsPerTurn = 32;

/** Runs until the signal is aborted; the informers must be running. */
export async function runScheduler(options: SchedulerOptions, signal: AbortSignal): Promise<void> {
  const { client, pods, nodes, namespaces, recorder, clock, logger, metrics } = options;
  const cache = createClusterCache();
  const rank = createClassRankings(cache, options.plugins, options.random);
  const namespaceLabels = (name: string) => namespaces.get(name)?.metadata.labels;
  /** Pods for which others were told to go, and the node that they will get. */
  const nominations = new Map<string, string>();
  const preemptor = createPreemptor({ ...options, signal });
  let binding = 0;
  let turnPlanned = false;

  const wake = () => {
    if (turnPlanned || signal.aborted) return;
    turnPlanned = true;
    setImmediate(turn);
  };
  const queue = createSchedulingQueue(clock, wake);
  const hasClaims = ({ pod }: PodInfo) => claimNamesOf(pod).length > 0;
  const volumeBinder = createVolumeBinder({
    client,
    informers: options.storage,
    clock,
    signal,
    changed: () => queue.clusterChanged(hasClaims),
  });

  const isMine = (pod: Pod) => (pod.spec?.schedulerName ?? 'default-scheduler') === options.schedulerName;
  const isGated = (pod: Pod) => (pod.spec?.schedulingGates ?? []).length > 0;

  function podChanged(previous: Pod | undefined, pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    if (isPodTerminal(pod)) {
      podGone(pod);
      return;
    }
    if (isPodScheduled(pod)) {
      queue.done(uid);
      const moved = previous === undefined || !isPodScheduled(previous);
      if (!moved && podFacts(previous) === podFacts(pod)) return;
      cache.setPod(pod);
      // A pod that came may be what a pod with affinity waits for.
      queue.clusterChanged(({ dependsOnPods }) => dependsOnPods);
    } else if (isPodTerminating(pod)) {
      queue.delete(uid);
    } else if (isMine(pod) && !isGated(pod) && cache.nodeOf(uid) === undefined) {
      queue.set(createPodInfo(pod));
    }
  }

  function podGone(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    nominations.delete(uid);
    queue.delete(uid);
    if (cache.nodeOf(uid) === undefined) return;
    cache.deletePod(uid);
    queue.clusterChanged();
  }

  pods.subscribe({ added: (pod) => podChanged(undefined, pod), updated: podChanged, deleted: podGone });
  nodes.subscribe({
    added: (node) => {
      cache.setNode(node);
      queue.clusterChanged();
    },
    updated: (previous, node) => {
      if (nodeFacts(previous) === nodeFacts(node)) return;
      cache.setNode(node);
      queue.clusterChanged();
    },
    deleted: ({ metadata }) => {
      cache.deleteNode(metadata.name);
      queue.clusterChanged();
    },
  });

  async function bind(info: PodInfo, node: string): Promise<void> {
    const { namespace, name, uid } = info.pod.metadata;
    const startedMs = clock.monotonicMs();
    try {
      const target = { kind: 'Node', name: node };
      const body = { apiVersion: 'v1', kind: 'Binding', metadata: { namespace, name, uid }, target };
      await client.createSubresource(podResource, { namespace, name }, 'binding', body, { signal });
      queue.done(info.uid);
      metrics.attempted('scheduled', clock.monotonicMs() - startedMs);
      const text = `Successfully assigned ${info.key} to ${node}`;
      recorder.event(referenceTo(podResource, info.pod), 'Normal', 'Scheduled', text, { action: 'Binding' });
    } catch (error) {
      cache.forget(info.uid);
      if (signal.aborted) return;
      metrics.attempted('error', clock.monotonicMs() - startedMs);
      if (isNotFound(error)) {
        queue.delete(info.uid);
        return;
      }
      logger.warn({ err: error, pod: info.key, node }, 'cannot bind, will retry');
      queue.failed(info.uid, 'retry');
    } finally {
      binding -= 1;
      wake();
    }
  }

  /** Binds the pod once its claims are bound; that may take long, and nobody waits for it. */
  async function bindWithVolumes(info: PodInfo, node: string, work: VolumeWork): Promise<void> {
    try {
      const isWanted = () => pods.get(info.key)?.metadata.uid === info.uid;
      await volumeBinder.bind(work, node, isWanted);
    } catch (error) {
      cache.forget(info.uid);
      if (signal.aborted) return;
      if (pods.get(info.key)?.metadata.uid !== info.uid) return;
      logger.warn({ err: error, pod: info.key, node }, 'cannot bind the volumes of a pod, will retry');
      queue.failed(info.uid, 'retry');
      return;
    }
    binding += 1;
    await bind(info, node);
  }

  /** Tells why a pod has no node: in its condition, when that says something else, and in an event. */
  async function report({ pod, key }: PodInfo, message: string, nominatedNodeName?: string): Promise<void> {
    recorder.event(referenceTo(podResource, pod), 'Warning', 'FailedScheduling', message, { action: 'Scheduling' });
    const { namespace, name } = pod.metadata;
    const known = findCondition((pods.get(key) ?? pod).status?.conditions, 'PodScheduled');
    const same = known?.status === 'False' && known.reason === 'Unschedulable' && known.message === message;
    if (same && nominatedNodeName === undefined) return;
    const lastTransitionTime = known?.status === 'False' ? known.lastTransitionTime : formatTime(clock.now());
    const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message, lastTransitionTime };
    try {
      const nomination = nominatedNodeName === undefined ? {} : { nominatedNodeName };
      const patch = { status: { conditions: [condition], ...nomination } };
      await client.patch(podResource, { namespace, name }, 'strategic', patch, { subresource: 'status', signal });
    } catch (error) {
      if (!isNotFound(error) && !signal.aborted) logger.warn({ err: error, pod: key }, 'cannot write the condition');
    }
  }

  /** Whether pods of lower priority are on their way out of the node. */
  function isBeingCleared(info: PodInfo, name: string): boolean {
    const pods = [...(cache.nodes.get(name)?.pods.values() ?? [])];
    const clearing = pods.some(({ pod, priority }) => priority < info.priority && isPodTerminating(pod));
    if (clearing) nominations.set(info.uid, name);
    return clearing;
  }

  function decide(info: PodInfo): void {
    const startedMs = clock.monotonicMs();
    // A pod that waits for its victims to leave has held its place until now.
    const nominated = nominations.get(info.uid);
    nominations.delete(info.uid);
    cache.forget(info.uid);
    const volumes = hasClaims(info) ? planVolumes(info.pod, volumeBinder.view) : undefined;
    const decision = selectNode(info, rank(info), cache, namespaceLabels, volumes);
    metrics.decided(clock.monotonicMs() - startedMs);
    if (decision.outcome === 'fits') {
      const node = cache.nodes.get(decision.node);
      const work = node === undefined ? undefined : volumes?.workFor(node);
      cache.assume(info, decision.node);
      if (work !== undefined && work.bind.length + work.provision.length > 0) {
        volumeBinder.assume(work);
        void bindWithVolumes(info, decision.node, work);
        return;
      }
      binding += 1;
      void bind(info, decision.node);
      return;
    }
    metrics.attempted('unschedulable', clock.monotonicMs() - startedMs);
    queue.failed(info.uid, 'unschedulable');
    if (nominated !== undefined && isBeingCleared(info, nominated)) {
      cache.assume(info, nominated);
      return;
    }
    const preemption = planPreemption(info, cache, options.plugins, decision.refusals);
    if (preemption.outcome === 'victims') {
      cache.assume(info, preemption.node);
      nominations.set(info.uid, preemption.node);
      void report(info, decision.message, preemption.node);
      for (const victim of preemption.victims) void preemptor.evict(victim, info, preemption.node);
      return;
    }
    const suffix = cache.nodes.size === 0 ? '' : ` no new claims to deallocate, preemption: ${preemption.message}`;
    void report(info, `${decision.message}${suffix}`);
  }

  function turn(): void {
    turnPlanned = false;
    if (signal.aborted) return;
    for (let decisions = 0; decisions < decisionsPerTurn; decisions += 1) {
      if (binding >= maxBinding) return;
      const info = queue.next();
      if (info === undefined) return;
      decide(info);
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

/** What of a node decides about pods; heartbeats change nothing of it. */
function nodeFacts({ metadata, spec, status }: Node): string {
  return JSON.stringify([metadata.labels, spec?.taints, spec?.unschedulable, status?.allocatable]);
}

/** What of a placed pod counts for others; its requests may change by in-place resizing. */
function podFacts({ metadata, spec }: Pod): string {
  const requests = spec?.containers.map(({ resources }) => resources?.requests);
  return JSON.stringify([metadata.labels, metadata.deletionTimestamp === undefined, spec?.resources, requests]);
}
