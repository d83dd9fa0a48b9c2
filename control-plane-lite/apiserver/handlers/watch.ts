// GET with watch: initial state where wanted, then events as they become durable, bookmarks, and an orderly end.
import { randomInt } from 'node:crypto';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import { cacheOf } from '../../registry/registry.ts';
import type { ServedResource } from '../../registry/resource-table.ts';
import { CompactedError } from '../../storage/backend.ts';
import type { ResourceCache, WatchNotice } from '../../storage/cache/resource-cache.ts';
import type { ApiContext, ResourceHandler } from '../api-context.ts';
import type { Exchange } from '../http/exchange.ts';
import { type ParsedListOptions, parseListOptions } from '../http/list-options.ts';
import { type Negotiated, negotiate } from '../http/negotiate.ts';
import { asStatusError } from '../http/send-error.ts';
import { representerFor } from '../representation.ts';
import type { Representer } from '../representer.ts';
import { sendInitialState } from '../watch/send-initial-state.ts';
import { watchViewed } from '../watch/viewed-entries.ts';
import { createResponseSink, type WatchSink } from '../watch/watch-sink.ts';
import { reachRevision } from './reach-revision.ts';
import { listOf, prefixOf, viewedOf } from './read.ts';

const bookmarkEveryMs = 60_000;
const minTimeoutSeconds = 1800;
const lastBookmarkMs = 2000;
/** Timers run out at once beyond this. */
const longestTimerMs = 2 ** 31 - 1;

function bookmarkFrame(
  served: ServedResource,
  negotiated: Negotiated,
  representer: Representer,
  revision: number,
  isInitialEnd: boolean,
): Buffer {
  const annotations = isInitialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {};
  const metadata = { resourceVersion: String(revision), creationTimestamp: null, ...annotations };
  const object =
    negotiated.representation === 'table'
      ? {
          kind: 'Table',
          apiVersion: `meta.k8s.io/${negotiated.metaVersion}`,
          metadata: { resourceVersion: String(revision) },
          columnDefinitions: null,
          rows: [{ cells: [], object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata } }],
        }
      : negotiated.representation === 'metadata'
        ? { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${negotiated.metaVersion}`, metadata }
        : { kind: served.resource.kind, apiVersion: served.apiVersion, metadata };
  return representer.frame('BOOKMARK', object);
}

/** A watch of one object by its path is one by its name. */
function named(options: ParsedListOptions, name: string): ParsedListOptions {
  if (name === '') return options;
  const { match, selection } = options;
  return {
    ...options,
    match: (attributes) => attributes.fields['metadata.name'] === name && match?.(attributes) !== false,
    selection: `${selection}\n${name}`,
  };
}

/** Sends the current state. Resolves with its revision. */
async function beginWithState(
  cache: ResourceCache,
  exchange: Exchange,
  served: ServedResource,
  options: ParsedListOptions,
  representer: Representer,
  sink: WatchSink,
): Promise<number> {
  const selection = { prefix: prefixOf(exchange, served), match: options.match };
  const { revision, entries } = await listOf(served, cache, selection);
  await sendInitialState(entries, representer, sink);
  return revision;
}

function isShared(negotiated: Negotiated): boolean {
  return negotiated.representation === 'object';
}

/** Resolves when the stream is over: timed out, left by the client, or the server stops. */
function untilOver(api: ApiContext, sink: WatchSink, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, Math.min(timeoutMs, longestTimerMs));
    function end(): void {
      clearTimeout(timer);
      api.stopping.removeEventListener('abort', end);
      resolve();
    }
    sink.onClose(end);
    api.stopping.addEventListener('abort', end);
    if (api.stopping.aborted || sink.isClosed) end();
  });
}

function watchFailure(error: unknown): StatusError {
  if (!(error instanceof CompactedError)) return asStatusError(error);
  const { requested, compactedRevision } = error;
  return failure(410, 'Expired', `too old resource version: ${requested} (${compactedRevision})`);
}

/** Of a client that does not read its events: it may go on from the last one that it has read. */
const tooSlow = failure(429, 'TooManyRequests', 'the events of the watch were read too slowly, please watch again', {
  retryAfterSeconds: 1,
});

/** Bookmarks now and then, and one before the stream ends: the client resumes from there. Returns how to stop. */
function sendBookmarks(send: () => void, timeoutMs: number): () => void {
  const regular = setInterval(send, bookmarkEveryMs);
  const lastMs = timeoutMs - lastBookmarkMs;
  const last = lastMs > 0 && lastMs < longestTimerMs ? setTimeout(send, lastMs) : undefined;
  return () => {
    clearInterval(regular);
    clearTimeout(last);
  };
}

/** Serves a watch into a sink. Throws StatusError before the stream has begun; later failures travel in it. */
export async function serveWatch(
  api: ApiContext,
  exchange: Exchange,
  served: ServedResource,
  sink: WatchSink,
): Promise<void> {
  const { info } = exchange;
  const negotiated = negotiate(exchange.request.headers.accept, { isCustom: served.isCustom, isStream: true });
  const deps = { ...api, parse: api.registry.parse };
  const representer = representerFor(negotiated, served, info.query, deps);
  const options = named(parseListOptions(info.query, served, true), info.name);
  const cache = cacheOf(api.registry, served);
  const from = options.resourceVersion ?? 0;
  await reachRevision(api, cache, from);
  const wantsInitial = options.sendInitialEvents ?? from === 0;
  const { write } = sink;
  await sink.begin(representer.streamType, representer.frame('ERROR', tooSlow.status));
  let stop = (): void => undefined;
  let revisionNow = (): number => cache.revision;
  try {
    const after = wantsInitial
      ? await beginWithState(cache, exchange, served, options, representer, sink)
      : from === 0
        ? cache.revision
        : from;
    const prefix = prefixOf(exchange, served);
    const shareKey = isShared(negotiated)
      ? `${negotiated.mediaType}\n${served.apiVersion}\n${prefix}\n${options.selection}`
      : undefined;
    const selection = { cache, prefix, match: options.match, shareKey, encode: representer.event };
    if (wantsInitial && options.sendInitialEvents === true && options.allowBookmarks) {
      write(bookmarkFrame(served, negotiated, representer, after, true));
    }
    const viewed = viewedOf(served, cache);
    if (viewed === undefined) stop = await api.watches.open(selection, after, write);
    else {
      const tell = (notices: readonly WatchNotice[]) =>
        write(Buffer.concat(notices.map(({ type, entry }) => representer.event(type, entry))));
      const fail = (error: unknown) => {
        write(representer.frame('ERROR', watchFailure(error).status));
        sink.end();
      };
      const watch = await watchViewed(viewed, selection, after, tell, fail);
      stop = watch.stop;
      revisionNow = watch.revision;
    }
  } catch (error) {
    // The stream has begun: failures travel in it, as events.
    write(representer.frame('ERROR', watchFailure(error).status));
    sink.end();
    return;
  }
  exchange.initialised?.();
  const seconds =
    options.timeoutSeconds > 0 ? options.timeoutSeconds : randomInt(minTimeoutSeconds, 2 * minTimeoutSeconds);
  const bookmark = () => write(bookmarkFrame(served, negotiated, representer, revisionNow(), false));
  const stopBookmarks = options.allowBookmarks ? sendBookmarks(bookmark, seconds * 1000) : undefined;
  await untilOver(api, sink, seconds * 1000);
  stopBookmarks?.();
  stop();
  sink.end();
}

export const watchObjects: ResourceHandler = (api, exchange, served) =>
  serveWatch(api, exchange, served, createResponseSink(exchange));
