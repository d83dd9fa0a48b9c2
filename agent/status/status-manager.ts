// Holds the status of every pod on the node and makes the API server's copy equal to it; deletes pods there when they
// have ended here. One queue owns the retries.
import type { Logger } from 'pino';
import { findCondition, isConditionTrue, withoutCondition } from '#kube/api/conditions.ts';
import type { Pod, PodCondition, PodStatus } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { isPodTerminal } from '#kube/api/pod-state.ts';
import { formatTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import { createWorkQueue } from '#kube/queue/work-queue.ts';
import { isStaticPod } from '../container/labels.ts';
import { staticUidOf } from '../pod-source/mirror-pods.ts';
import { blockedCondition } from './compute-conditions.ts';
import { mergePodStatus } from './merge-pod-status.ts';
import { planStatusPatch } from './plan-status-patch.ts';

const concurrency = 16;
const startingReasons: ReadonlySet<string | undefined> = new Set(['ContainerCreating', 'PodInitializing']);

export interface StatusManagerOptions {
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  /** How long the news that a pod is on its way waits for better news, which most often follows at once. Default 0. */
  startingDelayMs?: number;
  /** Told how long a change waited for the API server to have it. */
  observeSync?: (durationMs: number) => void;
}

interface Entry {
  /** The pod as the API server last showed it. */
  pod: Pod;
  /** What the API server should have. */
  status: PodStatus | undefined;
  changedAtMs: number;
  /** Shown beside what was computed, until the pod is ready. */
  extra: PodCondition | undefined;
  /** Nothing of the pod is left on this node. */
  finished: boolean;
}

/** Statuses are kept by the uid of the pod as the node knows it: for a mirror pod, that of the static pod. */
function keyOf(pod: Pod): string {
  return staticUidOf(pod) ?? pod.metadata.uid ?? '';
}

function isManifestPod(pod: Pod): boolean {
  return isStaticPod(pod) && staticUidOf(pod) === undefined;
}

/** Nothing of the pod has run or failed yet. */
function isStarting({ phase, containerStatuses = [], initContainerStatuses = [] }: PodStatus): boolean {
  return (
    phase === 'Pending' &&
    [...containerStatuses, ...initContainerStatuses].every(({ state }) => startingReasons.has(state?.waiting?.reason))
  );
}

function isSameExtra(before: PodCondition | undefined, after: PodCondition | undefined): boolean {
  return before?.reason === after?.reason && before?.message === after?.message;
}

/** The statuses of the node's pods. */
export interface StatusManager {
  /** The API server showed this version of the pod. */
  observe(pod: Pod): void;
  /** Records a computed status. `mayRun`: containers could still be running. */
  set(pod: Pod, status: PodStatus, options: { mayRun: boolean }): void;
  /** Shows one more condition, of this agent's own types, while the pod is not ready; undefined takes it away. */
  setExtraCondition(pod: Pod, condition: PodCondition | undefined): void;
  /** The newest status of the pod, sent or not. */
  get(uid: string): PodStatus | undefined;
  /** The pod's containers, volumes and cgroups are gone: its object may be deleted. */
  finish(pod: Pod): void;
  /** The pod is no longer on the API server. */
  forget(uid: string): void;
  /** Settles what is pending, then resolves. */
  run(signal: AbortSignal): Promise<void>;
}

/** Creates the manager; statuses are sent while `run` runs. */
export function createStatusManager(options: StatusManagerOptions): StatusManager {
  const { client, clock, logger, startingDelayMs = 0 } = options;
  const entries = new Map<string, Entry>();
  const queue = createWorkQueue<string>({ clock, logger, baseDelayMs: 100, maxDelayMs: 10_000 });

  function entryOf(pod: Pod): Entry {
    const uid = keyOf(pod);
    let entry = entries.get(uid);
    if (entry === undefined) {
      entry = { pod, status: undefined, changedAtMs: 0, extra: undefined, finished: false };
      entries.set(uid, entry);
    }
    return entry;
  }

  async function deletePod(uid: string, entry: Entry, signal: AbortSignal): Promise<void> {
    const { name, namespace } = entry.pod.metadata;
    const body = { gracePeriodSeconds: 0, preconditions: { uid } };
    try {
      await client.delete(pods, { namespace, name }, body, { signal });
    } catch (error) {
      // Gone, or another pod of that name: either way this one is no more.
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
    entries.delete(uid);
  }

  async function sync(uid: string, signal: AbortSignal): Promise<void> {
    const entry = entries.get(uid);
    if (entry?.status === undefined) return;
    const { name, namespace, uid: objectUid = '' } = entry.pod.metadata;
    // A static pod has no object of its own; its status goes to its mirror, once there is one.
    if (isManifestPod(entry.pod)) return;
    const patch = planStatusPatch(objectUid, entry.pod.status, entry.status);
    if (patch !== undefined) {
      const { changedAtMs } = entry;
      try {
        const written = await client.patch(pods, { namespace, name }, 'strategic', patch, {
          subresource: 'status',
          signal,
        });
        entry.pod = { ...written, metadata: { ...written.metadata } };
        options.observeSync?.(clock.monotonicMs() - changedAtMs);
      } catch (error) {
        if (isNotFound(error) || isConflict(error)) {
          // A mirror comes back, and is told the status then.
          if (staticUidOf(entry.pod) === undefined) entries.delete(uid);
          return;
        }
        throw error;
      }
    }
    const isMirror = staticUidOf(entry.pod) !== undefined;
    if (entry.finished && !isMirror && entry.pod.metadata.deletionTimestamp !== undefined) {
      await deletePod(uid, entry, signal);
    }
  }

  return {
    observe(pod) {
      const uid = keyOf(pod);
      // The mirror of a static pod may be seen before the static pod has a status.
      const entry = staticUidOf(pod) === undefined ? entries.get(uid) : entryOf(pod);
      if (entry === undefined) return;
      entry.pod = pod;
      if (entry.status !== undefined) queue.add(uid);
    },
    set(pod, status, { mayRun }) {
      const entry = entryOf(pod);
      const foreign = entry.pod.status?.conditions ?? [];
      const own = entry.status ?? entry.pod.status;
      const previous = own === undefined ? undefined : { ...own, conditions: [...(own.conditions ?? []), ...foreign] };
      if (isConditionTrue(status.conditions, 'Ready') || isPodTerminal({ status })) entry.extra = undefined;
      const conditions = [...(status.conditions ?? []), ...(entry.extra === undefined ? [] : [entry.extra])];
      entry.status = mergePodStatus(previous, { ...status, conditions }, { mayRun, nowMs: clock.now() });
      entry.changedAtMs = clock.monotonicMs();
      const starting = mayRun && entry.pod.metadata.deletionTimestamp === undefined && isStarting(entry.status);
      queue.addAfter(keyOf(pod), starting ? startingDelayMs : 0);
    },
    setExtraCondition(pod, condition) {
      const entry = entries.get(keyOf(pod));
      if (entry?.status === undefined || isSameExtra(entry.extra, condition)) return;
      entry.extra = condition;
      const others = withoutCondition(entry.status.conditions, blockedCondition);
      const before = findCondition(entry.status.conditions, blockedCondition);
      const lastTransitionTime = before?.lastTransitionTime ?? formatTime(clock.now());
      entry.status = {
        ...entry.status,
        conditions: condition === undefined ? others : [...others, { ...condition, lastTransitionTime }],
      };
      queue.add(keyOf(pod));
    },
    get: (uid) => entries.get(uid)?.status,
    finish(pod) {
      const entry = entryOf(pod);
      entry.finished = true;
      entry.status ??= entry.pod.status ?? {};
      queue.add(keyOf(pod));
    },
    forget: (uid) => void entries.delete(uid),
    run: (signal) => queue.run(sync, { concurrency, signal }),
  };
}
