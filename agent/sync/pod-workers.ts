// One worker at a time for each pod, whatever happens to it: new definitions, changes of the runtime, verdicts of
// probes, timers. The queue owns the retries. Pods that only the runtime knows are ended and removed.
import { isDeepStrictEqual } from 'node:util';
import { findCondition } from '#kube/api/conditions.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { isPodTerminal } from '#kube/api/pod-state.ts';
import { createWorkQueue } from '#kube/queue/work-queue.ts';
import { isStaticPod } from '../container/labels.ts';
import { problemOfPod, stripPod } from '../pod-source/check-pod.ts';
import type { PodRuntime } from '../runtime-cache/pod-runtime.ts';
import type { Rejection } from './admit-pod.ts';
import { isCriticalPod, planPreemption } from './plan-preemption.ts';
import { type EndReason, newPodWork, type PodTools, type PodWork } from './pod-work.ts';
import { graceSecondsOf } from './stop-container.ts';
import { syncPod } from './sync-pod.ts';
import { finishPod, removePod, terminatePod } from './terminate-pod.ts';

/** A worker waits for containers to stop, so there may be as many as pods. */
const concurrency = 1000;
/** Nobody waits for the work of a pod that nobody knows. */
const orphanGraceSeconds = 1;
const retryBaseMs = 500;
const retryMaxMs = 60_000;
const earlierRetryMs = 500;
const preemptRetryMs = 500;
const undecidedRetryMs = 1000;
/** Resizes that wait are looked at again even where nothing seems to have changed. */
const resizeRetryMs = 180_000;

export interface PodWorkers {
  /** A pod of this node is new or changed. */
  update(pod: Pod): void;
  /** The pod's definition is gone. `graceSeconds` replaces the pod's own grace period. */
  remove(podUid: string, graceSeconds?: number): void;
  /** Ends a pod from the side of the node: eviction, rejection. */
  end(podUid: string, reason: EndReason): void;
  /** Something about the pod may have changed. */
  wake(podUid: string): void;
  get(podUid: string): Pod | undefined;
  /** Pods that still may use resources of the node. */
  active(): Pod[];
  /** Active pods that nobody has told to end. */
  endable(): Pod[];
  /** Nothing of the pod runs or will. */
  hasEnded(podUid: string): boolean;
  all(): Pod[];
  /** Milliseconds until the pod is looked at again without a change; undefined when that is not planned. */
  nextStepInMs(podUid: string): number | undefined;
  /** Looks at the pod at once, and lets what failed before count for nothing. */
  retry(podUid: string): void;
  /** The stage each pod's worker is in. */
  stages(): PodWork['stage'][];
  /** All sources have told their pods: from now on pods that only the runtime knows are removed. */
  sourcesReady(): void;
  run(signal: AbortSignal): Promise<void>;
}

/** Stands for a pod of which only containers are left. */
function podOfRuntime(observed: PodRuntime): Pod {
  const { name, namespace, uid } = observed;
  const grace = observed.containers[0]?.facts.terminationGracePeriodSeconds;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, uid },
    spec: { containers: [], ...(grace === undefined ? {} : { terminationGracePeriodSeconds: grace }) },
  };
}

/** The new definition asks for a quicker end than the one being worked on. */
function endsSooner(before: Pod, after: Pod): boolean {
  if (after.metadata.deletionTimestamp === undefined) return false;
  return before.metadata.deletionTimestamp === undefined || graceSecondsOf(after) < graceSecondsOf(before);
}

/** What others say of the pod's readiness. */
function gatesOf({ spec, status }: Pod): (string | undefined)[] {
  return (spec.readinessGates ?? []).map(
    ({ conditionType }) => findCondition(status?.conditions ?? [], conditionType)?.status,
  );
}

/** True when the new version says nothing new about what to run: its status is what this node wrote. */
function isSameWork(before: Pod, after: Pod): boolean {
  const { metadata: a } = before;
  const { metadata: b } = after;
  return (
    a.deletionTimestamp === b.deletionTimestamp &&
    a.deletionGracePeriodSeconds === b.deletionGracePeriodSeconds &&
    isPodTerminal(before) === isPodTerminal(after) &&
    isDeepStrictEqual(gatesOf(before), gatesOf(after)) &&
    isDeepStrictEqual([a.labels, a.annotations, before.spec], [b.labels, b.annotations, after.spec])
  );
}

