// POST, PUT and DELETE on objects and collections.
import type { DeleteOptions } from '#kube/api/generated/meta-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { objectKeyIn } from '../../registry/object-reader.ts';
import { cacheOf, type Written } from '../../registry/registry.ts';
import type { ServedResource } from '../../registry/resource-table.ts';
import { shownEntries } from '../../registry/shown-entries.ts';
import { badRequest } from '../../registry/status-errors.ts';
import { fromStored, toStored } from '../../registry/stored-version.ts';
import { createObject } from '../../registry/verbs/create.ts';
import { deleteObject } from '../../registry/verbs/delete.ts';
import { deleteCollection } from '../../registry/verbs/delete-collection.ts';
import { updateObject } from '../../registry/verbs/update.ts';
import { type ApiContext, namespaceOf, type ResourceHandler } from '../api-context.ts';
import { decodeAs, jsonTextOf, parseBody, parseFieldValidation } from '../http/decode-body.ts';
import { type Exchange, sendBytes, sendObject } from '../http/exchange.ts';
import { invalidOption } from '../http/invalid-option.ts';
import { parseListOptions } from '../http/list-options.ts';
import { negotiate } from '../http/negotiate.ts';
import { readBody } from '../http/read-body.ts';
import { representerFor } from '../representation.ts';
import { listMetaOf, selectEntries } from './read.ts';
import { requestContext } from './request-options.ts';

/** Kinds that a deletion answers with the object rather than with a Status. */
const returnsDeleted = new Set([
  '/Pod',
  '/Service',
  '/ServiceAccount',
  '/PodTemplate',
  '/PersistentVolume',
  '/PersistentVolumeClaim',
  '/ResourceQuota',
]);

/** Reads and checks the object of a request, in the stored version. */
export async function readObject(api: ApiContext, exchange: Exchange, served: ServedResource): Promise<KubeObject> {
  const body = await readBody(exchange.request);
  const parsed = parseBody(body, exchange.request.headers['content-type'], served.resource.kind, exchange.protobuf);
  const validation = parseFieldValidation(exchange.info);
  const warn = (warning: string) => exchange.warnings.push(warning);
  const text = jsonTextOf(body, exchange.request.headers['content-type']);
  return toStored(served, decodeAs(parsed, served.resource, api.registry.schema, validation, warn, { text }));
}

/** Answers with an object that was written. */
export function sendWritten(
  api: ApiContext,
  exchange: Exchange,
  served: ServedResource,
  code: number,
  written: Written,
): void {
  if (written.entry === undefined) {
    sendObject(exchange, code, fromStored(served, written.object));
    return;
  }
  const representer = representerFor(negotiate(exchange.request.headers.accept, served), served, exchange.info.query, {
    ...api,
    parse: api.registry.parse,
  });
  sendBytes(exchange, code, representer.contentType, representer.one(written.entry));
}

export const postObject: ResourceHandler = async (api, exchange, served) => {
  negotiate(exchange.request.headers.accept, served);
  const object = await readObject(api, exchange, served);
  const context = requestContext(exchange);
  const written = await createObject(api.registry, served, namespaceOf(exchange, served), object, context);
  sendWritten(api, exchange, served, 201, written);
};

export const putObject: ResourceHandler = async (api, exchange, served) => {
  negotiate(exchange.request.headers.accept, served);
  const { name, subresource } = exchange.info;
  const object = await readObject(api, exchange, served);
  if ((object.metadata.name ?? '') === '') throw badRequest('name must be provided');
  const context = requestContext(exchange);
  const namespace = namespaceOf(exchange, served);
  const strategy = api.registry.strategyOf(served.stored);
  const key = objectKeyIn(served.storagePrefix, namespace, name);
  const mayCreate = strategy.allowCreateOnUpdate === true && subresource === '';
  if (mayCreate && cacheOf(api.registry, served).get(key) === undefined && object.metadata.name === name) {
    sendWritten(api, exchange, served, 201, await createObject(api.registry, served, namespace, object, context));
    return;
  }
  const request = { namespace, name, subresource, change: () => structuredClone(object) };
  sendWritten(api, exchange, served, 200, await updateObject(api.registry, served, request, context));
};

/** Options of a deletion: the body's where there is one, and the query's. */
export async function readDeleteOptions(exchange: Exchange): Promise<DeleteOptions> {
  const body = await readBody(exchange.request);
  const options =
    body.length === 0
      ? {}
      : (parseBody(
          body,
          exchange.request.headers['content-type'],
          'DeleteOptions',
          exchange.protobuf,
        ) as DeleteOptions);
  const { query } = exchange.info;
  const grace = query.get('gracePeriodSeconds');
  const policy = query.get('propagationPolicy');
  const orphan = query.get('orphanDependents');
  if (grace !== null && !/^-?\d+$/.test(grace))
    throw badRequest(`gracePeriodSeconds must be a whole number, not ${grace}`);
  if (options.dryRun !== undefined && options.dryRun !== null) {
    for (const value of options.dryRun) query.append('dryRun', value);
  }
  const asked: DeleteOptions = {
    ...options,
    ...(grace === null ? {} : { gracePeriodSeconds: Number(grace) }),
    ...(policy === null ? {} : { propagationPolicy: policy }),
    ...(orphan === null ? {} : { orphanDependents: orphan === 'true' }),
  };
  checkPropagation(asked);
  return asked;
}

const propagationPolicies = ['Foreground', 'Background', 'Orphan'];

/** Nothing is deleted in a way that nobody asked for. */
function checkPropagation({ propagationPolicy, orphanDependents }: DeleteOptions): void {
  if ((propagationPolicy ?? null) === null) return;
  const given = JSON.stringify(propagationPolicy);
  if ((orphanDependents ?? null) !== null) {
    const why = `Invalid value: ${given}: orphanDependents and deletionPropagation cannot be both set`;
    throw invalidOption('delete', 'propagationPolicy', 'FieldValueInvalid', why);
  }
  if (!propagationPolicies.includes(String(propagationPolicy))) {
    const supported = [...propagationPolicies, 'nil'].map((name) => JSON.stringify(name)).join(', ');
    const why = `Unsupported value: ${given}: supported values: ${supported}`;
    throw invalidOption('delete', 'propagationPolicy', 'FieldValueNotSupported', why);
  }
}

export const deleteOne: ResourceHandler = async (api, exchange, served) => {
  const options = await readDeleteOptions(exchange);
  const { name } = exchange.info;
  const namespace = namespaceOf(exchange, served);
  const deleted = await deleteObject(api.registry, served, namespace, name, options, requestContext(exchange));
  const { group, plural, kind } = served.resource;
  if (!deleted.isGone || returnsDeleted.has(`${group}/${kind}`)) {
    sendWritten(api, exchange, served, 200, deleted);
    return;
  }
  sendObject(exchange, 200, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { name, ...(group === '' ? {} : { group }), kind: plural, uid: deleted.object.metadata.uid },
  });
};

export const deleteMany: ResourceHandler = async (api, exchange, served) => {
  const options = await readDeleteOptions(exchange);
  const list = await selectEntries(api, exchange, served, parseListOptions(exchange.info.query, served));
  const deleted = await deleteCollection(api.registry, served, list.entries, options, requestContext(exchange));
  const representer = representerFor(negotiate(exchange.request.headers.accept, served), served, exchange.info.query, {
    ...api,
    parse: api.registry.parse,
  });
  sendBytes(
    exchange,
    200,
    representer.contentType,
    await representer.many(await shownEntries(served, deleted), listMetaOf({ ...list, more: false })),
  );
};
