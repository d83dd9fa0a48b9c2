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
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  signal: AbortSignal;
}

export interface Preemptor {
  /** Whether all victims are gone or on their way. Never throws. */
  evict(victims: readonly PodInfo[], preemptor: PodInfo, node: string, recorder: EventRecorder): Promise<boolean>;
}

/** Writes with the scheduler's own identity. */
export function createPreemptor({ client, clock, logger, signal }: PreemptorDeps): Preemptor {
  async function evictOne(
    victim: PodInfo,
    preemptor: PodInfo,
    node: string,
    recorder: EventRecorder,
  ): Promise<boolean> {
    // It is on its way already, with the grace that it was given.
    if (victim.pod.metadata.deletionTimestamp !== undefined) return true;
    const { namespace, name, uid } = victim.pod.metadata;
    const condition = {
      type: 'DisruptionTarget',
      status: 'True',
      reason: 'PreemptionByScheduler',
      message: `${preemptor.schedulerName}: preempting to accommodate a higher priority pod`,
      lastTransitionTime: formatTime(clock.now()),
    };
    try {
      const patch = { metadata: { uid }, status: { conditions: [condition] } };
      await client.patch(podResource, { namespace, name }, 'strategic', patch, { subresource: 'status', signal });
      await client.delete(podResource, { namespace, name }, { preconditions: { uid } }, { signal });
      const message = `Preempted by pod ${preemptor.uid} on node ${node}`;
      recorder.event(referenceTo(podResource, victim.pod), 'Normal', 'Preempted', message, { action: 'Preempting' });
      return true;
    } catch (error) {
      // Gone, or another one by that name.
      if (isNotFound(error) || isConflict(error)) return true;
      if (!signal.aborted) logger.warn({ err: error, pod: victim.key }, 'cannot preempt');
      return false;
    }
  }

  return {
    async evict(victims, preemptor, node, recorder) {
      const gone = await Promise.all(victims.map((victim) => evictOne(victim, preemptor, node, recorder)));
      return gone.every(Boolean);
    },
  };
}
