// Mirror pods: what the API server shows of static pods, so that they can be seen there. One is made for each static
// pod, again when it was deleted or no longer fits, and removed when the static pod goes.
import type { Logger } from 'pino';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isAlreadyExists, isConflict, isNotFound } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import { createWorkQueue } from '#kube/queue/work-queue.ts';
import { configHashAnnotation, configMirrorAnnotation } from '../container/labels.ts';

export interface MirrorPodsOptions {
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  /** The Node object, which owns the mirror pods; undefined before it is registered. */
  node(): Node | undefined;
}

export interface MirrorPods {
  staticAdded(pod: Pod): void;
  staticRemoved(pod: Pod): void;
  /** The API server shows a mirror pod, or shows it no longer. */
  mirrorSeen(pod: Pod): void;
  mirrorGone(pod: Pod): void;
  run(signal: AbortSignal): Promise<void>;
}

function keyOf(pod: Pod): string {
  return `${pod.metadata.namespace}/${pod.metadata.name}`;
}

/** The uid of the static pod that a mirror pod stands for; undefined for other pods. */
export function staticUidOf(pod: Pod): string | undefined {
  return pod.metadata.annotations?.[configMirrorAnnotation];
}

function mirrorOf(pod: Pod, node: Node) {
  const { name, namespace, labels, annotations } = pod.metadata;
  const { uid, name: nodeName } = node.metadata;
  const hash = annotations?.[configHashAnnotation] ?? '';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels,
      annotations: { ...annotations, [configMirrorAnnotation]: hash },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: uid ?? '', controller: true }],
    },
    spec: pod.spec,
  };
}

/** Creates the manager; pods are made and removed while `run` runs. */
export function createMirrorPods(options: MirrorPodsOptions): MirrorPods {
  const { client, clock, logger } = options;
  const statics = new Map<string, Pod>();
  const mirrors = new Map<string, Pod>();
  const queue = createWorkQueue<string>({ clock, logger, baseDelayMs: 500, maxDelayMs: 60_000 });

  async function remove(mirror: Pod, signal: AbortSignal): Promise<void> {
    const { name, namespace, uid } = mirror.metadata;
    const body = { gracePeriodSeconds: 0, ...(uid === undefined ? {} : { preconditions: { uid } }) };
    await client.delete(pods, { namespace, name }, body, { signal }).catch((error: unknown) => {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    });
  }

  async function sync(key: string, signal: AbortSignal): Promise<void | { requeueAfterMs: number }> {
    const wanted = statics.get(key);
    const mirror = mirrors.get(key);
    const fits = wanted !== undefined && mirror !== undefined && staticUidOf(mirror) === wanted.metadata.uid;
    if (mirror !== undefined && (!fits || mirror.metadata.deletionTimestamp !== undefined)) {
      await remove(mirror, signal);
      return undefined;
    }
    if (wanted === undefined || mirror !== undefined) return undefined;
    const node = options.node();
    if (node === undefined) return { requeueAfterMs: 1000 };
    await client.create(pods, wanted.metadata.namespace, mirrorOf(wanted, node), { signal }).catch((error: unknown) => {
      if (!isAlreadyExists(error)) throw error;
    });
    return undefined;
  }

  const change = (map: Map<string, Pod>, pod: Pod, present: boolean) => {
    const key = keyOf(pod);
    if (present) map.set(key, pod);
    else if (map.get(key)?.metadata.uid === pod.metadata.uid) map.delete(key);
    queue.add(key);
  };
  return {
    staticAdded: (pod) => change(statics, pod, true),
    staticRemoved: (pod) => change(statics, pod, false),
    mirrorSeen: (pod) => change(mirrors, pod, true),
    mirrorGone: (pod) => change(mirrors, pod, false),
    run: (signal) => queue.run(sync, { concurrency: 2, signal }),
  };
}
