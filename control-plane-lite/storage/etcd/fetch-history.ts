// Changes that happened before anybody here watched, from etcd's own history.
import type { EtcdClient, WatchedEvent } from './etcd-client.ts';

export interface Past {
  /** In order; undefined when there were more than wanted, or they cannot be had any more. */
  events?: WatchedEvent[];
  /** Set when etcd has compacted what was asked for. */
  compactedRevision?: number;
}

export interface PastOptions {
  afterRevision: number;
  /** The last revision wanted. Something must have happened after it, else the end is never seen. */
  until: number;
  limit: number;
}

const patienceMs = 10_000;

/** Watches from the past until the present is reached. */
export function fetchHistory(
  client: Pick<EtcdClient, 'watch'>,
  { key, rangeEnd }: { key: Buffer; rangeEnd: Buffer },
  { afterRevision, until, limit }: PastOptions,
): Promise<Past> {
  return new Promise((resolve) => {
    const events: WatchedEvent[] = [];
    let stop = (): void => undefined;
    const finish = (past: Past) => {
      clearTimeout(timer);
      stop();
      resolve(past);
    };
    const timer = setTimeout(() => finish({}), patienceMs);
    // From the revision itself: etcd still tells of one that it has compacted, but not what was there before.
    stop = client.watch(key, rangeEnd, afterRevision, {
      created: () => undefined,
      events: (more) => {
        events.push(...more.filter(({ kv }) => kv.modRevision > afterRevision && kv.modRevision <= until));
        if (events.length > limit) finish({});
        else if (more.some(({ kv }) => kv.modRevision > until)) finish({ events });
      },
      ended: (_error, compactRevision) =>
        finish(compactRevision === undefined ? {} : { compactedRevision: compactRevision }),
    });
  });
}
