// A controller's own writes that its informer has not shown yet, so that a sync does not decide on an older state.
import type { KubeObject } from '#kube/api/resource.ts';
import { objectKey } from '#kube/api/resource.ts';
import type { Lister } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';

/** How long a write is waited for: only a missed event can take this long. */
const maxUnseenMs = 10_000;

interface Write {
  object: KubeObject;
  deleted: boolean;
  atMs: number;
}

export interface UnseenWrites {
  /** Told after a create, update or delete was answered. `owner` is the queue's key. */
  wrote(owner: string, object: KubeObject, deleted?: boolean): void;
  /** Whether the informer is behind one of the owner's writes. */
  isBehind(owner: string): boolean;
}

/** Whether the lister shows the write or something newer. Revisions are numbers that grow. */
function isSeen<T extends KubeObject>(lister: Lister<T>, { object, deleted }: Write): boolean {
  const shown = lister.get(objectKey(object));
  if (shown === undefined || shown.metadata.uid !== object.metadata.uid) return deleted;
  if (deleted) return shown.metadata.deletionTimestamp !== undefined;
  return Number(shown.metadata.resourceVersion) >= Number(object.metadata.resourceVersion);
}

/** One per controller and kind of object written. */
export function createUnseenWrites<T extends KubeObject>(lister: Lister<T>, clock: Clock): UnseenWrites {
  const byOwner = new Map<string, Map<string, Write>>();
  return {
    wrote(owner, object, deleted = false) {
      const writes = byOwner.get(owner) ?? new Map<string, Write>();
      writes.set(objectKey(object), { object, deleted, atMs: clock.monotonicMs() });
      byOwner.set(owner, writes);
    },
    isBehind(owner) {
      const writes = byOwner.get(owner);
      if (writes === undefined) return false;
      for (const [key, write] of writes) {
        if (isSeen(lister, write) || clock.monotonicMs() - write.atMs > maxUnseenMs) writes.delete(key);
      }
      if (writes.size === 0) byOwner.delete(owner);
      return writes.size > 0;
    },
  };
}
