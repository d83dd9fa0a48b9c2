// Makes pods of lower priority leave for one of higher: says so on them, then deletes them with their grace period.
import type { Logger } from 'pino';
import { pods as podResource } from '#kube/api/generated/resources.ts';
import { formatTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { type EventRecorder, referenceTo } from '#kube/events/event-recorder.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { PodInfo } from './framework/pod-info.ts';

export interface PreemptorDeps {
  schedulerName: string;
  client: ApiClient;
  recorder: EventRecorder;
  clock: Clock;
  logger: Logger;
  signal: AbortSignal;
}

export interface Preemptor {
  /** Never throws: a victim that stays is found by the next attempt of the pod that needs its place. */
  evict(victim: PodInfo, preemptor: PodInfo, node: string): Promise<void>;
}

/** Writes with the scheduler's own identity. */
export function createPreemptor({ schedulerName, client, recorder, clock, logger, signal }: PreemptorDeps): Preemptor {
  return {
    async evict(victim, preemptor, node) {
      const { namespace, name, uid } = victim.pod.metadata;
      const condition = {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'PreemptionByScheduler',
        message: `${schedulerName}: preempting to accommodate a higher priority pod`,
        lastTransitionTime: formatTime(clock.now()),
      };
      try {
        const patch = { metadata: { uid }, status: { conditions: [condition] } };
        await client.patch(podResource, { namespace, name }, 'strategic', patch, { subresource: 'status', signal });
        await client.delete(podResource, { namespace, name }, { preconditions: { uid } }, { signal });
        const message = `Preempted by pod ${preemptor.uid} on node ${node}`;
        recorder.event(referenceTo(podResource, victim.pod), 'Normal', 'Preempted', message, { action: 'Preempting' });
      } catch (error) {
        if (isNotFound(error) || isConflict(error) || signal.aborted) return;
        logger.warn({ err: error, pod: victim.key }, 'cannot preempt');
      }
    },
  };
}
