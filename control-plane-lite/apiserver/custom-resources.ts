// Custom resources: follows the definitions, serves what they define, and tells them so. A definition that is deleted
// takes its objects with it.

import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { customresourcedefinitions } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { createCoalescedRun } from '#kube/queue/coalesced-run.ts';
import { webhookConversion } from '../registry/custom/convert-objects.ts';
import {
  customStoragePrefix,
  type DefinedVersion,
  type Definition,
  definedResources,
  selectableFieldsOf,
} from '../registry/custom/custom-definition.ts';
import { type CustomKinds, schemaOf } from '../registry/custom/custom-kinds.ts';
import { createCustomView } from '../registry/custom/custom-view.ts';
import { computeDefinitionStatus, isEstablished, withCondition } from '../registry/custom/definition-status.ts';
import { structuralType } from '../registry/custom/structural-type.ts';
import type { Registry } from '../registry/registry.ts';
import type { RequestContext } from '../registry/request-context.ts';
import type { DiscoveredResource, ServedResource } from '../registry/resource-table.ts';
import type { RawSchema } from '../registry/schema.ts';
import { attributesReaderFor } from '../registry/selectable-fields.ts';
import type { CustomView } from '../registry/shown-entries.ts';
import { deleteCollection } from '../registry/verbs/delete-collection.ts';
import { updateObject } from '../registry/verbs/update.ts';
import type { CallWebhook } from '../webhooks/call-webhook.ts';

const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io';
const metadataReference = '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';
const listMetaReference = '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta';

export interface CustomResourcesDeps {
  registry: Registry;
  kinds: CustomKinds;
  callWebhook: CallWebhook;
  logger: Logger;
  /** The context of the server's own writes. */
  context(): RequestContext;
  /** Told when what is served may have changed. */
  changed(): void;
}

/** `com.example.v1.Foo` for a kind of example.com/v1. */
function definitionName(group: string, version: string, kind: string): string {
  return `${group.split('.').reverse().join('.')}.${version}.${kind}`;
}

function registerSchema({ registry }: CustomResourcesDeps, { spec }: Definition, version: DefinedVersion): void {
  const { group, names } = spec;
  const gvk = { group, version: version.name, kind: names.kind };
  const schema = schemaOf(version);
  const name = definitionName(group, version.name, names.kind);
  const raw = {
    ...schema,
    properties: {
      ...schema.properties,
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { $ref: metadataReference },
    },
    'x-kubernetes-group-version-kind': [gvk],
  } as RawSchema;
  registry.schema.register(gvk, raw, structuralType(schema, name, registry.schema));
  const listKind = names.listKind ?? `${names.kind}List`;
  const list = {
    type: 'object',
    required: ['items'],
    properties: {
      apiVersion: { type: 'string' },
      items: { type: 'array', items: { $ref: `#/definitions/${name}` } },
      kind: { type: 'string' },
      metadata: { $ref: listMetaReference },
    },
    'x-kubernetes-group-version-kind': [{ ...gvk, kind: listKind }],
  } as RawSchema;
  const listName = definitionName(group, version.name, listKind);
  registry.schema.register(
    { ...gvk, kind: listKind },
    list,
    structuralType({ type: 'object' }, listName, registry.schema),
  );
}

function viewOf(
  { registry, callWebhook }: CustomResourcesDeps,
  { spec }: Definition,
  version: DefinedVersion,
): CustomView {
  const { group, names, versions, conversion } = spec;
  const stored = versions.find(({ storage }) => storage)?.name ?? version.name;
  return createCustomView({
    apiVersion: `${group}/${version.name}`,
    storedApiVersion: `${group}/${stored}`,
    isMixed: versions.length > 1,
    schema: schemaOf(version),
    type: registry.schema.typeOf({ group, version: version.name, kind: names.kind }),
    convert: webhookConversion(conversion, callWebhook),
  });
}

/** Holds a definition until its objects are gone. */
function held({ metadata, ...rest }: KubeObject): KubeObject {
  const finalizers = metadata.finalizers ?? [];
  if (finalizers.includes(cleanupFinalizer)) return { ...rest, metadata };
  return { ...rest, metadata: { ...metadata, finalizers: [...finalizers, cleanupFinalizer] } };
}

/** Brings what a definition says of itself in line with what is served. */
async function settle({ registry, context }: CustomResourcesDeps, definition: Definition): Promise<void> {
  const served = registry.table.get(customresourcedefinitions);
  const { name, finalizers = [] } = definition.metadata;
  const own = context();
  const base = { namespace: '', name, isPatch: true };
  if (!finalizers.includes(cleanupFinalizer)) {
    await updateObject(registry, served, { ...base, subresource: '', change: held }, own);
  }
  const all = registry.objects.list(customresourcedefinitions) as Definition[];
  const status = computeDefinitionStatus(definition, all, own.nowMs);
  if (isDeepStrictEqual(status, definition.status)) return;
  const change = (current: KubeObject): KubeObject => {
    const { status: _status, ...rest } = current as Definition;
    return { ...rest, status: computeDefinitionStatus(current as Definition, all, own.nowMs) } as KubeObject;
  };
  await updateObject(registry, served, { ...base, subresource: 'status', change }, own);
}

