// OpenAPI v3 documents by group version, made from the schema facts and the resource table: enough for kubectl
// explain, for validation, and for clients that ask which parameters a resource takes.
import { createHash } from 'node:crypto';
import type { ResourceTable, ServedResource } from '../../registry/resource-table.ts';
import type { Schema } from '../../registry/schema.ts';
import { sendBytes, sendJson, sendText } from '../http/exchange.ts';
import type { PathHandler } from '../non-resource.ts';
import { rebuilt } from '../rebuilt.ts';
import { gitVersion } from '../version.ts';

type Json = Record<string, unknown>;

const oldPrefix = '#/definitions/';
const newPrefix = '#/components/schemas/';

const stringParameter = (name: string, type = 'string') => ({ name, in: 'query', schema: { type, uniqueItems: true } });
const pathParameter = (name: string) => ({
  name,
  in: 'path',
  required: true,
  schema: { type: 'string', uniqueItems: true },
});

const writeParameters = ['dryRun', 'fieldManager', 'fieldValidation'].map((name) => stringParameter(name));
const listParameters = [
  stringParameter('allowWatchBookmarks', 'boolean'),
  ...['continue', 'fieldSelector', 'labelSelector', 'resourceVersion', 'resourceVersionMatch'].map((name) =>
    stringParameter(name),
  ),
  stringParameter('limit', 'integer'),
  stringParameter('sendInitialEvents', 'boolean'),
  stringParameter('timeoutSeconds', 'integer'),
  stringParameter('watch', 'boolean'),
];

/** Moves references to where v3 keeps schemas; a reference beside other keys is wrapped, as v3 demands. */
function convertSchema(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(convertSchema);
  if (typeof value !== 'object' || value === null) return value;
  const { $ref, ...rest } = value as Json & { $ref?: string };
  const converted = Object.fromEntries(Object.entries(rest).map(([key, item]) => [key, convertSchema(item)]));
  if (typeof $ref !== 'string') return converted;
  const reference = { $ref: $ref.replace(oldPrefix, newPrefix) };
  return Object.keys(converted).length === 0 ? reference : { ...converted, allOf: [reference] };
}

function collect(schema: Schema, name: string, into: Map<string, unknown>): void {
  if (into.has(name)) return;
  const raw = schema.definitions[name];
  if (raw === undefined) return;
  into.set(name, convertSchema(raw));
  const text = JSON.stringify(raw);
  for (const [, reference] of text.matchAll(/"#\/definitions\/([^"]+)"/g)) collect(schema, reference ?? '', into);
}

/** One operation of a resource. */
function operation(action: string, gvk: object, reference: string | undefined, parameters: object[]): Json {
  const content = reference === undefined ? {} : { 'application/json': { schema: { $ref: newPrefix + reference } } };
  const hasBody = action === 'post' || action === 'put' || action === 'patch';
  return {
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvk,
    parameters,
    ...(hasBody ? { requestBody: { content } } : {}),
    responses: { '200': { description: 'OK', content } },
  };
}

const methodOf: Record<string, string> = { get: 'get', update: 'put', patch: 'patch', delete: 'delete' };

function itemOperations(
  served: ServedResource,
  verbs: ReadonlySet<string>,
  gvk: object,
  reference: string | undefined,
): Json {
  const operations: Json = {};
  for (const verb of verbs) {
    const method = methodOf[verb];
    if (method === undefined) continue;
    const parameters =
      verb === 'get'
        ? []
        : verb === 'patch'
          ? [...writeParameters, stringParameter('force', 'boolean')]
          : writeParameters;
    operations[method] = operation(method, gvk, reference, parameters);
  }
  if (verbs.has('create') && served.verbs !== verbs)
    operations['post'] = operation('post', gvk, reference, writeParameters);
  return operations;
}

