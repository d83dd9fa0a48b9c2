// Pods that wait for a node: ready ones by priority and age, failed ones until their backoff has passed and something
// in the cluster has changed. Numbers are upstream's: 1 s to 10 s of backoff, a second look after 5 minutes at most.
import type { Clock, Timer } from '#kube/process/clock.ts';
import { backoffDelayMs } from '#kube/queue/backoff.ts';
import { createHeap } from '../framework/heap.ts';
import type { PodInfo } from '../framework/pod-info.ts';

const backoff = { initialMs: 1000, maxMs: 10_000 };
const maxUnschedulableMs = 300_000;

interface Waiting {
  info: PodInfo;
  /** Order of arrival. */
  order: number;
  attempts: number;
  /** Not before this time. */
  notBeforeMs: number;
  place: 'active' | 'backoff' | 'unschedulable' | 'deciding';
  timer: Timer | undefined;
}

export interface SchedulingQueue {
  /** A new pod, or a new version of a waiting one. */
  set(info: PodInfo): void;
  delete(uid: string): void;
  /** The next pod to decide on; it stays known until `done` or `failed`. */
  next(): PodInfo | undefined;
  /** The pod has a node. */
  done(uid: string): void;
  /** No node fits: wait for a change. With `retry` an error occurred: only the backoff is waited for. */
  failed(uid: string, how: 'unschedulable' | 'retry'): void;
  /** Something changed in the cluster that may help waiting pods; all of them, or those that `helps` names. */
  clusterChanged(helps?: (info: PodInfo) => boolean): void;
  /** Cancels all timers. */
  close(): void;
  counts(): { active: number; backoff: number; unschedulable: number };
}

/** `wake` is called when a pod becomes ready to be decided on. */
export function createSchedulingQueue(clock: Clock, wake: () => void): SchedulingQueue {
  const waiting = new Map<string, Waiting>();
  const active = createHeap<Waiting>(
    (a, b) => a.info.priority > b.info.priority || (a.info.priority === b.info.priority && a.order < b.order),
  );
  const unschedulable = new Set<Waiting>();
  let arrivals = 0;

  function activate(entry: Waiting): void {
    entry.timer?.cancel();
    entry.timer = undefined;
    unschedulable.delete(entry);
    entry.place = 'active';
    active.push(entry);
    wake();
  }

  function activateAfter(entry: Waiting, delayMs: number): void {
    entry.timer?.cancel();
    entry.timer = clock.after(delayMs, () => activate(entry));
  }

  /** Forgets a pod and its timer. */
  function drop(uid: string): void {
    const entry = waiting.get(uid);
    if (entry === undefined) return;
    entry.timer?.cancel();
    unschedulable.delete(entry);
    waiting.delete(uid);
  }

  function activateLater(entry: Waiting): void {
    const delayMs = entry.notBeforeMs - clock.monotonicMs();
    if (delayMs <= 0) {
      activate(entry);
      return;
    }
    unschedulable.delete(entry);
    entry.place = 'backoff';
    activateAfter(entry, delayMs);
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
          timer: undefined,
        };
        waiting.set(info.uid, entry);
        activate(entry);
        return;
      }
      const sameNeeds = known.info.schedulingClass === info.schedulingClass && known.info.priority === info.priority;
      known.info = info;
      if (known.place === 'unschedulable' && !sameNeeds) activateLater(known);
    },
    delete: drop,
    next() {
      for (let entry = active.pop(); entry !== undefined; entry = active.pop()) {
        if (waiting.get(entry.info.uid) !== entry || entry.place !== 'active') continue;
        entry.place = 'deciding';
        entry.attempts += 1;
        return entry.info;
      }
      return undefined;
    },
    done: drop,
    failed(uid, how) {
      const entry = waiting.get(uid);
      if (entry === undefined) return;
      entry.notBeforeMs = clock.monotonicMs() + backoffDelayMs(entry.attempts, backoff);
      if (how === 'retry') {
        activateLater(entry);
        return;
      }
      entry.place = 'unschedulable';
      unschedulable.add(entry);
      activateAfter(entry, maxUnschedulableMs);
    },
    clusterChanged(helps = () => true) {
      for (const entry of [...unschedulable]) {
        if (helps(entry.info)) activateLater(entry);
      }
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
  };
}