const terminating = {
  type: 'Terminating',
  status: 'True',
  reason: 'InstanceDeletionInProgress',
  message: 'CustomResource deletion is in progress',
};

/** Deletes the objects of a definition and lets it go once none is left. */
async function cleanUp({ registry, context }: CustomResourcesDeps, definition: Definition): Promise<void> {
  const [defined] = definedResources(definition);
  const table = registry.table.get(customresourcedefinitions);
  const base = { namespace: '', name: definition.metadata.name, isPatch: true };
  const conditions = definition.status?.conditions ?? [];
  if (!(definition.metadata.finalizers ?? []).includes(cleanupFinalizer)) return;
  if (!conditions.some(({ type }) => type === 'Terminating')) {
    const change = (current: KubeObject): KubeObject => {
      const { status } = current as Definition;
      const changed = { ...status, conditions: withCondition(status?.conditions ?? [], terminating, context().nowMs) };
      return { ...current, status: changed } as KubeObject;
    };
    await updateObject(registry, table, { ...base, subresource: 'status', change }, context());
  }
  if (defined !== undefined) {
    const cache = registry.cache.resource(defined.served.storagePrefix);
    const alive = [...cache.walk()].filter((entry) => registry.parse(entry).metadata.deletionTimestamp === undefined);
    await deleteCollection(registry, defined.served, alive, {}, context());
    if (cache.size > 0) return;
  }
  const release = ({ metadata, ...rest }: KubeObject): KubeObject => ({
    ...rest,
    metadata: { ...metadata, finalizers: (metadata.finalizers ?? []).filter((each) => each !== cleanupFinalizer) },
  });
  await updateObject(registry, table, { ...base, subresource: '', change: release }, context());
}

/** Schemas of versions that are no longer served are no longer published. */
class PublishedSchemas {
  #published = new Map<string, { group: string; version: string; kind: string }>();

  replace(deps: CustomResourcesDeps, definitions: readonly Definition[]): void {
    const next = new Map<string, { group: string; version: string; kind: string }>();
    for (const definition of definitions) {
      const { group, names } = definition.spec;
      for (const version of definition.spec.versions) {
        if (!version.served) continue;
        registerSchema(deps, definition, version);
        for (const kind of [names.kind, names.listKind ?? `${names.kind}List`]) {
          next.set(`${group}/${version.name}/${kind}`, { group, version: version.name, kind });
        }
      }
    }
    for (const [key, gvk] of this.#published) if (!next.has(key)) deps.registry.schema.unregister(gvk);
    this.#published = next;
  }
}

/** Brings what is served in line with the definitions there are. */
async function serve(
  deps: CustomResourcesDeps,
  schemas: PublishedSchemas,
  watched: Set<string>,
  again: () => void,
): Promise<void> {
  const { registry, kinds } = deps;
  const definitions = (registry.objects.list(customresourcedefinitions) as Definition[]).filter(isEstablished);
  const custom = new Map<string, { discovered: DiscoveredResource[]; served: ServedResource[] }>();
  schemas.replace(deps, definitions);
  for (const definition of definitions) {
    const prefix = customStoragePrefix(definition);
    const fields = [...new Set(definition.spec.versions.flatMap(selectableFieldsOf))];
    const [first] = definedResources(definition);
    if (first === undefined) continue;
    await registry.cache.declare({ prefix, read: attributesReaderFor(first.served.stored, fields) });
    // The last object of a definition that goes away lets it go.
    if (!watched.has(prefix)) {
      watched.add(prefix);
      registry.cache.onChange(prefix, ({ type }) => {
        if (type === 'delete') again();
      });
    }
    const view = (version: DefinedVersion) => (version.served ? viewOf(deps, definition, version) : undefined);
    for (const { groupVersion, version, served, discovered } of definedResources(definition, view)) {
      if (!version.served) continue;
      const group = custom.get(groupVersion) ?? { discovered: [], served: [] };
      group.discovered.push(...discovered);
      group.served.push(served);
      custom.set(groupVersion, group);
    }
  }
  kinds.replace(definitions);
  registry.table.setCustom(custom);
}

/** Serves the definitions that are stored, and follows them from then on, one change after the other. */
export async function followDefinitions(deps: CustomResourcesDeps): Promise<void> {
  const { registry, logger } = deps;
  const schemas = new PublishedSchemas();
  const watched = new Set<string>();
  const list = () => registry.objects.list(customresourcedefinitions) as Definition[];
  const isGoing = ({ metadata }: Definition) => metadata.deletionTimestamp !== undefined;
  const sync = async (): Promise<void> => {
    for (const definition of list()) if (!isGoing(definition)) await settle(deps, definition);
    await serve(deps, schemas, watched, afterObject);
    deps.changed();
    for (const definition of list()) if (isGoing(definition)) await cleanUp(deps, definition);
  };
  const run = createCoalescedRun(sync, (error) => {
    if (!isNotFound(error)) logger.error({ err: error }, 'could not bring the custom resources up to date');
  });
  function afterObject(): void {
    if (list().some(isGoing)) run.soon();
  }
  const { storagePrefix } = registry.table.get(customresourcedefinitions);
  registry.cache.onChange(storagePrefix, run.soon);
  await run.now();
}
