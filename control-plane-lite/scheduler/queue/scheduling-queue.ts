// Pods that wait for a node: ready ones by priority and age, failed ones until something in the cluster has changed and
// their backoff has passed, or nobody else waits. Numbers are upstream's: 1 s to 10 s of backoff, a second look after 5
// minutes at most.
import type { Clock, Timer } from '#kube/process/clock.ts';
import { backoffDelayMs } from '#kube/queue/backoff.ts';
import { createHeap } from '../framework/heap.ts';
import type { PodInfo } from '../framework/pod-info.ts';

/** Waiting times in milliseconds. */
export interface QueueTimes {
  initialBackoffMs: number;
  maxBackoffMs: number;
  /** A pod is looked at again after so long whatever happened. */
  maxUnschedulableMs: number;
}

export const defaultQueueTimes: QueueTimes = {
  initialBackoffMs: 1000,
  maxBackoffMs: 10_000,
  maxUnschedulableMs: 300_000,
};

/** What the queue tells of: pods that entered one of its parts, and why. */
export type QueueObserver = (part: 'active' | 'backoff' | 'unschedulable', event: string) => void;

const failure = 'ScheduleAttemptFailure';
const nobody: ReadonlySet<string> = new Set();

interface Waiting {
  info: PodInfo;
  /** Order of arrival. */
  order: number;
  attempts: number;
  /** Not before this time. */
  notBeforeMs: number;
  place: 'active' | 'backoff' | 'unschedulable' | 'deciding';
  /** Plugins that refused nodes at the last attempt. */
  rejectors: ReadonlySet<string>;
  /** When it first came. */
  sinceMs: number;
  timer: Timer | undefined;
}

export interface SchedulingQueue {
  /** A new pod, or a new version of a waiting one. */
  set(info: PodInfo): void;
  delete(uid: string): void;
  /** The next pod to decide on; it stays known until `done` or `failed`. */
  next(): PodInfo | undefined;
  /** The pod has a node. Returns what it took, where it was known. */
  done(uid: string): { attempts: number; waitedMs: number } | undefined;
  /** No node fits: wait for a change. With `retry` an error occurred: only the backoff is waited for. */
  failed(uid: string, how: 'unschedulable' | 'retry', rejectors?: ReadonlySet<string>): void;
  /** Something changed in the cluster that may help waiting pods; all of them, or those that `helps` names. */
  clusterChanged(event: string, helps?: (info: PodInfo, rejectors: ReadonlySet<string>) => boolean): void;
  /** One pod has reason to be looked at again. */
  reconsider(uid: string): void;
  /** Cancels all timers. */
  close(): void;
  counts(): { active: number; backoff: number; unschedulable: number };
  /** Pods that wait for a change, with those who refused them. */
  refused(): Iterable<{ info: PodInfo; rejectors: ReadonlySet<string> }>;
}

