// The pods a controller owns, as it knows them: the informer's copy plus its own writes that the informer has not
// seen yet. With it a controller never creates a pod twice nor deletes two for one because its cache was late.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { objectKey } from '#kube/api/resource.ts';
import { formatTime } from '#kube/api/time.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { byController } from './shared-informers.ts';

/** How long a write is believed without having been seen: only a missed event can take this long. */
const maxUnseenMs = 300_000;

export interface OwnedPods {
  /** Pods whose managing controller has this uid, own writes included. */
  list(ownerUid: string): Pod[];
  /** Told after a pod was created. */
  created(pod: Pod): void;
  /** Told after the deletion of a pod was accepted. */
  deleted(pod: Pod): void;
}

/** One per controller; it subscribes to the informer. */
export function createOwnedPods(pods: Informer<Pod>, clock: Clock): OwnedPods {
  const createdByOwner = new Map<string, Map<string, { pod: Pod; atMs: number }>>();
  const deletedUids = new Map<string, number>();

  function forgetCreated(pod: Pod): void {
    const owner = controllerOf(pod)?.uid ?? '';
    const unseen = createdByOwner.get(owner);
    if (unseen?.delete(pod.metadata.uid ?? '') === true && unseen.size === 0) createdByOwner.delete(owner);
  }

  pods.subscribe({
    added: forgetCreated,
    updated: (_, pod) => {
      if (pod.metadata.deletionTimestamp !== undefined) deletedUids.delete(pod.metadata.uid ?? '');
    },
    deleted: (pod) => {
      forgetCreated(pod);
      deletedUids.delete(pod.metadata.uid ?? '');
    },
  });

  function asDeleted(pod: Pod): Pod {
    const uid = pod.metadata.uid ?? '';
    const atMs = deletedUids.get(uid);
    if (atMs === undefined || pod.metadata.deletionTimestamp !== undefined) return pod;
    if (clock.monotonicMs() - atMs > maxUnseenMs) {
      deletedUids.delete(uid);
      return pod;
    }
    return { ...pod, metadata: { ...pod.metadata, deletionTimestamp: formatTime(clock.now()) } };
  }

  return {
    list(ownerUid) {
      const seen = pods.byIndex(byController, ownerUid).map(asDeleted);
      const unseen = createdByOwner.get(ownerUid);
      if (unseen === undefined) return seen;
      for (const [uid, { atMs }] of unseen) {
        if (clock.monotonicMs() - atMs > maxUnseenMs) unseen.delete(uid);
      }
      return [...seen, ...[...unseen.values()].map(({ pod }) => asDeleted(pod))];
    },
    created(pod) {
      const owner = controllerOf(pod)?.uid;
      const { uid } = pod.metadata;
      if (owner === undefined || uid === undefined) return;
      if (pods.get(objectKey(pod))?.metadata.uid === uid) return;
      const unseen = createdByOwner.get(owner) ?? new Map<string, { pod: Pod; atMs: number }>();
      unseen.set(uid, { pod, atMs: clock.monotonicMs() });
      createdByOwner.set(owner, unseen);
    },
    deleted(pod) {
      deletedUids.set(pod.metadata.uid ?? '', clock.monotonicMs());
    },
  };
}
