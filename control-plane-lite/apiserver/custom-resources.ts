// Custom resources: follows the definitions, serves what they define, and tells them so. A definition that is deleted
// takes its objects with it.
import type { Logger } from 'pino';
import { customresourcedefinitions } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import {
  customStoragePrefix,
  type Definition,
  definedResources,
  selectableFieldsOf,
} from '../registry/custom/custom-definition.ts';
import { type CustomKinds, schemaOf } from '../registry/custom/custom-kinds.ts';
import { structuralType } from '../registry/custom/structural-type.ts';
import { timestamp } from '../registry/object-meta.ts';
import type { Registry } from '../registry/registry.ts';
import type { RequestContext } from '../registry/request-context.ts';
import type { DiscoveredResource, ServedResource } from '../registry/resource-table.ts';
import type { RawSchema } from '../registry/schema.ts';
import { attributesReaderFor } from '../registry/selectable-fields.ts';
import { deleteCollection } from '../registry/verbs/delete-collection.ts';
import { updateObject } from '../registry/verbs/update.ts';

const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io';
const metadataReference = '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';

export interface CustomResourcesDeps {
  registry: Registry;
  kinds: CustomKinds;
  logger: Logger;
  /** The context of the server's own writes. */
  context(): RequestContext;
}

/** `com.example.v1.Foo` for a kind of example.com/v1. */
function definitionName(group: string, version: string, kind: string): string {
  return `${group.split('.').reverse().join('.')}.${version}.${kind}`;
}

function registerSchemas({ registry }: CustomResourcesDeps, { spec }: Definition): void {
  const { group, names } = spec;
  for (const version of spec.versions) {
    const gvk = { group, version: version.name, kind: names.kind };
    const schema = schemaOf(version);
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
    const name = definitionName(group, version.name, names.kind);
    registry.schema.register(gvk, raw, structuralType(schema, name, registry.schema));
  }
}

function conditions(nowMs: number): object[] {
  const lastTransitionTime = timestamp(nowMs);
  return [
    { type: 'NamesAccepted', status: 'True', lastTransitionTime, reason: 'NoConflicts', message: 'no conflicts found' },
    {
      type: 'Established',
      status: 'True',
      lastTransitionTime,
      reason: 'InitialNamesAccepted',
      message: 'the initial names have been accepted',
    },
  ];
}

const isEstablished = ({ status }: Definition): boolean =>
  (status?.conditions ?? []).some((condition) => condition.type === 'Established' && condition.status === 'True');

/** Says that the definition is served, and holds it until its objects are gone. */
async function establish({ registry, context }: CustomResourcesDeps, definition: Definition): Promise<void> {
  const served = registry.table.get(customresourcedefinitions);
  const { name } = definition.metadata;
  const own = context();
  const base = { namespace: '', name, isPatch: true };
  const hold = ({ metadata, ...rest }: KubeObject): KubeObject => {
    const finalizers = metadata.finalizers ?? [];
    return {
      ...rest,
      metadata: {
        ...metadata,
        finalizers: [...finalizers.filter((each) => each !== cleanupFinalizer), cleanupFinalizer],
      },
    };
  };
  await updateObject(registry, served, { ...base, subresource: '', change: hold }, own);
  const accept = (current: KubeObject): KubeObject => {
    const { spec, status } = current as Definition;
    const storedVersions =
      status?.storedVersions ?? spec.versions.filter(({ storage }) => storage).map((version) => version.name);
    return {
      ...current,
      status: { conditions: conditions(own.nowMs), acceptedNames: spec.names, storedVersions },
    } as KubeObject;
  };
  await updateObject(registry, served, { ...base, subresource: 'status', change: accept }, own);
}

/** Deletes the objects of a definition and lets it go. */
async function cleanUp({ registry, context }: CustomResourcesDeps, definition: Definition): Promise<void> {
  const [defined] = definedResources(definition);
  if (defined !== undefined) {
    const entries = [...registry.cache.resource(defined.served.storagePrefix).walk()];
    await deleteCollection(registry, defined.served, entries, {}, context());
    if (registry.cache.resource(defined.served.storagePrefix).size > 0) return;
  }
  const release = ({ metadata, ...rest }: KubeObject): KubeObject => ({
    ...rest,
    metadata: { ...metadata, finalizers: (metadata.finalizers ?? []).filter((each) => each !== cleanupFinalizer) },
  });
  const request = { namespace: '', name: definition.metadata.name, subresource: '', change: release, isPatch: true };
  await updateObject(registry, registry.table.get(customresourcedefinitions), request, context());
}

/** Brings what is served in line with the definitions there are. */
async function sync(deps: CustomResourcesDeps): Promise<void> {
  const { registry, kinds } = deps;
  const definitions = registry.objects.list(customresourcedefinitions) as Definition[];
  const custom = new Map<string, { discovered: DiscoveredResource[]; served: ServedResource[] }>();
  for (const definition of definitions) {
    registerSchemas(deps, definition);
    for (const { groupVersion, served, discovered } of definedResources(definition)) {
      const group = custom.get(groupVersion) ?? { discovered: [], served: [] };
      group.discovered.push(...discovered);
      group.served.push(served);
      custom.set(groupVersion, group);
    }
    const [defined] = definedResources(definition);
    if (defined === undefined) continue;
    await registry.cache.declare({
      prefix: customStoragePrefix(definition),
      read: attributesReaderFor(defined.served.stored, [
        ...new Set(definition.spec.versions.flatMap(selectableFieldsOf)),
      ]),
    });
  }
  kinds.replace(definitions);
  registry.table.setCustom(custom);
  for (const definition of definitions) {
    if (definition.metadata.deletionTimestamp !== undefined) await cleanUp(deps, definition);
    else if (!isEstablished(definition)) await establish(deps, definition);
  }
}

/** Serves the definitions that are stored, and follows them from then on, one change after the other. */
export async function followDefinitions(deps: CustomResourcesDeps): Promise<void> {
  const { registry, logger } = deps;
  let isRunning = false;
  let isDue = false;
  const run = async (): Promise<void> => {
    isDue = true;
    if (isRunning) return;
    isRunning = true;
    try {
      while (isDue) {
        isDue = false;
        await sync(deps);
      }
    } catch (error) {
      if (!isNotFound(error)) logger.error({ err: error }, 'could not bring the custom resources up to date');
    } finally {
      isRunning = false;
    }
  };
  const { storagePrefix } = registry.table.get(customresourcedefinitions);
  registry.cache.onChange(storagePrefix, () => queueMicrotask(() => void run()));
  await run();
}
