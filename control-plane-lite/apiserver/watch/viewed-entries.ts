// Lists and watches of resources that are not shown as they are stored. What selectors look at is what is shown.
import type { CustomView } from '../../registry/shown-entries.ts';
import { shownEntries } from '../../registry/shown-entries.ts';
import type { StoredEntry } from '../../storage/backend.ts';
import { type AttributesReader, attributesOf } from '../../storage/cache/attributes.ts';
import {
  type CacheList,
  type CacheListOptions,
  type Match,
  type ResourceCache,
  type WatchNotice,
  withNewRevision,
} from '../../storage/cache/resource-cache.ts';

export interface Viewed {
  cache: ResourceCache;
  view: CustomView;
  /** Reads what selectors look at, of an object as it is shown. */
  read: AttributesReader;
}

/** A list of entries as they are shown. */
export async function listViewed({ cache, view, read }: Viewed, options: CacheListOptions): Promise<CacheList> {
  const { match, limit = 0, ...rest } = options;
  if (match === undefined) {
    const page = await cache.list(options);
    return { ...page, entries: [...(await shownEntries({ view }, page.entries))] };
  }
  const all = await cache.list(rest);
  const shown = (await shownEntries({ view }, all.entries)).filter((entry) => match(attributesOf(entry, read)));
  const more = limit > 0 && shown.length > limit;
  return { revision: all.revision, entries: more ? shown.slice(0, limit) : shown, more, remaining: undefined };
}

/** What a change means to who watches a selection of what is shown. */
async function noticesOf(
  { view, read }: Viewed,
  match: Match | undefined,
  notices: readonly WatchNotice[],
): Promise<WatchNotice[]> {
  const belongs = (entry: StoredEntry | undefined) =>
    entry !== undefined && (match === undefined || match(attributesOf(entry, read)));
  const result: WatchNotice[] = [];
  for (const { type, entry, previous } of notices) {
    const [now] = await shownEntries({ view }, [entry]);
    if (now === undefined) continue;
    const before =
      previous === undefined || match === undefined ? undefined : (await shownEntries({ view }, [previous]))[0];
    const was = match === undefined ? type !== 'ADDED' : belongs(before);
    const is = type !== 'DELETED' && belongs(now);
    if (is) result.push({ type: was ? 'MODIFIED' : 'ADDED', entry: now });
    else if (was) {
      const left = type !== 'DELETED' && before !== undefined;
      result.push({ type: 'DELETED', entry: left ? withNewRevision(before, entry.revision) : now });
    }
  }
  return result;
}

export interface ViewedWatch {
  stop(): void;
  /** Everything up to this revision was told. */
  revision(): number;
}

/** Tells of each change after a revision, in order. What cannot be converted ends the watch by `fail`. */
export async function watchViewed(
  viewed: Viewed,
  selection: { prefix: string; match: Match | undefined },
  afterRevision: number,
  tell: (notices: readonly WatchNotice[]) => void,
  fail: (error: unknown) => void,
): Promise<ViewedWatch> {
  const { cache } = viewed;
  const everything = { prefix: selection.prefix, match: undefined };
  let told = afterRevision;
  let stop = (): void => undefined;
  let queue = Promise.resolve();
  let isOver = false;
  const take = (notices: readonly WatchNotice[], revision: number) => {
    queue = queue
      .then(async () => {
        if (isOver) return;
        const mine = await noticesOf(viewed, selection.match, notices);
        if (isOver) return;
        if (mine.length > 0) tell(mine);
        told = Math.max(told, revision);
      })
      .catch((error: unknown) => {
        if (isOver) return;
        isOver = true;
        stop();
        fail(error);
      });
  };
  await cache.resume(everything, afterRevision, (notices, revision) => {
    take(notices, revision);
    stop = cache.follow(everything, take);
  });
  return {
    stop: () => {
      isOver = true;
      stop();
    },
    revision: () => told,
  };
}