/** Creates the workers; nothing runs before `run`. */
export function createPodWorkers(tools: PodTools): PodWorkers {
  const { clock, logger } = tools;
  const { steps } = tools.execute;
  const works = new Map<string, PodWork>();
  const queue = createWorkQueue<string>({ clock, logger, baseDelayMs: retryBaseMs, maxDelayMs: retryMaxMs });
  let complete = false;

  function interrupt(work: PodWork): void {
    const { abort } = work;
    work.abort = new AbortController();
    abort.abort(new Error(`pod ${work.pod.metadata.name} has to end`));
  }

  function endWork(work: PodWork, reason: EndReason): void {
    if (work.stage !== 'running') return;
    work.ended = reason;
    interrupt(work);
    queue.add(work.pod.metadata.uid ?? '');
  }

  function workOf(uid: string): PodWork | undefined {
    const known = works.get(uid);
    const observed = tools.cache.get(uid);
    if (known !== undefined || observed === undefined || !complete) return known;
    const orphan = newPodWork(podOfRuntime(observed));
    orphan.gone = true;
    orphan.goneGraceSeconds = orphanGraceSeconds;
    orphan.stage = 'terminating';
    works.set(uid, orphan);
    logger.info({ pod: observed.name, namespace: observed.namespace, uid }, 'removing a pod that is no longer wanted');
    return orphan;
  }

  /** The pods that use the node beside this one, with what they were given. */
  function othersOf(work: PodWork, counts: (other: PodWork) => boolean = () => true): Pod[] {
    return [...works.values()]
      .filter((other) => other !== work && other.admitted && other.stage !== 'terminated' && counts(other))
      .map(({ pod }) => pod);
  }

  /** From now on the newest definition counts: never in the middle of a step, whose report would speak for both. */
  function take(work: PodWork): void {
    work.pod = tools.allocation.allocated(work.wanted);
  }

  /** Gives the pod what it asks for now, where the node can. */
  function reconsider(work: PodWork): boolean {
    const changed = tools.allocation.consider(work.wanted, othersOf(work));
    if (changed) take(work);
    return changed;
  }

  /** Something of the node has become free: pods whose resize waits are asked again, the most important first. */
  function reconsiderWaiting(): void {
    const waiting = [...works.values()].filter(
      ({ stage, pod }) => stage === 'running' && tools.allocation.isWaiting(pod.metadata.uid ?? ''),
    );
    for (const work of tools.allocation.order(waiting)) {
      if (reconsider(work)) queue.add(work.pod.metadata.uid ?? '');
    }
  }

  /** Makes room for a pod that the system cannot do without. True when it has to wait for pods that are ending. */
  async function preempt(work: PodWork, { shortages = [] }: Rejection, signal: AbortSignal): Promise<boolean> {
    if (shortages.length === 0 || !isCriticalPod(work.pod)) return false;
    const staying = othersOf(work, ({ ended }) => ended === undefined);
    const rejection = await tools.admit(work.pod, staying, signal);
    if (rejection === undefined) return true;
    const victims = planPreemption(work.pod, staying, rejection.shortages ?? []);
    if ((rejection.shortages ?? []).length === 0 || victims === undefined) return false;
    for (const { metadata } of victims) {
      const victim = works.get(metadata.uid ?? '');
      if (victim === undefined) continue;
      const message = 'Preempted in order to admit critical pod';
      tools.execute.record(victim.pod, 'Warning', 'Preempting', message);
      const disruption = 'Pod was preempted by Kubelet to accommodate a critical pod.';
      endWork(victim, { phase: 'Failed', reason: 'Preempting', message, disruption });
    }
    return true;
  }

  /** Asked once for each pod, before anything of it is made; what runs already was taken before. */
  async function admit(uid: string, work: PodWork, signal: AbortSignal): Promise<number | undefined> {
    if (work.admitted || work.gone || work.pod.metadata.deletionTimestamp !== undefined || isPodTerminal(work.pod))
      return undefined;
    const rejection =
      tools.cache.get(uid) === undefined
        ? await steps.run(uid, { step: 'admission' }, () => tools.admit(work.pod, othersOf(work), signal))
        : undefined;
    if (rejection !== undefined && (await preempt(work, rejection, signal))) return preemptRetryMs;
    if (rejection === undefined) {
      work.admitted = true;
      tools.allocation.admit(work.pod);
      return undefined;
    }
    tools.execute.record(work.pod, 'Warning', rejection.reason, rejection.message.replace(/^Pod was rejected: /, ''));
    const { reason, message } = rejection;
    const { generation } = work.pod.metadata;
    const seen = generation === undefined ? {} : { observedGeneration: generation };
    const status = { ...seen, phase: 'Failed', qosClass: qosClassOf(work.pod), reason, message };
    tools.statuses.set(work.pod, status, { mayRun: false });
    await finishPod(tools, work);
    work.stage = 'terminated';
    return undefined;
  }

  /** A static pod starts when the one of its name that it replaces has ended. */
  function waitsForEarlier(work: PodWork): boolean {
    if (work.admitted || !isStaticPod(work.pod)) return false;
    const { name, namespace } = work.pod.metadata;
    for (const other of works.values()) {
      if (other === work) return false;
      const same = other.pod.metadata.name === name && other.pod.metadata.namespace === namespace;
      if (same && isStaticPod(other.pod) && other.stage !== 'terminated') return true;
    }
    return false;
  }

  async function step(uid: string, work: PodWork, signal: AbortSignal): Promise<number | undefined> {
    if (work.stage === 'running' && !work.gone && waitsForEarlier(work)) return earlierRetryMs;
    // Nothing may be made a second time while the runtime owes the answer.
    if (tools.cache.isPending(uid)) throw new Error('the runtime does not tell the state of the pod');
    const waitMs = work.stage === 'running' ? await admit(uid, work, signal) : undefined;
    if (waitMs !== undefined) return waitMs;
    if (work.stage === 'running') {
      const mustEnd =
        work.gone ||
        work.ended !== undefined ||
        work.pod.metadata.deletionTimestamp !== undefined ||
        isPodTerminal(work.pod);
      if (!mustEnd) {
        if (reconsider(work)) reconsiderWaiting();
        const result = await syncPod(tools, work, signal);
        if (!result.finished) {
          return tools.allocation.isUndecided(uid)
            ? Math.min(result.requeueAfterMs, undecidedRetryMs)
            : result.requeueAfterMs;
        }
      }
      work.stage = 'terminating';
    }
    if (work.stage === 'terminating') {
      await steps.run(uid, { step: 'termination' }, async () => {
        await terminatePod(tools, work, signal);
        await finishPod(tools, work);
      });
      steps.forget(uid);
      work.stage = 'terminated';
      reconsiderWaiting();
    }
    if (work.stage === 'terminated' && work.gone) {
      await removePod(tools, work, signal);
      work.stage = 'removed';
      works.delete(uid);
    }
    return undefined;
  }

  async function sync(uid: string, signal: AbortSignal): Promise<void | { requeueAfterMs: number }> {
    const work = workOf(uid);
    if (work === undefined) return undefined;
    take(work);
    const own = work.abort.signal;
    const startedMs = clock.monotonicMs();
    const operation = work.stage === 'running' ? 'sync' : 'terminate';
    try {
      const requeueAfterMs = await step(uid, work, AbortSignal.any([signal, own]));
      return requeueAfterMs === undefined ? undefined : { requeueAfterMs };
    } catch (error) {
      if (own.aborted && !signal.aborted) return { requeueAfterMs: 0 };
      throw error;
    } finally {
      tools.observeStep?.(operation, clock.monotonicMs() - startedMs);
    }
  }

  async function retryResizes(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await clock.sleep(resizeRetryMs, signal).catch(() => undefined);
      if (!signal.aborted) reconsiderWaiting();
    }
  }

  tools.cache.subscribe((uid) => queue.add(uid));
  return {
    update(given) {
      const uid = given.metadata.uid ?? '';
      const problem = problemOfPod(given);
      const pod = problem === undefined ? given : stripPod(given);
      const work = works.get(uid);
      if (work === undefined) {
        const added = newPodWork(pod, tools.allocation.allocated(pod));
        works.set(uid, added);
        if (problem !== undefined) {
          tools.execute.record(pod, 'Warning', 'FailedValidation', problem);
          added.ended = { phase: 'Failed', reason: 'FailedValidation', message: problem };
        }
      } else {
        const sooner = endsSooner(work.wanted, pod);
        const same = isSameWork(work.wanted, pod);
        work.wanted = pod;
        if (same) {
          if (work.pod.metadata.generation === pod.metadata.generation) take(work);
          return;
        }
        if (sooner) interrupt(work);
      }
      queue.add(uid);
    },
    remove(podUid, graceSeconds) {
      const work = works.get(podUid);
      if (work === undefined) return;
      work.gone = true;
      work.goneGraceSeconds = graceSeconds;
      if (work.stage === 'running' || graceSeconds !== undefined) interrupt(work);
      queue.add(podUid);
    },
    end(podUid, reason) {
      const work = works.get(podUid);
      if (work !== undefined) endWork(work, reason);
    },
    wake: (podUid) => queue.add(podUid),
    nextStepInMs: (podUid) => queue.dueInMs(podUid),
    retry(podUid) {
      tools.execute.backoff.forget(`${podUid}_`);
      tools.execute.imageBackoff.forget(`${podUid}_`);
      tools.execute.sandboxBackoff.reset(podUid);
      queue.forget(podUid);
      queue.add(podUid);
    },
    get: (podUid) => works.get(podUid)?.wanted,
    active: () =>
      [...works.values()]
        .filter((work) => work.stage === 'running' || work.stage === 'terminating')
        .map(({ pod }) => pod),
    endable: () =>
      [...works.values()]
        .filter(({ stage, ended, gone, admitted }) => stage === 'running' && ended === undefined && !gone && admitted)
        .map(({ pod }) => pod)
        .filter(({ metadata }) => metadata.deletionTimestamp === undefined),
    hasEnded(podUid) {
      const stage = works.get(podUid)?.stage;
      return stage === undefined || stage === 'terminated' || stage === 'removed';
    },
    all: () => [...works.values()].map(({ pod }) => pod),
    stages: () => [...works.values()].map(({ stage }) => stage),
    sourcesReady() {
      complete = true;
      tools.allocation.retain(new Set(works.keys()));
      for (const { uid } of tools.cache.all()) if (!works.has(uid)) queue.add(uid);
    },
    async run(signal) {
      await Promise.all([queue.run(sync, { concurrency, signal }), retryResizes(signal)]);
    },
  };
}