/** `wake` is called when a pod becomes ready to be decided on. */
export function createSchedulingQueue(
  clock: Clock,
  wake: () => void,
  times: QueueTimes = defaultQueueTimes,
  observe: QueueObserver = () => undefined,
): SchedulingQueue {
  const backoff = { initialMs: times.initialBackoffMs, maxMs: times.maxBackoffMs };
  const waiting = new Map<string, Waiting>();
  const active = createHeap<Waiting>(
    (a, b) => a.info.priority > b.info.priority || (a.info.priority === b.info.priority && a.order < b.order),
  );
  /** Pods that something has happened for, and whose backoff has not passed: taken when there is nothing else to do. */
  const early = createHeap<Waiting>((a, b) => a.notBeforeMs < b.notBeforeMs);
  const unschedulable = new Set<Waiting>();
  let arrivals = 0;

  function activate(entry: Waiting, event: string): void {
    observe('active', event);
    entry.timer?.cancel();
    entry.timer = undefined;
    unschedulable.delete(entry);
    entry.place = 'active';
    active.push(entry);
    wake();
  }

  function activateAfter(entry: Waiting, delayMs: number, event: string): void {
    entry.timer?.cancel();
    entry.timer = clock.after(delayMs, () => activate(entry, event));
  }

  /** Forgets a pod and its timer. */
  function drop(uid: string): void {
    const entry = waiting.get(uid);
    if (entry === undefined) return;
    entry.timer?.cancel();
    unschedulable.delete(entry);
    waiting.delete(uid);
  }

  function activateLater(entry: Waiting, event: string): void {
    const delayMs = entry.notBeforeMs - clock.monotonicMs();
    if (delayMs <= 0) {
      activate(entry, event);
      return;
    }
    unschedulable.delete(entry);
    entry.place = 'backoff';
    observe('backoff', event);
    activateAfter(entry, delayMs, 'BackoffComplete');
    if (event === failure) return;
    early.push(entry);
    wake();
  }

  function take(entry: Waiting): PodInfo {
    entry.timer?.cancel();
    entry.timer = undefined;
    entry.place = 'deciding';
    entry.attempts += 1;
    return entry.info;
  }

  return {
    set(info) {
      const known = waiting.get(info.uid);
      if (known === undefined) {
        arrivals += 1;
        const entry: Waiting = {
          info,
          order: arrivals,
          attempts: 0,
          notBeforeMs: clock.monotonicMs(),
          place: 'active',
          rejectors: nobody,
          sinceMs: clock.monotonicMs(),
          timer: undefined,
        };
        waiting.set(info.uid, entry);
        activate(entry, 'UnscheduledPodAdd');
        return;
      }
      const sameNeeds =
        known.info.schedulingClass === info.schedulingClass &&
        known.info.priority === info.priority &&
        known.info.ownFacts === info.ownFacts;
      known.info = info;
      if (known.place === 'unschedulable' && !sameNeeds) activateLater(known, 'UnscheduledPodUpdate');
    },
    delete: drop,
    next() {
      for (let entry = active.pop(); entry !== undefined; entry = active.pop()) {
        if (waiting.get(entry.info.uid) !== entry || entry.place !== 'active') continue;
        return take(entry);
      }
      for (let entry = early.pop(); entry !== undefined; entry = early.pop()) {
        if (waiting.get(entry.info.uid) === entry && entry.place === 'backoff') return take(entry);
      }
      return undefined;
    },
    done(uid) {
      const entry = waiting.get(uid);
      if (entry === undefined) return undefined;
      drop(uid);
      return { attempts: entry.attempts, waitedMs: clock.monotonicMs() - entry.sinceMs };
    },
    failed(uid, how, rejectors = nobody) {
      const entry = waiting.get(uid);
      if (entry === undefined) return;
      entry.notBeforeMs = clock.monotonicMs() + backoffDelayMs(entry.attempts, backoff);
      entry.rejectors = rejectors;
      if (how === 'retry') {
        activateLater(entry, failure);
        return;
      }
      entry.place = 'unschedulable';
      unschedulable.add(entry);
      observe('unschedulable', failure);
      activateAfter(entry, times.maxUnschedulableMs, 'UnschedulableTimeout');
    },
    clusterChanged(event, helps = () => true) {
      for (const entry of [...unschedulable]) {
        if (helps(entry.info, entry.rejectors)) activateLater(entry, event);
      }
    },
    reconsider(uid) {
      const entry = waiting.get(uid);
      if (entry?.place === 'unschedulable') activateLater(entry, 'Reconsider');
    },
    close() {
      for (const { timer } of waiting.values()) timer?.cancel();
      waiting.clear();
    },
    counts() {
      const counts = { active: 0, backoff: 0, unschedulable: 0 };
      for (const { place } of waiting.values()) {
        if (place !== 'deciding') counts[place] += 1;
      }
      return counts;
    },
    refused: () => unschedulable,
  };
}
