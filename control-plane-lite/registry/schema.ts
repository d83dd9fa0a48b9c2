// The API's type definitions as a graph: fields, list types, merge keys, read once from kube/api/data.
// Decoding, patching, server-side apply and OpenAPI all walk this one graph.
import { readFileSync } from 'node:fs';

export interface ObjectType {
  readonly kind: 'object';
  readonly name: string;
  readonly fields: ReadonlyMap<string, Field>;
  readonly required: ReadonlySet<string>;
  /** Replaced as a whole by server-side apply. */
  readonly isAtomic: boolean;
  /** A custom type: its values are validated by rules of their own, and empty ones are kept. */
  readonly isLoose?: boolean;
  /** Fields that are not listed are kept. */
  readonly keepsUnknown?: boolean;
}

export interface MapType {
  readonly kind: 'map';
  readonly values: Type;
  readonly isAtomic: boolean;
}

export interface ListType {
  readonly kind: 'list';
  readonly items: Type;
  readonly listType: 'atomic' | 'set' | 'map';
  readonly mapKeys: readonly string[];
}

export interface ScalarType {
  readonly kind: 'scalar';
  readonly type: 'string' | 'integer' | 'number' | 'boolean';
  readonly format: string;
}

/** Free-form JSON. */
export interface AnyType {
  readonly kind: 'any';
}

export type Type = ObjectType | MapType | ListType | ScalarType | AnyType;

/** A field of an object: its type, and how strategic merge patch treats it. */
export interface Field {
  readonly type: Type;
  readonly patchStrategies: readonly string[];
  readonly patchMergeKey: string | undefined;
}

/** A definition as the data file has it. */
export interface RawSchema {
  type?: string;
  format?: string;
  description?: string;
  $ref?: string;
  properties?: Record<string, RawSchema>;
  required?: string[];
  items?: RawSchema;
  additionalProperties?: RawSchema | boolean;
  'x-kubernetes-list-type'?: string;
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-map-type'?: string;
  'x-kubernetes-patch-strategy'?: string;
  'x-kubernetes-patch-merge-key'?: string;
  'x-kubernetes-group-version-kind'?: { group: string; version: string; kind: string }[];
}

const anyType: AnyType = { kind: 'any' };
const refPrefix = '#/definitions/';
const quantityName = 'io.k8s.apimachinery.pkg.api.resource.Quantity';
// Types whose JSON form is not what their definition says.
const freeForm = new Set([
  'io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1',
  'io.k8s.apimachinery.pkg.runtime.RawExtension',
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON',
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray',
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool',
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray',
]);

/** All definitions, by name and by group, version and kind. */
export class Schema {
  readonly #definitions: Record<string, RawSchema>;
  readonly #types = new Map<string, Type>();
  readonly #names = new Map<string, string>();

  constructor(definitions: Record<string, RawSchema>) {
    this.#definitions = { ...definitions };
    for (const [name, raw] of Object.entries(definitions)) {
      for (const { group, version, kind } of raw['x-kubernetes-group-version-kind'] ?? []) {
        this.#names.set(`${group}/${version}/${kind}`, name);
      }
    }
  }

  get definitions(): Readonly<Record<string, RawSchema>> {
    return this.#definitions;
  }

  /** Adds or replaces the type of a custom kind. */
  register(gvk: { group: string; version: string; kind: string }, raw: RawSchema, type: ObjectType): void {
    this.#names.set(`${gvk.group}/${gvk.version}/${gvk.kind}`, type.name);
    this.#definitions[type.name] = raw;
    this.#types.set(type.name, type);
  }

  /** Forgets a custom kind. */
  unregister(gvk: { group: string; version: string; kind: string }): void {
    const key = `${gvk.group}/${gvk.version}/${gvk.kind}`;
    const name = this.#names.get(key);
    if (name === undefined) return;
    this.#names.delete(key);
    delete this.#definitions[name];
    this.#types.delete(name);
  }

