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
import { manifestDirectory } from './manifest-directory.ts';
import { type FetchText, manifestUrl } from './manifest-url.ts';
import { createMirrorPods, staticUidOf } from './mirror-pods.ts';
import { createPodCheckpoint } from './pod-checkpoint.ts';
import { createStaticPods, type StaticPods } from './static-pods.ts';

export interface PodSourcesOptions {
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  nodeName: string;
  node(): Node | undefined;
  staticPodPath: string | undefined;
  fileCheckMs: number;
  staticPodUrl: string | undefined;
  staticPodUrlHeader: Record<string, string[]>;
  httpCheckMs: number;
  fetchText: FetchText;
  /** Pods of the API server need the variables of services. */
  servicesSynced: Promise<unknown>;
  workers: PodWorkers;
  statuses: StatusManager;
  /** File with the pods last heard of. */
  checkpointPath: string;
  /** Whether the API server has been away since the agent started. */
  setOffline(isOffline: boolean): void;
}

export interface PodSources {
  /** Tells the workers the static pods, which run without an API server. */
  beginStatic(signal: AbortSignal): Promise<void>;
  /** Starts telling the workers the API server's pods; resolves when they know every pod there is. */
  begin(signal: AbortSignal): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

/** What is left to a pod whose object was removed while it still ran: someone insisted. */
const forcedGraceSeconds = 1;
const urlTimeoutMs = 10_000;
/** How long static pods wait for an API server that may not be there. */
const mirrorWaitMs = 1000;
/** An API server that was not heard of for so long after the start is away. */
const offlineAfterMs = 5000;

/** Creates the sources. */
export function createPodSources(options: PodSourcesOptions): PodSources {
  const { client, clock, logger, nodeName, workers, statuses } = options;
  const informer = createApiPodInformer(client, nodeName, clock, logger);
  const mirrors = createMirrorPods({ client, clock, logger, node: options.node });
  const listener = {
    clock,
    logger,
    added(found: Pod) {
      const mirror = informer.list().find((item) => staticUidOf(item) === found.metadata.uid);
      const pod = mirror?.status === undefined ? found : { ...found, status: mirror.status };
      workers.update(pod);
      mirrors.staticAdded(pod);
    },
    removed(pod: Pod) {
      workers.remove(pod.metadata.uid ?? '');
      mirrors.staticRemoved(pod);
    },
    isBusy: (uid: string) => workers.get(uid) !== undefined,
  };
  const { staticPodPath, staticPodUrl } = options;
  const statics: StaticPods[] = [];
  if (staticPodPath !== undefined) {
    const read = manifestDirectory(staticPodPath, { nodeName }, logger);
    statics.push(createStaticPods({ ...listener, read, watched: staticPodPath, periodMs: options.fileCheckMs }));
  }
  if (staticPodUrl !== undefined) {
    const { staticPodUrlHeader, fetchText } = options;
    const read = manifestUrl(staticPodUrl, staticPodUrlHeader, { nodeName }, logger, fetchText, urlTimeoutMs);
    statics.push(createStaticPods({ ...listener, read, periodMs: options.httpCheckMs }));
  }

  const checkpoint = createPodCheckpoint(options.checkpointPath, informer.list, clock, logger);

  const elapsed = (signal: AbortSignal) =>
    clock.sleep(offlineAfterMs, signal).then(
      () => true,
      () => true,
    );

  /** Runs the pods last heard of, while the API server is away. Returns their uids. */
  async function restore(): Promise<string[]> {
    const kept = (await checkpoint.read()).filter(
      (pod) => staticUidOf(pod) === undefined && pod.spec.nodeName === nodeName,
    );
    // The server may have come while the file was read.
    if (informer.hasSynced) return [];
    logger.warn({ pods: kept.length }, 'the API server is away: running the pods last heard of');
    options.setOffline(true);
    for (const pod of kept) {
      statuses.observe(pod);
      workers.update(withSource(pod, 'api', new Date(clock.now()).toISOString()));
    }
    return kept.map(({ metadata }) => metadata.uid ?? '');
  }

  function update(pod: Pod): void {
    checkpoint.changed();
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
    checkpoint.changed();
    if (staticUidOf(pod) !== undefined) {
      mirrors.mirrorGone(pod);
      return;
    }
    statuses.forget(pod.metadata.uid ?? '');
    workers.remove(pod.metadata.uid ?? '', forcedGraceSeconds);
  }

  return {
    async begin(signal) {
      const synced = Promise.all([informer.synced, options.servicesSynced]);
      const isAway = await Promise.race([synced.then(() => false), elapsed(signal)]);
      const restored = isAway && !signal.aborted ? await restore() : [];
      await synced;
      options.setOffline(false);
      const known = new Set(informer.list().map(({ metadata }) => metadata.uid));
      // Deleted while nobody could tell.
      for (const uid of restored) if (!known.has(uid)) workers.remove(uid);
      for (const uid of restored) workers.wake(uid);
      informer.subscribe({ added: update, updated: (_, pod) => update(pod), deleted: remove });
    },
    async beginStatic(signal) {
      // What the API server knows of them, if it is there, so that an agent that starts again takes up where it was.
      await Promise.race([informer.synced, clock.sleep(mirrorWaitMs, signal).catch(() => undefined)]);
      await Promise.all(statics.map((source) => source.refresh(signal)));
    },
    run: (signal) => runGroup([{ run: informer.run }, mirrors, checkpoint, ...statics], signal),
  };
}
