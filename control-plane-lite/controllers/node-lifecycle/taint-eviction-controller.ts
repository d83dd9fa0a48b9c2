// Deletes pods from nodes with NoExecute taints that they do not tolerate, or no longer.

import { withCondition } from '#kube/api/conditions.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { isPodTerminating } from '#kube/api/pod-state.ts';
import { objectKey } from '#kube/api/resource.ts';
import { formatTime } from '#kube/api/time.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { byNode } from '../shared-informers.ts';
import { evictionTimeMs } from './plan-eviction.ts';

/** Pods are looked at when they are placed and when the taints of their node change. */
export function createTaintEvictionController(context: ControllerContext): Controller {
  const { informers, client, recorder, clock } = context;
  const queue = createControllerQueue(context);
  /** Since when pods that may stay for a while are known to have to go; by UID. */
  const firstSeenMs = new Map<string, number>();
  const isScheduled = (pod: Pod) => (pod.spec?.nodeName ?? '') !== '';

  informers.nodes.subscribe({
    added: ({ metadata, spec }) => enqueueNode(metadata.name, spec?.taints !== undefined),
    updated: (previous, { metadata, spec }) => {
      const changed = JSON.stringify(previous.spec?.taints) !== JSON.stringify(spec?.taints);
      enqueueNode(metadata.name, changed);
    },
  });
  informers.pods.subscribe({
    added: (pod) => {
      if (isScheduled(pod)) queue.add(objectKey(pod));
    },
    updated: (previous, pod) => {
      if (isScheduled(pod) && !isScheduled(previous)) queue.add(objectKey(pod));
    },
    deleted: (pod) => void firstSeenMs.delete(pod.metadata.uid ?? ''),
  });

  function enqueueNode(name: string, changed: boolean): void {
    if (!changed) return;
    for (const pod of informers.pods.byIndex(byNode, name)) queue.add(objectKey(pod));
  }

  async function evict(pod: Pod): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    recorder.event(
      referenceTo(pods, pod),
      'Normal',
      'TaintManagerEviction',
      `Marking for deletion Pod ${namespace}/${name}`,
    );
    const condition = {
      type: 'DisruptionTarget',
      status: 'True',
      reason: 'DeletionByTaintManager',
      message: 'Taint manager: deleting due to NoExecute taint',
      lastTransitionTime: formatTime(clock.now()),
    };
    try {
      const status = { conditions: withCondition(pod.status?.conditions, condition) };
      await client.patch(pods, { namespace, name }, 'strategic', { status }, { subresource: 'status' });
      await client.delete(pods, { namespace, name }, { preconditions: { uid } });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const pod = informers.pods.get(key);
    if (pod === undefined || isPodTerminating(pod)) return;
    const node = informers.nodes.get(pod.spec?.nodeName ?? '');
    const { uid = '' } = pod.metadata;
    const dueMs = evictionTimeMs(pod, node?.spec?.taints ?? [], clock.now(), firstSeenMs.get(uid));
    if (dueMs === undefined) {
      if (!firstSeenMs.delete(uid)) return;
      const message = `Cancelling deletion of Pod ${pod.metadata.namespace}/${pod.metadata.name}`;
      recorder.event(referenceTo(pods, pod), 'Normal', 'TaintManagerEviction', message);
      return;
    }
    if (!firstSeenMs.has(uid)) firstSeenMs.set(uid, clock.now());
    if (dueMs > clock.now()) return { requeueAfterMs: dueMs - clock.now() };
    await evict(pod);
  }

  return queueController(context.name, queue, sync, { concurrency: 4 });
}
