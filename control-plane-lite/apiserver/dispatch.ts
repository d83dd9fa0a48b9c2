// From an authorized request to the handler of its resource, verb and subresource.
import type { ServedResource } from '../registry/resource-table.ts';
import { methodNotAllowed, methodNotSupported, pathNotFound } from '../registry/status-errors.ts';
import type { ApiContext, ResourceHandler } from './api-context.ts';
import { patchObject } from './handlers/patch.ts';
import { getObject, listObjects } from './handlers/read.ts';
import { watchObjects } from './handlers/watch.ts';
import { deleteMany, deleteOne, postObject, putObject } from './handlers/write.ts';
import { type Exchange, sendText } from './http/exchange.ts';
import { requireObject } from './http/negotiate.ts';
import { admitConnect } from './subresources/admit-connect.ts';

const verbHandlers: Record<string, ResourceHandler> = {
  get: getObject,
  list: listObjects,
  watch: watchObjects,
  create: postObject,
  update: putObject,
  patch: patchObject,
  delete: deleteOne,
  deletecollection: deleteMany,
};

/** Handlers by `plural/subresource`, or by `subresource` alone for those of many resources; then by verb. */
export type SubresourceHandlers = Readonly<Record<string, Readonly<Record<string, ResourceHandler>>>>;

/** Handlers of resources that are computed and not stored, by group and plural. */
export type VirtualHandlers = Readonly<Record<string, ResourceHandler>>;

export interface Routes {
  subresources: SubresourceHandlers;
  virtual: VirtualHandlers;
}

/** Told to whoever uses what is to go. */
const deprecations: Record<string, string> = {
  'v1/componentstatuses': 'v1 ComponentStatus is deprecated in v1.19+',
  'v1/endpoints': 'v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice',
};

const actions: Record<string, string> = { deletecollection: 'delete', update: 'update', patch: 'patch' };

function handlerFor(routes: Routes, exchange: Exchange, served: ServedResource): ResourceHandler | undefined {
  const { verb, subresource } = exchange.info;
  const { plural, group } = served.resource;
  if (subresource !== '') {
    const known = served.subresources.get(subresource);
    if (known === undefined) return undefined;
    const handlers = routes.subresources[`${plural}/${subresource}`] ?? routes.subresources[subresource];
    return handlers?.[verb];
  }
  const virtual = routes.virtual[`${group}/${plural}`];
  if (virtual !== undefined) {
    // What is only computed has no table and no metadata to show.
    if (verb === 'create') requireObject(exchange.request.headers.accept);
    return served.verbs.has(verb) ? virtual : undefined;
  }
  return served.verbs.has(verb) || (verb === 'watch' && served.verbs.has('watch')) ? verbHandlers[verb] : undefined;
}

/** Whether the method fits the path: names are given where one object is meant, and writes name their namespace. */
function isPlausible({ info, request }: Exchange, { resource }: ServedResource): boolean {
  if (info.subresource !== '') return true;
  const isNamed = info.name !== '' && info.verb !== 'deletecollection';
  const reads = request.method === 'GET' || request.method === 'HEAD';
  if (info.verb === 'create') return info.name === '' && (!resource.namespaced || info.namespace !== '');
  if (info.verb === 'update' || info.verb === 'patch' || info.verb === 'delete') return isNamed;
  if (info.verb === 'deletecollection') return !resource.namespaced || info.namespace !== '';
  return reads || info.verb === 'watch';
}

/** Serves a resource request, or answers 404 or 405. */
export async function dispatch(api: ApiContext, routes: Routes, exchange: Exchange): Promise<void> {
  const { info } = exchange;
  const served = api.registry.table.find(info.group, info.version, info.plural);
  const isUnknownSubresource =
    served !== undefined && info.subresource !== '' && !served.subresources.has(info.subresource);
  if (served === undefined || isUnknownSubresource) {
    if (api.registry.table.isBuiltInGroup(info.group)) throw pathNotFound();
    sendText(exchange, 404, '404 page not found\n');
    return;
  }
  if (!isPlausible(exchange, served)) throw methodNotAllowed();
  const deprecation = served.deprecationWarning ?? deprecations[`${served.apiVersion}/${served.resource.plural}`];
  if (deprecation !== undefined) exchange.warnings.push(deprecation);
  const handler = handlerFor(routes, exchange, served);
  if (handler === undefined) {
    if (served.isCustom !== true) throw methodNotAllowed();
    throw methodNotSupported(served.resource, actions[info.verb] ?? info.verb);
  }
  await admitConnect(api, exchange, served);
  await handler(api, exchange, served);
}
