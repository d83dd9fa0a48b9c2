// PATCH: JSON patch, merge patch, strategic merge patch and server-side apply, on objects and on subresources.
import type { KubeObject } from '#kube/api/resource.ts';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import { applyJsonPatch } from '../../patch/json-patch.ts';
import { applyMergePatch } from '../../patch/merge-patch.ts';
import { applyStrategicMergePatch } from '../../patch/strategic-merge-patch.ts';
import { objectKeyIn } from '../../registry/object-reader.ts';
import { cacheOf, type Written } from '../../registry/registry.ts';
import type { RequestContext } from '../../registry/request-context.ts';
import type { ServedResource } from '../../registry/resource-table.ts';
import { badRequest, notFound } from '../../registry/status-errors.ts';
import { fromStored, toStored } from '../../registry/stored-version.ts';
import { createObject } from '../../registry/verbs/create.ts';
import { updateObject } from '../../registry/verbs/update.ts';
import { type ApiContext, namespaceOf, type ResourceHandler } from '../api-context.ts';
import { decodeAs, type FieldValidation, parseBody, parseFieldValidation } from '../http/decode-body.ts';
import { refuseDuplicateKeys } from '../http/duplicate-keys.ts';
import type { Exchange } from '../http/exchange.ts';
import { invalidOption } from '../http/invalid-option.ts';
import { readBody } from '../http/read-body.ts';
import { checkAppliedType } from './applied-type.ts';
import { requestContext } from './request-options.ts';
import { sendWritten } from './write.ts';

export type PatchKind = 'json' | 'merge' | 'strategic' | 'apply';

const mediaTypes: Record<string, PatchKind> = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
  'application/apply-patch+yaml': 'apply',
};

function unsupportedPatch(): StatusError {
  return failure(415, 'UnsupportedMediaType', '415: Unsupported Media Type', {});
}

function unsupportedForCustom(): StatusError {
  const accepted = 'application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml';
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted}`;
  return failure(415, 'UnsupportedMediaType', message, {});
}

/** Which kind of patch a request carries. Throws StatusError 415. */
export function patchKindOf(exchange: Exchange): PatchKind {
  const type = (exchange.request.headers['content-type'] ?? '').split(';')[0]?.trim() ?? '';
  const kind = mediaTypes[type];
  if (kind === undefined) throw unsupportedPatch();
  return kind;
}

/** A function that patches an object of the served type; its result is not checked yet. Throws StatusError. */
export function patcherFor(
  api: ApiContext,
  kind: Exclude<PatchKind, 'apply'>,
  patch: unknown,
  target: { group: string; version: string; kind: string },
): (object: object) => unknown {
  switch (kind) {
    case 'json':
      return (object) => applyJsonPatch(object, patch);
    case 'merge':
      return (object) => applyMergePatch(object, patch);
    case 'strategic':
      return (object) => applyStrategicMergePatch(object, patch, api.registry.schema.typeOf(target));
    default:
      return kind satisfies never;
  }
}

export const patchObject: ResourceHandler = async (api, exchange, served) => {
  const kind = patchKindOf(exchange);
  const body = await readBody(exchange.request);
  const validation = parseFieldValidation(exchange.info);
  const context = requestContext(exchange);
  const format = kind === 'apply' ? 'application/yaml' : 'application/json';
  const patch = parseBody(body, format, served.resource.kind, exchange.protobuf);
  if (kind === 'apply') {
    if (validation === 'Strict') refuseDuplicateKeys(body.toString());
    await applyConfiguration(api, exchange, served, patch, validation, context);
    return;
  }
  if (exchange.info.query.get('force') !== null) {
    throw invalidOption('patch', 'force', 'FieldValueForbidden', 'Forbidden: may not be specified for non-apply patch');
  }
  if (kind === 'strategic' && served.isCustom === true) throw unsupportedForCustom();
  const apply = patcherFor(api, kind, patch, served.resource);
  const { name, subresource } = exchange.info;
  const change = (current: KubeObject): KubeObject => {
    const patched = apply(fromStored(served, current));
    return toStored(served, decodeAs(patched, served.resource, api.registry.schema, validation, context.warn));
  };
  const request = { namespace: namespaceOf(exchange, served), name, subresource, change, isPatch: true };
  sendWritten(api, exchange, served, 200, await updateObject(api.registry, served, request, context));
};

function checkApplyOptions(exchange: Exchange): { force: boolean } {
  const { query } = exchange.info;
  if ((query.get('fieldManager') ?? '') === '') {
    const message = 'Required value: is required for apply patch';
    throw invalidOption('patch', 'fieldManager', 'FieldValueRequired', message);
  }
  return { force: query.get('force') === 'true' };
}

/** Server-side apply: creates the object when there is none, else merges by field ownership. */
async function applyConfiguration(
  api: ApiContext,
  exchange: Exchange,
  served: ServedResource,
  patch: unknown,
  validation: FieldValidation,
  context: RequestContext,
): Promise<void> {
  const { registry } = api;
  const { force } = checkApplyOptions(exchange);
  const { name, subresource } = exchange.info;
  const namespace = namespaceOf(exchange, served);
  checkAppliedType(patch, served, registry.schema);
  const decoded = decodeAs(patch, served.resource, registry.schema, validation, context.warn, { isPartial: true });
  if (decoded.metadata.managedFields !== undefined) throw badRequest('metadata.managedFields must be nil');
  decoded.metadata.name ??= name;
  const configuration = toStored(served, decoded);
  const resource = served.stored;
  const exists = cacheOf(registry, served).get(objectKeyIn(served.storagePrefix, namespace, name)) !== undefined;
  if (!exists) {
    if (subresource !== '') throw notFound(resource, name);
    const live: KubeObject = { metadata: { name } };
    const complete = decodeAs(structuredClone(configuration), resource, registry.schema, 'Ignore', context.warn);
    const manage = (object: KubeObject) =>
      registry.fields.appliedFinally({ resource, live, configuration, subresource, force }, object, context);
    const created: Written = await createObject(registry, served, namespace, complete, context, manage);
    sendWritten(api, exchange, served, 201, created);
    return;
  }
  const applyTo = (live: KubeObject) => ({ resource, live, configuration, subresource, force });
  const request = {
    namespace,
    name,
    subresource,
    isPatch: true,
    change: (current: KubeObject) =>
      decodeAs(
        structuredClone(registry.fields.applied(applyTo(current), context)),
        resource,
        registry.schema,
        'Ignore',
        context.warn,
      ),
    manageFields: (object: KubeObject, previous: KubeObject) =>
      registry.fields.appliedFinally(applyTo(previous), object, context),
  };
  sendWritten(api, exchange, served, 200, await updateObject(registry, served, request, context));
}
