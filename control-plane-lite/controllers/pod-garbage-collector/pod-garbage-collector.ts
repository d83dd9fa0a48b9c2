// Removes pods that nothing else will: on nodes that are gone or out of service, deleted before they were scheduled, and
// finished ones beyond a generous number. Behaviour: upstream's pkg/controller/podgc.

import { withCondition } from '#kube/api/conditions.ts';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { nodes, pods } from '#kube/api/generated/resources.ts';
import { isPodScheduled, isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import { formatTime } from '#kube/api/time.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import type { Controller, ControllerContext } from '../controller.ts';
import { isNodeOutOfService } from '../node-lifecycle/out-of-service.ts';

const periodMs = 20_000;
const quarantineMs = 40_000;
const maxFinished = 12_500;

/** Finished pods beyond the limit, oldest first. Pure. */
export function selectFinished(all: readonly Pod[], limit: number): Pod[] {
  const finished = all.filter((pod) => isPodTerminal(pod) && !isPodTerminating(pod));
  const created = (pod: Pod) => pod.metadata.creationTimestamp ?? '';
  return finished.sort((a, b) => (created(a) < created(b) ? -1 : 1)).slice(0, Math.max(0, finished.length - limit));
}

/** Pods that are to go, on nodes that somebody said are out of service: no agent will ever say that they ended. */
export function selectAbandoned(all: readonly Pod[], nodeNamed: (name: string) => Node | undefined): Pod[] {
  return all.filter((pod) => isPodTerminating(pod) && isNodeOutOfService(nodeNamed(pod.spec?.nodeName ?? '')));
}

/** Looks at all pods every 20 seconds. */
export function createPodGarbageCollector(context: ControllerContext): Controller {
  const { informers, client, clock, logger } = context;
  /** Nodes that pods name and that do not exist, since when. */
  const missing = new Map<string, number>();

  async function remove(pod: Pod, message: string | undefined): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    try {
      if (!isPodTerminal(pod)) {
        const condition = {
          type: 'DisruptionTarget',
          status: 'True',
          reason: 'DeletionByPodGC',
          message: message ?? '',
          lastTransitionTime: formatTime(clock.now()),
        };
        const conditions =
          message === undefined ? {} : { conditions: withCondition(pod.status?.conditions, condition) };
        const patch = { status: { phase: 'Failed', ...conditions } };
        await client.patch(pods, { namespace, name }, 'strategic', patch, { subresource: 'status' });
      }
      await client.delete(pods, { namespace, name }, { gracePeriodSeconds: 0, preconditions: { uid } });
      logger.info({ pod: `${namespace}/${name}` }, 'removed a pod that nothing else would');
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  async function isNodeGone(name: string): Promise<boolean> {
    try {
      await client.get(nodes, { name });
      return false;
    } catch (error) {
      if (isNotFound(error)) return true;
      throw error;
    }
  }

  async function collectOrphans(all: readonly Pod[]): Promise<void> {
    const named = new Set(all.filter(isPodScheduled).map((pod) => pod.spec?.nodeName ?? ''));
    for (const name of missing.keys()) {
      if (!named.has(name) || informers.nodes.get(name) !== undefined) missing.delete(name);
    }
    for (const name of named) {
      if (informers.nodes.get(name) !== undefined) continue;
      const sinceMs = missing.get(name);
      if (sinceMs === undefined) missing.set(name, clock.monotonicMs());
      else if (clock.monotonicMs() - sinceMs >= quarantineMs && (await isNodeGone(name))) {
        for (const pod of all) {
          if (pod.spec?.nodeName === name) await remove(pod, 'PodGC: node no longer exists');
        }
      }
    }
  }

  async function collect(): Promise<void> {
    const all = informers.pods.list();
    for (const pod of selectFinished(all, maxFinished)) await remove(pod, undefined);
    for (const pod of selectAbandoned(all, informers.nodes.get)) await remove(pod, undefined);
    await collectOrphans(all);
    for (const pod of all) {
      if (isPodTerminating(pod) && !isPodScheduled(pod)) await remove(pod, undefined);
    }
  }

  return {
    name: context.name,
    async run(signal) {
      while (!signal.aborted) {
        try {
          await collect();
        } catch (error) {
          if (!signal.aborted) logger.warn({ err: error }, 'cannot remove pods, will retry');
        }
        await clock.sleep(periodMs, signal).catch(() => undefined);
      }
    },
  };
}
