// The schema of a custom resource as the expression language sees it. Pure.
import type { CelSchema } from '../../cel/cel-schema.ts';
import { additionalOf, type JsonSchema } from './json-schema.ts';

const text: CelSchema = { type: 'string' };
const metadata: CelSchema = { type: 'object', properties: { name: text, generateName: text } };
const types = new Set(['object', 'array', 'string', 'integer', 'number', 'boolean']);

/** `isWhole`: the value is an object of the API by itself, with kind and metadata. */
export function celSchemaOf(schema: JsonSchema, isWhole = false): CelSchema {
  if (schema['x-kubernetes-int-or-string'] === true) return { intOrString: true, maxLength: schema.maxLength };
  const nullable = schema.nullable === true;
  const type = schema.type !== undefined && types.has(schema.type) ? (schema.type as CelSchema['type']) : undefined;
  if (type === 'array') {
    return { type, nullable, items: celSchemaOf(schema.items ?? {}), maxItems: schema.maxItems };
  }
  if (type === 'object') {
    const isObject = isWhole || schema['x-kubernetes-embedded-resource'] === true;
    const own = Object.entries(schema.properties ?? {}).map(([name, part]) => [name, celSchemaOf(part)] as const);
    const properties = {
      ...Object.fromEntries(own),
      ...(isObject ? { apiVersion: text, kind: text, metadata } : {}),
    };
    const additional = additionalOf(schema);
    const base = { type, nullable, maxProperties: schema.maxProperties };
    if (additional !== undefined && Object.keys(properties).length === 0) {
      return { ...base, additional: celSchemaOf(additional) };
    }
    return { ...base, properties };
  }
  const lengths = (schema.enum ?? []).map((each) => String(each).length);
  return {
    ...(type === undefined ? {} : { type }),
    nullable,
    format: schema.format,
    maxLength: schema.maxLength,
    enumLength: lengths.length === 0 ? undefined : Math.max(...lengths),
  };
}
