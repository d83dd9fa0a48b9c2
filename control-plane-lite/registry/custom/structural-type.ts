// The schema of a custom resource definition as a type of the schema graph, so that pruning, server-side apply and
// OpenAPI treat custom objects like all others. Pure.
import type { Field, ObjectType, Schema, Type } from '../schema.ts';
import type { JsonSchema } from './json-schema.ts';

const anyType: Type = { kind: 'any' };

function convert(schema: JsonSchema, name: string): Type {
  if (schema.properties !== undefined) return objectType(schema, name, new Map());
  if (schema.type === 'object' && typeof schema.additionalProperties === 'object') {
    const isAtomic = schema['x-kubernetes-map-type'] === 'atomic';
    return { kind: 'map', values: convert(schema.additionalProperties, name), isAtomic };
  }
  if (schema.type === 'array') {
    const listType = schema['x-kubernetes-list-type'];
    return {
      kind: 'list',
      items: schema.items === undefined ? anyType : convert(schema.items, name),
      listType: listType === 'map' || listType === 'set' ? listType : 'atomic',
      mapKeys: schema['x-kubernetes-list-map-keys'] ?? [],
    };
  }
  const isOpen = schema['x-kubernetes-preserve-unknown-fields'] === true || schema.additionalProperties === true;
  return schema.type === 'object' && !isOpen ? objectType(schema, name, new Map()) : anyType;
}

const open = (): Field => ({ type: anyType, patchStrategies: [], patchMergeKey: undefined });

function objectType(schema: JsonSchema, name: string, more: ReadonlyMap<string, Field>): ObjectType {
  const fields = new Map<string, Field>();
  if (schema['x-kubernetes-embedded-resource'] === true) {
    for (const field of ['apiVersion', 'kind', 'metadata']) fields.set(field, open());
  }
  for (const [field, property] of Object.entries(schema.properties ?? {})) {
    fields.set(field, { type: convert(property, `${name}.${field}`), patchStrategies: [], patchMergeKey: undefined });
  }
  for (const [field, type] of more) fields.set(field, type);
  return {
    kind: 'object',
    name,
    fields,
    required: new Set(schema.required ?? []),
    isAtomic: schema['x-kubernetes-map-type'] === 'atomic',
    isLoose: true,
    keepsUnknown: schema['x-kubernetes-preserve-unknown-fields'] === true,
  };
}

/** The type of a custom kind; metadata is that of every object. */
export function structuralType(schema: JsonSchema, name: string, builtIn: Schema): ObjectType {
  const text: Field = {
    type: { kind: 'scalar', type: 'string', format: '' },
    patchStrategies: [],
    patchMergeKey: undefined,
  };
  const metadata: Field = {
    type: builtIn.named('io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'),
    patchStrategies: [],
    patchMergeKey: undefined,
  };
  return objectType(
    schema,
    name,
    new Map([
      ['apiVersion', text],
      ['kind', text],
      ['metadata', metadata],
    ]),
  );
}