  /** The definition's name of a kind, for example io.k8s.api.core.v1.Pod. */
  nameOf(gvk: { group: string; version: string; kind: string }): string | undefined {
    return this.#names.get(`${gvk.group}/${gvk.version}/${gvk.kind}`);
  }

  knows(gvk: { group: string; version: string; kind: string }): boolean {
    return this.nameOf(gvk) !== undefined;
  }

  /** The type of a kind. Throws for one that the schema does not know. */
  typeOf(gvk: { group: string; version: string; kind: string }): ObjectType {
    const name = this.nameOf(gvk);
    const type = name === undefined ? undefined : this.named(name);
    if (type?.kind !== 'object') throw new Error(`the schema has no object ${gvk.group}/${gvk.version} ${gvk.kind}`);
    return type;
  }

  named(name: string): Type {
    const known = this.#types.get(name);
    if (known !== undefined) return known;
    const raw = this.#definitions[name];
    if (raw === undefined || freeForm.has(name)) return anyType;
    if (name === quantityName) return { kind: 'scalar', type: 'string', format: 'quantity' };
    const type = this.#convert(raw, raw, name);
    this.#types.set(name, type);
    return type;
  }

  /** `site` is where the type is used: list types and map types may be declared there. */
  #convert(raw: RawSchema, site: RawSchema, name: string): Type {
    if (raw.$ref !== undefined) {
      const target = this.named(raw.$ref.slice(refPrefix.length));
      const isAtomic = site['x-kubernetes-map-type'] === 'atomic';
      return isAtomic && target.kind === 'object' && !target.isAtomic ? new LazyObject(target, true) : target;
    }
    if (raw.properties !== undefined) return this.#object(raw, name);
    const isAtomic = raw['x-kubernetes-map-type'] === 'atomic' || site['x-kubernetes-map-type'] === 'atomic';
    if (typeof raw.additionalProperties === 'object') {
      return { kind: 'map', values: this.#convert(raw.additionalProperties, raw.additionalProperties, name), isAtomic };
    }
    switch (raw.type) {
      case 'array': {
        const listType = raw['x-kubernetes-list-type'];
        return {
          kind: 'list',
          items: raw.items === undefined ? anyType : this.#convert(raw.items, raw.items, name),
          listType: listType === 'map' || listType === 'set' ? listType : 'atomic',
          mapKeys: raw['x-kubernetes-list-map-keys'] ?? [],
        };
      }
      case 'string':
      case 'integer':
      case 'number':
      case 'boolean':
        return { kind: 'scalar', type: raw.type, format: raw.format ?? '' };
      default:
        return anyType;
    }
  }

  #object(raw: RawSchema, name: string): ObjectType {
    const fields = new Map<string, Field>();
    const type: ObjectType = {
      kind: 'object',
      name,
      fields,
      required: new Set(raw.required ?? []),
      isAtomic: raw['x-kubernetes-map-type'] === 'atomic',
    };
    this.#types.set(name, type);
    for (const [field, property] of Object.entries(raw.properties ?? {})) {
      fields.set(field, {
        type: this.#convert(property, property, `${name}.${field}`),
        patchStrategies: property['x-kubernetes-patch-strategy']?.split(',') ?? [],
        patchMergeKey: property['x-kubernetes-patch-merge-key'],
      });
    }
    return type;
  }
}

/** An object type used where it is atomic although its definition is not; fields are read when needed, since types recur. */
class LazyObject implements ObjectType {
  readonly kind = 'object';
  readonly isAtomic: boolean;
  readonly #target: ObjectType;

  constructor(target: ObjectType, isAtomic: boolean) {
    this.#target = target;
    this.isAtomic = isAtomic;
  }

  get name(): string {
    return this.#target.name;
  }

  get fields(): ReadonlyMap<string, Field> {
    return this.#target.fields;
  }

  get required(): ReadonlySet<string> {
    return this.#target.required;
  }
}

/** Reads the project's schema facts. */
export function loadSchema(): Schema {
  const text = readFileSync(new URL('../../kube/api/data/schema.json', import.meta.url), 'utf8');
  return new Schema((JSON.parse(text) as { definitions: Record<string, RawSchema> }).definitions);
}
