// What each pod of the node was given, and what its containers run with. A definition that asks for something else
// waits here until the node can give it; both states are kept in files, so that a restart changes nothing.
import type { Logger } from 'pino';
import { findCondition } from '#kube/api/conditions.ts';
import type { Container, Node, Pod, PodCondition, ResourceRequirements } from '#kube/api/generated/core-v1.ts';
import { amountsOf } from '#kube/api/pod-resources.ts';
import { parseTime } from '#kube/api/time.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import type { AllocationStore } from './allocation-store.ts';
import { orderWaiting, type PendingResize, type PinnedResources, planAllocation } from './plan-allocation.ts';
import { allocationOf, isAllocated, type PodAllocation, sameResources, withAllocation } from './pod-allocation.ts';
import { recordResize } from './resize-events.ts';

export interface AllocationManagerOptions {
  allocated: AllocationStore;
  actuated: AllocationStore;
  node(): Node | undefined;
  pinned?: PinnedResources;
  record: RecordPodEvent;
  clock: Clock;
  logger: Logger;
}

/** A pod as wanted, and as it is. */
export interface ResizeCandidate {
  wanted: Pod;
  pod: Pod;
}

export interface AllocationManager {
  /** The pod with the resources it was given. */
  allocated(pod: Pod): Pod;
  /** The pod with the resources its containers run with. */
  actuated(pod: Pod): Pod;
  /** The node has taken the pod: it is given what it asks for, unless it was given something before. */
  admit(pod: Pod): void;
  /** Gives the pod what it asks for now, or says why it has to wait. True when that changed anything. */
  consider(wanted: Pod, others: readonly Pod[]): boolean;
  isWaiting(uid: string): boolean;
  /** The pod asks for something else, and the node is not known yet: it has to be considered again soon. */
  isUndecided(uid: string): boolean;
  /** Waiting pods in the order in which they are to be considered again. */
  order<T extends ResizeCandidate>(candidates: readonly T[]): T[];
  /** The container runs with the resources of its definition. */
  started(pod: Pod, container: Container): void;
  /** The pod as a whole has the resources of its definition. */
  podResized(pod: Pod): void;
  /** A resize could not be carried out. */
  failed(pod: Pod, message: string): void;
  /** Containers do not have yet what the pod was given. */
  unsettled(pod: Pod): void;
  /** Nothing of a resize is left to do. True when one was under way. */
  settled(pod: Pod): boolean;
  conditions(uid: string): PodCondition[];
  /** Resolves when what was given is on disk. */
  saved(): Promise<void>;
  forget(uid: string): void;
  /** Forgets every pod but these. */
  retain(uids: ReadonlySet<string>): void;
}

interface Waiting extends PendingResize {
  generation: number | undefined;
  sinceMs: number;
}

interface InProgress {
  generation: number | undefined;
  error: string | undefined;
}

const uidOf = (pod: Pod): string => pod.metadata.uid ?? '';

function conditionOf(type: string, generation: number | undefined, reason?: string, message?: string): PodCondition {
  return {
    type,
    status: 'True',
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  };
}

