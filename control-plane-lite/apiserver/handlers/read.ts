// GET of one object and of lists: bytes from the watch cache, in the form that was asked for.

import { failure, StatusError } from '#kube/errors/status-error.ts';
import { objectKeyIn } from '../../registry/object-reader.ts';
import { cacheOf } from '../../registry/registry.ts';
import type { ServedResource } from '../../registry/resource-table.ts';
import { attributesReaderFor } from '../../registry/selectable-fields.ts';
import { shownEntries } from '../../registry/shown-entries.ts';
import { notFound } from '../../registry/status-errors.ts';
import { CompactedError } from '../../storage/backend.ts';
import type { CacheList, CacheListOptions, ResourceCache } from '../../storage/cache/resource-cache.ts';
import { type ApiContext, namespaceOf, type ResourceHandler } from '../api-context.ts';
import type { Exchange } from '../http/exchange.ts';
import { sendBytes } from '../http/exchange.ts';
import {
  currentRevision,
  encodeContinue,
  type ParsedListOptions,
  parseListOptions,
  parseResourceVersion,
} from '../http/list-options.ts';
import { negotiate } from '../http/negotiate.ts';
import { representerFor } from '../representation.ts';
import { listViewed, type Viewed } from '../watch/viewed-entries.ts';
import { reachRevision } from './reach-revision.ts';

export const getObject: ResourceHandler = async (api, exchange, served) => {
  const { info } = exchange;
  const representer = representerFor(negotiate(exchange.request.headers.accept, served), served, info.query, {
    ...api,
    parse: api.registry.parse,
  });
  const wanted = parseResourceVersion(info.query.get('resourceVersion') ?? '');
  const cache = cacheOf(api.registry, served);
  if (wanted !== undefined) await reachRevision(api, cache, wanted);
  const key = objectKeyIn(served.storagePrefix, namespaceOf(exchange, served), info.name);
  const entry = wanted === undefined ? await cache.getNewest(key) : cache.get(key);
  if (entry === undefined) throw notFound(served.resource, info.name);
  const [shown = entry] = await shownEntries(served, [entry]);
  sendBytes(exchange, 200, representer.contentType, representer.one(shown));
};

/** The key prefix that a request's namespace selects; an empty namespace selects all. */
export function prefixOf(exchange: Exchange, served: ServedResource): string {
  const namespace = namespaceOf(exchange, served);
  return namespace === '' ? served.storagePrefix : `${served.storagePrefix}${namespace}/`;
}

/** Carries a token with which the rest can be had all the same, as it is now. */
function tooOldToContinue(startAfter: string): StatusError {
  const message =
    'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.';
  const { status } = failure(410, 'Expired', message);
  return new StatusError({ ...status, metadata: { continue: encodeContinue(currentRevision, startAfter) } });
}

/** The entries that a request selects. Throws StatusError, CompactedError or FutureRevisionError. */
export async function selectEntries(
  api: ApiContext,
  exchange: Exchange,
  served: ServedResource,
  options: ParsedListOptions,
): Promise<CacheList> {
  const cache = cacheOf(api.registry, served);
  const exact = options.resourceVersionMatch === 'Exact' ? options.resourceVersion : undefined;
  const { match, limit, startAfter } = options;
  const continued = options.continueRevision === currentRevision ? undefined : options.continueRevision;
  await reachRevision(api, cache, Math.max(options.resourceVersion ?? 0, continued ?? 0));
  const selection = { prefix: prefixOf(exchange, served), match, limit, startAfter };
  const revision = continued ?? exact;
  try {
    if (revision === undefined && options.resourceVersion === undefined && viewedOf(served, cache) === undefined)
      return await cache.listNewest(selection);
    return await listOf(served, cache, { ...selection, revision });
  } catch (error) {
    if (error instanceof CompactedError && options.continueRevision !== undefined)
      throw tooOldToContinue(options.startAfter);
    throw error;
  }
}

/** A list in the version that is served. */
export async function listOf(
  served: ServedResource,
  cache: ResourceCache,
  options: CacheListOptions,
): Promise<CacheList> {
  const viewed = viewedOf(served, cache);
  return viewed === undefined ? await cache.list(options) : await listViewed(viewed, options);
}

/** How to show what is not shown as it is stored; undefined for all others. */
export function viewedOf(served: ServedResource, cache: ResourceCache): Viewed | undefined {
  const { view, resource, selectableFields } = served;
  if (view?.converts !== true) return undefined;
  return { cache, view, read: attributesReaderFor(resource, selectableFields) };
}

/** The JSON of a list's metadata. */
export function listMetaOf(list: CacheList): string {
  const last = list.entries.at(-1);
  return JSON.stringify({
    resourceVersion: String(list.revision),
    ...(list.more && last !== undefined ? { continue: encodeContinue(list.revision, last.key) } : {}),
    ...(list.remaining === undefined ? {} : { remainingItemCount: list.remaining }),
  });
}

export const listObjects: ResourceHandler = async (api, exchange, served) => {
  const { info } = exchange;
  const representer = representerFor(negotiate(exchange.request.headers.accept, served), served, info.query, {
    ...api,
    parse: api.registry.parse,
  });
  const list = await selectEntries(api, exchange, served, parseListOptions(info.query, served));
  sendBytes(exchange, 200, representer.contentType, await representer.many(list.entries, listMetaOf(list)));
};
