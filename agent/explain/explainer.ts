// Keeps what is needed to say what a pod waits for, and tells it where everybody looks: a condition of the pod that is
// there while the pod is blocked.
import type { Pod, PodCondition, PodStatus } from '#kube/api/generated/core-v1.ts';
import { isPodTerminal } from '#kube/api/pod-state.ts';
import { parseTime } from '#kube/api/time.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { EvictionRecord } from '../eviction/eviction-records.ts';
import { blockedCondition } from '../status/compute-conditions.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import { computeExplanation } from './compute-explanation.ts';
import type { Explanation } from './explanation.ts';
import type { PodSteps } from './pod-steps.ts';

/** Pods that become ready in a moment do not get one. */
const blockedAfterMs = 2000;
const periodMs = 1000;

/** The newest warning of each pod and container. */
export interface WarningLog {
  /** The same recorder, which remembers warnings on their way. */
  watch(record: RecordPodEvent): RecordPodEvent;
  of(podUid: string): ReadonlyMap<string, { reason: string; message: string; atMs: number }>;
  forget(podUid: string): void;
}

/** Creates an empty log. */
export function createWarningLog(clock: Clock): WarningLog {
  const pods = new Map<string, Map<string, { reason: string; message: string; atMs: number }>>();
  return {
    watch: (record) => (pod, type, reason, message, container) => {
      record(pod, type, reason, message, container);
      const uid = pod.metadata.uid ?? '';
      if (type !== 'Warning') return;
      const own = pods.get(uid) ?? new Map();
      pods.set(uid, own.set(container ?? '', { reason, message, atMs: clock.now() }));
    },
    of: (podUid) => pods.get(podUid) ?? new Map(),
    forget: (podUid) => void pods.delete(podUid),
  };
}

/** What the explainer looks at. */
export interface ExplainSources {
  clock: Clock;
  steps: PodSteps;
  warnings: WarningLog;
  pods(): Pod[];
  statusOf(podUid: string): PodStatus | undefined;
  nextStepInMs(podUid: string): number | undefined;
  /** Bytes of what the runtime is pulling now, where it tells. */
  pulledBytes(signal: AbortSignal): Promise<{ done: number; total?: number } | undefined>;
  /** Why the node evicted the pod, where it did. */
  evictionOf(podUid: string): EvictionRecord | undefined;
  /** Shows the condition beside the pod's others; undefined takes it away. */
  setCondition(pod: Pod, condition: PodCondition | undefined): void;
}

export interface Explainer {
  explain(pod: Pod, signal: AbortSignal): Promise<Explanation>;
  run(signal: AbortSignal): Promise<void>;
}

/** The condition for an explanation; undefined when nothing has been blocking for long. */
export function conditionOf(explanation: Explanation, nowMs: number): PodCondition | undefined {
  const { step, container, message, since } = explanation;
  if (step === 'none' || step === 'termination' || step === 'finalizer') return undefined;
  const sinceMs = parseTime(since);
  if (sinceMs === undefined || nowMs - sinceMs < blockedAfterMs) return undefined;
  const reason = `${step.charAt(0).toUpperCase()}${step.slice(1)}`;
  const text = container === undefined ? message : `container ${container}: ${message}`;
  return { type: blockedCondition, status: 'True', reason, message: text };
}

/** Creates the explainer; conditions are told while `run` runs. */
export function createExplainer(sources: ExplainSources): Explainer {
  const { clock, steps, warnings } = sources;

  function look(pod: Pod, bytes: { done: number; total?: number } | undefined): Explanation {
    const uid = pod.metadata.uid ?? '';
    const dueInMs = sources.nextStepInMs(uid);
    return computeExplanation({
      pod,
      status: sources.statusOf(uid) ?? pod.status ?? {},
      steps: steps.of(uid),
      warnings: warnings.of(uid),
      dueAtMs: dueInMs === undefined ? undefined : clock.now() + dueInMs,
      nowMs: clock.now(),
      bytes,
      eviction: sources.evictionOf(uid),
    });
  }

  return {
    async explain(pod, signal) {
      const explanation = look(pod, undefined);
      if (explanation.step !== 'pull') return explanation;
      return look(pod, await sources.pulledBytes(signal).catch(() => undefined));
    },
    async run(signal) {
      while (!signal.aborted) {
        for (const pod of sources.pods()) {
          if (isPodTerminal({ status: sources.statusOf(pod.metadata.uid ?? '') ?? pod.status ?? {} })) continue;
          sources.setCondition(pod, conditionOf(look(pod, undefined), clock.now()));
        }
        await clock.sleep(periodMs, signal).catch(() => undefined);
      }
    },
  };
}