function pathsOf(schema: Schema, served: ServedResource, paths: Json): void {
  const { group, version, kind, plural, namespaced } = served.resource;
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const gvk = { group, version, kind };
  const reference = schema.nameOf(gvk);
  const base = namespaced ? `${root}/namespaces/{namespace}/${plural}` : `${root}/${plural}`;
  const shared = [...(namespaced ? [pathParameter('namespace')] : []), stringParameter('pretty')];
  const listReference = schema.nameOf({ group, version, kind: `${kind}List` });
  const collection: Json = { parameters: shared };
  if (served.verbs.has('list')) collection['get'] = operation('list', gvk, listReference, listParameters);
  if (served.verbs.has('create')) collection['post'] = operation('post', gvk, reference, writeParameters);
  if (served.verbs.has('deletecollection')) {
    collection['delete'] = operation('deletecollection', gvk, undefined, listParameters);
  }
  paths[base] = collection;
  if (namespaced && served.verbs.has('list')) {
    paths[`${root}/${plural}`] = { get: operation('list', gvk, listReference, listParameters), parameters: [] };
  }
  if (served.verbs.has('get')) {
    const item = itemOperations(served, served.verbs, gvk, reference);
    paths[`${base}/{name}`] = { ...item, parameters: [pathParameter('name'), ...shared] };
  }
  for (const sub of served.subresources.values()) {
    const subGvk = { group: sub.group, version: sub.version, kind: sub.kind };
    const item = itemOperations(served, sub.verbs, subGvk, schema.nameOf(subGvk));
    paths[`${base}/{name}/${sub.name}`] = { ...item, parameters: [pathParameter('name'), ...shared] };
  }
}

function buildDocument(schema: Schema, table: ResourceTable, groupVersion: string): Buffer {
  const paths: Json = {};
  const schemas = new Map<string, unknown>();
  for (const served of table.all) {
    if (served.apiVersion !== groupVersion) continue;
    pathsOf(schema, served, paths);
    const { group, version, kind } = served.resource;
    const kinds = [{ group, version, kind }, { group, version, kind: `${kind}List` }, ...served.subresources.values()];
    for (const each of kinds) {
      const name = schema.nameOf({ group: each.group, version: each.version, kind: each.kind });
      if (name !== undefined) collect(schema, name, schemas);
    }
  }
  const info = { title: 'Kubernetes', version: gitVersion };
  const document = { openapi: '3.0.0', info, paths, components: { schemas: Object.fromEntries(schemas) } };
  return Buffer.from(JSON.stringify(document));
}

/**
 * Serves /openapi/v3 and the documents below it; each is built when first asked for. `remote` are documents that other
 * servers have, by their place in the index.
 */
export function createOpenApiV3Handler(
  schema: Schema,
  table: ResourceTable,
  remote: () => ReadonlyMap<string, string> = () => new Map(),
): PathHandler {
  const pathOf = (groupVersion: string) =>
    groupVersion.includes('/') ? `apis/${groupVersion}` : `api/${groupVersion}`;
  const current = rebuilt(table, () => {
    const groupVersions = new Map(table.groupVersions.map((groupVersion) => [pathOf(groupVersion), groupVersion]));
    const facts = JSON.stringify([table.discovery, schema.definitions]);
    const hash = createHash('sha256').update(facts).update(gitVersion).digest('hex').toUpperCase();
    const paths = [...groupVersions.keys()].map((path) => [
      path,
      { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` },
    ]);
    const others = [...remote()].map(([path, serverRelativeURL]) => [path, { serverRelativeURL }]);
    const index = Buffer.from(JSON.stringify({ paths: Object.fromEntries([...paths, ...others]) }));
    return { groupVersions, hash, index, documents: new Map<string, Buffer>() };
  });
  return (exchange) => {
    const { path } = exchange.info;
    const { groupVersions, hash, index, documents } = current();
    if (path === '/openapi/v3' || path === '/openapi/v3/') {
      sendJson(exchange, 200, index);
      return true;
    }
    if (!path.startsWith('/openapi/v3/')) return false;
    const name = path.slice('/openapi/v3/'.length);
    const groupVersion = groupVersions.get(name);
    if (groupVersion === undefined) {
      sendText(exchange, 404, '404 page not found\n');
      return true;
    }
    let document = documents.get(name);
    if (document === undefined) {
      document = buildDocument(schema, table, groupVersion);
      documents.set(name, document);
    }
    const { response } = exchange;
    response.setHeader('Etag', `"${hash}"`);
    sendBytes(exchange, 200, 'application/json', document);
    return true;
  };
}
