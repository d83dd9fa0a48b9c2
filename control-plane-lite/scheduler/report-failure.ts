// Tells why a pod has no node: in its condition, when that says something else, and in an event.
import type { Logger } from 'pino';
import { findCondition } from '#kube/api/conditions.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { pods as podResource } from '#kube/api/generated/resources.ts';
import { formatTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { type EventRecorder, referenceTo } from '#kube/events/event-recorder.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { PodInfo } from './framework/pod-info.ts';

export interface FailureReporterDeps {
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  signal: AbortSignal;
  /** The newest version known. */
  current(pod: PodInfo): Pod;
}

export interface Failure {
  message: string;
  /** What the condition says; SchedulerError where the scheduler itself failed. */
  reason?: 'Unschedulable' | 'SchedulerError';
  /** The node that is promised to the pod from now on; empty: none any more. */
  nominatedNodeName?: string;
}

/** Never throws. */
export type ReportFailure = (info: PodInfo, failure: Failure, recorder: EventRecorder) => Promise<void>;

/** Reports with the scheduler's own identity. */
export function createFailureReporter({ client, clock, logger, signal, current }: FailureReporterDeps): ReportFailure {
  return async (info, { message, reason = 'Unschedulable', nominatedNodeName }, recorder) => {
    const { pod, key } = info;
    recorder.event(referenceTo(podResource, pod), 'Warning', 'FailedScheduling', message, { action: 'Scheduling' });
    const { namespace, name, uid } = pod.metadata;
    const { status } = current(info);
    const known = findCondition(status?.conditions, 'PodScheduled');
    const isSaid = known?.status === 'False' && known.reason === reason && known.message === message;
    const isSame = nominatedNodeName === undefined || nominatedNodeName === (status?.nominatedNodeName ?? '');
    if (isSaid && isSame) return;
    const lastTransitionTime = known?.status === 'False' ? known.lastTransitionTime : formatTime(clock.now());
    const condition = { type: 'PodScheduled', status: 'False', reason, message, lastTransitionTime };
    const nomination = isSame ? {} : { nominatedNodeName: nominatedNodeName === '' ? null : nominatedNodeName };
    try {
      const patch = { metadata: { uid }, status: { conditions: [condition], ...nomination } };
      await client.patch(podResource, { namespace, name }, 'strategic', patch, { subresource: 'status', signal });
    } catch (error) {
      if (!isNotFound(error) && !signal.aborted) logger.warn({ err: error, pod: key }, 'cannot write the condition');
    }
  };
}
