// Feeds the cache and the queue from the informers, and tells what each change may mean for waiting pods.
import type { Namespace, Node, Pod } from '#kube/api/generated/core-v1.ts';
import { isPodScheduled, isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { ClusterCache } from './cache/cluster-cache.ts';
import { createPodInfo, type PodInfo } from './framework/pod-info.ts';
import type { Profile } from './framework/profile.ts';
import type { Nominations } from './nominations.ts';
import type { ClusterEvent } from './queue/requeue-hints.ts';
import type { SchedulingQueue } from './queue/scheduling-queue.ts';

export interface ClusterTracking {
  pods: Informer<Pod>;
  nodes: Informer<Node>;
  namespaces: Informer<Namespace>;
  cache: ClusterCache;
  queue: SchedulingQueue;
  nominations: Nominations;
  profileOf(pod: PodInfo): Profile | undefined;
  /** A pod got its node, which took so long. */
  placed(done: { attempts: number; waitedMs: number } | undefined): void;
  /** `name`: upstream's name of the event. */
  tell(event: ClusterEvent, name: string): void;
}

/** What of a node decides about pods; heartbeats change nothing of it. */
function nodeFacts({ metadata, spec, status }: Node): string {
  return JSON.stringify([metadata.labels, spec?.taints, spec?.unschedulable, status?.allocatable, status?.images]);
}

/** What of a placed pod counts for others; its requests may change by in-place resizing. */
function podFacts({ metadata, spec, status }: Pod): string {
  const requests = spec?.containers.map(({ resources }) => resources?.requests);
  const held = status?.containerStatuses?.map(({ resources, allocatedResources }) => [
    resources?.requests,
    allocatedResources,
  ]);
  const isTerminating = metadata.deletionTimestamp !== undefined;
  return JSON.stringify([metadata.labels, isTerminating, spec?.resources, requests, held]);
}

/** Subscribes. `gated` are the pods that wait for their scheduling gates to go. */
export function trackCluster(tracking: ClusterTracking): { readonly gated: ReadonlySet<string> } {
  const { pods, nodes, namespaces, cache, queue, nominations, profileOf, tell } = tracking;
  const gated = new Set<string>();

  function scheduledPodChanged(uid: string, previous: Pod | undefined, pod: Pod): void {
    const wasScheduled = previous !== undefined && isPodScheduled(previous);
    if (!wasScheduled) {
      gated.delete(uid);
      nominations.take(uid);
      tracking.placed(queue.done(uid));
    } else if (previous === pod || podFacts(previous) === podFacts(pod)) return;
    cache.setPod(pod);
    // A pod that came may be what a pod with affinity waits for.
    tell({ kind: 'pod' }, wasScheduled ? 'AssignedPodUpdate' : 'AssignedPodAdd');
    if (wasScheduled) tell({ kind: 'room', name: pod.spec?.nodeName ?? '' }, 'AssignedPodUpdate');
  }

  function podChanged(previous: Pod | undefined, pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    if (isPodTerminal(pod)) {
      podGone(pod);
      return;
    }
    if (isPodScheduled(pod)) {
      scheduledPodChanged(uid, previous, pod);
      return;
    }
    const promised = nominations.nodeOf(uid);
    if (isPodTerminating(pod)) {
      podGone(pod);
      return;
    }
    // Placed, and not yet seen to be.
    if (promised === undefined && cache.nodeOf(uid) !== undefined) return;
    const info = createPodInfo(pod);
    const profile = profileOf(info);
    if (profile === undefined) return;
    if (profile.gates && (pod.spec?.schedulingGates ?? []).length > 0) {
      gated.add(uid);
      return;
    }
    gated.delete(uid);
    const nominated = pod.status?.nominatedNodeName ?? '';
    // A scheduler that ran before has made room for it there.
    if (previous === undefined && nominated !== '' && promised === undefined) nominations.set(info, nominated);
    queue.set(info);
  }

  function podGone(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    gated.delete(uid);
    queue.delete(uid);
    const promised = nominations.take(uid);
    if (promised !== undefined) tell({ kind: 'room', name: promised }, 'AssignedPodDelete');
    const node = cache.nodeOf(uid);
    if (node === undefined) return;
    cache.deletePod(uid);
    tell({ kind: 'room', name: node }, 'AssignedPodDelete');
  }

  pods.subscribe({ added: (pod) => podChanged(undefined, pod), updated: podChanged, deleted: podGone });
  nodes.subscribe({
    added: (node) => {
      cache.setNode(node);
      tell({ kind: 'node', name: node.metadata.name }, 'NodeAdd');
    },
    updated: (previous, node) => {
      if (nodeFacts(previous) === nodeFacts(node)) return;
      cache.setNode(node);
      tell({ kind: 'node', name: node.metadata.name }, 'NodeUpdate');
    },
    deleted: ({ metadata }) => {
      cache.deleteNode(metadata.name);
      // Domains of spreading and affinity are others now.
      tell({ kind: 'pod' }, 'NodeDelete');
    },
  });
  namespaces.subscribe({
    updated: (previous, { metadata }) => {
      if (JSON.stringify(previous.metadata.labels) === JSON.stringify(metadata.labels)) return;
      cache.labelsChanged();
      tell({ kind: 'pod' }, 'NamespaceUpdate');
    },
  });
  return { gated };
}
