// What the verbs work with: the store, its cache, the rules of kinds, strategies and admission.
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { Admission } from '../admission/plugin.ts';
import type { Backend, StoredEntry } from '../storage/backend.ts';
import type { Attributes } from '../storage/cache/attributes.ts';
import type { ResourceCache } from '../storage/cache/resource-cache.ts';
import type { WatchCache } from '../storage/cache/watch-cache.ts';
import type { ApplyDefaults, ValidateCreate, ValidateUpdate } from './kind-rules.ts';
import type { FieldManagement } from './managed-fields/field-management.ts';
import type { ObjectParser, ObjectReader } from './object-reader.ts';
import type { ResourceTable, ServedResource } from './resource-table.ts';
import type { Schema } from './schema.ts';
import type { Strategy } from './strategy.ts';

export interface KindRules {
  applyDefaults: ApplyDefaults;
  validateCreate: ValidateCreate;
  validateUpdate: ValidateUpdate;
}

/** Everything a verb needs. One per server. */
export interface Registry {
  backend: Backend;
  cache: WatchCache;
  table: ResourceTable;
  schema: Schema;
  rules: KindRules;
  strategyOf(resource: Resource): Strategy;
  admission: Admission;
  objects: ObjectReader;
  parse: ObjectParser;
  fields: FieldManagement;
  /** Labels and selectable fields, worked out while the object is at hand. */
  readAttributes(served: ServedResource, object: KubeObject): Attributes;
}

/** An object as a verb leaves it. Dry runs have no entry. */
export interface Written {
  object: KubeObject;
  entry: StoredEntry | undefined;
}

export function cacheOf(registry: Registry, served: ServedResource): ResourceCache {
  return registry.cache.resource(served.storagePrefix);
}