/** Creates the manager over two stores that were read already. */
export function createAllocationManager(options: AllocationManagerOptions): AllocationManager {
  const { allocated, actuated, record, clock, logger } = options;
  const waiting = new Map<string, Waiting>();
  const undecided = new Set<string>();
  const inProgress = new Map<string, InProgress>();
  let saving: Promise<void> = Promise.resolve();

  function keep(store: AllocationStore, uid: string, allocation: PodAllocation): void {
    const write = store.set(uid, allocation);
    saving = Promise.all([saving, write]).then(() => undefined);
    saving.catch((error: unknown) => logger.error({ err: error, uid }, 'cannot save the allocation of a pod'));
    saving = saving.catch(() => undefined);
  }

  function actuatedOf(pod: Pod): PodAllocation {
    const uid = uidOf(pod);
    return actuated.get(uid) ?? allocated.get(uid) ?? allocationOf(pod);
  }

  /** Remembers resources of one container, or of the pod. */
  function actuate(pod: Pod, change: (before: PodAllocation) => PodAllocation): void {
    const before = actuatedOf(pod);
    const after = change(before);
    if (after !== before || actuated.get(uidOf(pod)) === undefined) keep(actuated, uidOf(pod), after);
  }

  /** Until it is decided again, a resize waits for what an earlier agent said. */
  function recall({ metadata, status }: Pod): void {
    const told = findCondition(status?.conditions ?? [], 'PodResizePending');
    if (told === undefined || waiting.has(metadata.uid ?? '')) return;
    waiting.set(metadata.uid ?? '', {
      reason: told.reason === 'Infeasible' ? 'Infeasible' : 'Deferred',
      message: told.message ?? '',
      generation: told.observedGeneration,
      sinceMs: parseTime(told.lastTransitionTime) ?? clock.now(),
    });
  }

  function forget(uid: string): void {
    undecided.delete(uid);
    waiting.delete(uid);
    inProgress.delete(uid);
    for (const store of [allocated, actuated]) {
      store.remove(uid).catch((error: unknown) => logger.warn({ err: error, uid }, 'cannot forget an allocation'));
    }
  }

  return {
    allocated: (pod) => withAllocation(pod, allocated.get(uidOf(pod))),
    actuated: (pod) => withAllocation(pod, actuatedOf(pod)),
    admit(pod) {
      if (allocated.get(uidOf(pod)) === undefined) keep(allocated, uidOf(pod), allocationOf(pod));
    },
    consider(wanted, others) {
      const uid = uidOf(wanted);
      const given = allocated.get(uid);
      const { generation } = wanted.metadata;
      undecided.delete(uid);
      if (given === undefined || isAllocated(wanted, given)) return waiting.delete(uid);
      const node = options.node();
      if (node === undefined) {
        undecided.add(uid);
        recall(wanted);
        return false;
      }
      const problem = planAllocation({
        wanted,
        allocatable: amountsOf(node.status?.allocatable),
        others,
        given: withAllocation(wanted, given),
        ...(options.pinned === undefined ? {} : { pinned: options.pinned }),
      });
      if (problem === undefined) {
        keep(actuated, uid, actuatedOf(wanted));
        keep(allocated, uid, allocationOf(wanted));
        waiting.delete(uid);
        inProgress.set(uid, { generation, error: undefined });
        recordResize(record, wanted, generation, { type: 'started' });
        return true;
      }
      const before = waiting.get(uid);
      const same =
        before?.reason === problem.reason && before.message === problem.message && before.generation === generation;
      if (same) return false;
      waiting.set(uid, { ...problem, generation, sinceMs: before?.sinceMs ?? clock.now() });
      recordResize(record, wanted, generation, { type: 'pending', ...problem });
      return true;
    },
    isUndecided: (uid) => undecided.has(uid),
    isWaiting: (uid) => waiting.get(uid)?.reason === 'Deferred',
    order(candidates) {
      const items = candidates.map((candidate) => ({
        candidate,
        wanted: candidate.wanted,
        allocated: candidate.pod,
        sinceMs: waiting.get(uidOf(candidate.wanted))?.sinceMs ?? 0,
      }));
      return orderWaiting(items).map((item) => item.candidate);
    },
    started(pod, { name, resources = {} }) {
      actuate(pod, (before) => {
        const had: ResourceRequirements | undefined = before.ContainerResources?.[name];
        if (had !== undefined && sameResources(had, resources)) return before;
        return { ...before, ContainerResources: { ...before.ContainerResources, [name]: resources } };
      });
    },
    podResized(pod) {
      actuate(pod, (before) => {
        if (sameResources(before.PodLevelResources, pod.spec.resources)) return before;
        const { PodLevelResources: _before, ...rest } = before;
        return { ...rest, ...(pod.spec.resources === undefined ? {} : { PodLevelResources: pod.spec.resources }) };
      });
    },
    failed(pod, message) {
      const current = inProgress.get(uidOf(pod));
      const generation = current?.generation ?? pod.metadata.generation;
      if (current?.error !== message) recordResize(record, pod, generation, { type: 'error', message });
      inProgress.set(uidOf(pod), { generation, error: message });
    },
    unsettled(pod) {
      if (inProgress.has(uidOf(pod))) return;
      inProgress.set(uidOf(pod), { generation: pod.metadata.generation, error: undefined });
    },
    settled(pod) {
      const done = inProgress.get(uidOf(pod));
      if (done === undefined) return false;
      inProgress.delete(uidOf(pod));
      recordResize(record, pod, done.generation, { type: 'completed' });
      return true;
    },
    conditions(uid) {
      const conditions: PodCondition[] = [];
      const pending = waiting.get(uid);
      if (pending !== undefined) {
        conditions.push(conditionOf('PodResizePending', pending.generation, pending.reason, pending.message));
      }
      const progress = inProgress.get(uid);
      if (progress !== undefined) {
        const { generation, error } = progress;
        const reason = error === undefined ? undefined : 'Error';
        conditions.push(conditionOf('PodResizeInProgress', generation, reason, error));
      }
      return conditions;
    },
    saved: () => saving,
    forget,
    retain(uids) {
      for (const uid of new Set([...allocated.uids(), ...actuated.uids()])) if (!uids.has(uid)) forget(uid);
    },
  };
}
