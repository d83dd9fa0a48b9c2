// GET with watch: initial state where wanted, then events as they become durable, bookmarks, and an orderly end.
import { randomInt } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import { cacheOf } from '../../registry/registry.ts';
import type { ServedResource } from '../../registry/resource-table.ts';
import { CompactedError, FutureRevisionError } from '../../storage/backend.ts';
import type { ResourceCache } from '../../storage/cache/resource-cache.ts';
import type { ApiContext, ResourceHandler } from '../api-context.ts';
import { type Exchange, warningHeaders } from '../http/exchange.ts';
import { type ParsedListOptions, parseListOptions } from '../http/list-options.ts';
import { type Negotiated, negotiate } from '../http/negotiate.ts';
import { asStatusError } from '../http/send-error.ts';
import { representerFor } from '../representation.ts';
import type { Representer } from '../representer.ts';
import { prefixOf } from './read.ts';

const bookmarkEveryMs = 60_000;
const minTimeoutSeconds = 1800;
/** A client that reads this much slower than the cluster changes is cut off and lists again. */
const maxBufferedBytes = 64 * 1024 * 1024;

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

function writer(response: ServerResponse): (frames: Buffer) => void {
  return (frames) => {
    if (response.destroyed || response.writableEnded) return;
    response.write(frames);
    if (response.writableLength > maxBufferedBytes) response.destroy();
  };
}

/** Writes the current state as ADDED events. Returns its revision. */
async function sendInitialState(
  cache: ResourceCache,
  exchange: Exchange,
  served: ServedResource,
  options: ParsedListOptions,
  representer: Representer,
  write: (frames: Buffer) => void,
): Promise<number> {
  const { revision, entries } = await cache.list({ prefix: prefixOf(exchange, served), match: options.match });
  if (entries.length > 0) write(Buffer.concat(entries.map((entry) => representer.event('ADDED', entry))));
  return revision;
}

function isShared(negotiated: Negotiated): boolean {
  return negotiated.representation === 'object';
}

/** Resolves when the stream is over: timed out, left by the client, or the server stops. */
function untilOver(api: ApiContext, response: ServerResponse, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, timeoutMs);
    function end(): void {
      clearTimeout(timer);
      response.off('close', end);
      api.stopping.removeEventListener('abort', end);
      resolve();
    }
    response.on('close', end);
    api.stopping.addEventListener('abort', end);
    if (api.stopping.aborted || response.destroyed) end();
  });
}

function watchFailure(error: unknown): StatusError {
  if (!(error instanceof CompactedError)) return asStatusError(error);
  const { requested, compactedRevision } = error;
  return failure(410, 'Expired', `too old resource version: ${requested} (${compactedRevision})`);
}

export const watchObjects: ResourceHandler = async (api, exchange, served) => {
  const { info, response } = exchange;
  const negotiated = negotiate(exchange.request.headers.accept, { isCustom: served.isCustom, isStream: true });
  const deps = { ...api, parse: api.registry.parse };
  const representer = representerFor(negotiated, served, info.query, deps);
  const options = named(parseListOptions(info.query, served), info.name);
  const cache = cacheOf(api.registry, served);
  const from = options.resourceVersion ?? 0;
  if (from > cache.revision) throw new FutureRevisionError(from, cache.revision);
  const wantsInitial = options.sendInitialEvents ?? from === 0;
  const write = writer(response);
  const begin = () => {
    response.writeHead(200, {
      'Content-Type': representer.streamType,
      'Cache-Control': 'no-cache, private',
      ...(exchange.warnings.length > 0 ? { Warning: warningHeaders(exchange.warnings) } : {}),
    });
    response.flushHeaders();
  };
  begin();
  let stop = (): void => undefined;
  try {
    const after = wantsInitial
      ? await sendInitialState(cache, exchange, served, options, representer, write)
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
    stop = await api.watches.open(selection, after, write);
  } catch (error) {
    // The stream has begun: failures travel in it, as events.
    response.end(representer.frame('ERROR', watchFailure(error).status));
    return;
  }
  const bookmarks = options.allowBookmarks
    ? setInterval(() => write(bookmarkFrame(served, negotiated, representer, cache.revision, false)), bookmarkEveryMs)
    : undefined;
  const seconds =
    options.timeoutSeconds > 0 ? options.timeoutSeconds : randomInt(minTimeoutSeconds, 2 * minTimeoutSeconds);
  await untilOver(api, response, seconds * 1000);
  clearInterval(bookmarks);
  stop();
  response.end();
};
