// The status of an autoscaler: its conditions and counts. Pure.
import type {
  HorizontalPodAutoscaler,
  HorizontalPodAutoscalerCondition,
  HorizontalPodAutoscalerStatus,
  MetricStatus,
} from '#kube/api/generated/autoscaling-v2.ts';
import { formatTime } from '#kube/api/time.ts';
import type { Verdict } from './limit-replicas.ts';

type ConditionType = 'AbleToScale' | 'ScalingActive' | 'ScalingLimited';

/** Collects conditions one after the other; the last word counts. */
export interface StatusDraft {
  set(type: ConditionType, verdict: Verdict): void;
  /** The status; without `metrics` those of before stay. */
  build(counts: {
    current: number;
    desired?: number;
    metrics?: readonly MetricStatus[];
    rescaled?: boolean;
  }): HorizontalPodAutoscalerStatus;
}

export const able = (reason: string, message: string): Verdict => ({ status: 'True', reason, message });
export const unable = (reason: string, message: string): Verdict => ({ status: 'False', reason, message });

/** Starts from what the autoscaler says now. */
export function draftStatus({ metadata, status }: HorizontalPodAutoscaler, nowMs: number): StatusDraft {
  const conditions: HorizontalPodAutoscalerCondition[] = [...(status?.conditions ?? [])];
  return {
    set(type, verdict) {
      const at = conditions.findIndex((each) => each.type === type);
      const previous = conditions[at];
      const lastTransitionTime = previous?.status === verdict.status ? previous.lastTransitionTime : formatTime(nowMs);
      const next = { type, ...verdict, lastTransitionTime };
      if (at < 0) conditions.push(next);
      else conditions[at] = next;
    },
    build({ current, desired = status?.desiredReplicas ?? 0, metrics, rescaled = false }) {
      // The server writes null for an empty list.
      const shown = metrics ?? status?.currentMetrics ?? [];
      const lastScaleTime = rescaled ? formatTime(nowMs) : status?.lastScaleTime;
      return {
        observedGeneration: metadata.generation,
        ...(lastScaleTime === undefined ? {} : { lastScaleTime }),
        currentReplicas: current,
        desiredReplicas: desired,
        ...(shown.length === 0 ? {} : { currentMetrics: [...shown] }),
        conditions,
      };
    },
  };
}
