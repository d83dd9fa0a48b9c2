// All pods of the node, from the API server and from manifests, as one stream to the workers. Mirror pods are not
// run: they only show static pods.
import type { Logger } from 'pino';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { runGroup } from '#kube/process/component.ts';
import { configSeenAnnotation } from '../container/labels.ts';
import type { StatusManager } from '../status/status-manager.ts';
import type { PodWorkers } from '../sync/pod-workers.ts';
import { createApiPodInformer, withSource } from './api-pod-source.ts';
import { createMirrorPods, staticUidOf } from './mirror-pods.ts';
import { createStaticPods } from './static-pods.ts';

export interface PodSourcesOptions {
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  nodeName: string;
  node(): Node | undefined;
  staticPodPath: string | undefined;
  fileCheckMs: number;
  workers: PodWorkers;
  statuses: StatusManager;
}

export interface PodSources {
  /** Starts telling the workers; resolves when they know every pod there is. */
  begin(): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

/** What is left to a pod whose object was removed while it still ran: someone insisted. */
const forcedGraceSeconds = 1;

/** Creates the sources. */
export function createPodSources(options: PodSourcesOptions): PodSources {
  const { client, clock, logger, nodeName, workers, statuses } = options;
  const informer = createApiPodInformer(client, nodeName, clock, logger);
  const mirrors = createMirrorPods({ client, clock, logger, node: options.node });
  const statics = createStaticPods({
    directory: options.staticPodPath,
    nodeName,
    periodMs: options.fileCheckMs,
    clock,
    logger,
    added(pod) {
      workers.update(pod);
      mirrors.staticAdded(pod);
    },
    removed(pod) {
      workers.remove(pod.metadata.uid ?? '');
      mirrors.staticRemoved(pod);
    },
  });

  function update(pod: Pod): void {
    statuses.observe(pod);
    if (staticUidOf(pod) !== undefined) {
      mirrors.mirrorSeen(pod);
      return;
    }
    const known = workers.get(pod.metadata.uid ?? '');
    const seen = known?.metadata.annotations?.[configSeenAnnotation] ?? new Date(clock.now()).toISOString();
    workers.update(withSource(pod, 'api', seen));
  }

  function remove(pod: Pod): void {
    if (staticUidOf(pod) !== undefined) {
      mirrors.mirrorGone(pod);
      return;
    }
    statuses.forget(pod.metadata.uid ?? '');
    workers.remove(pod.metadata.uid ?? '', forcedGraceSeconds);
  }

  return {
    async begin() {
      informer.subscribe({ added: update, updated: (_, pod) => update(pod), deleted: remove });
      await Promise.all([informer.synced, statics.refresh()]);
    },
    run: (signal) => runGroup([{ run: informer.run }, mirrors, statics], signal),
  };
}
