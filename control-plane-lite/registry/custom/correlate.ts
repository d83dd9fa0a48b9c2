// Which part of the previous object a part of a changed one was. Pure.
import type { JsonSchema } from './json-schema.ts';

/** The key of an item of a list of type map, from its key fields. */
export function mapKeyOf(item: unknown, keys: readonly string[], items: JsonSchema | undefined): string {
  const fields = (typeof item === 'object' && item !== null ? item : {}) as Record<string, unknown>;
  return JSON.stringify(keys.map((key) => fields[key] ?? items?.properties?.[key]?.default ?? null));
}

/** The item of the previous list that an item of the list was; undefined where items have no identity. */
export function previousItem(item: unknown, previous: unknown, schema: JsonSchema): unknown {
  if (!Array.isArray(previous) || schema['x-kubernetes-list-type'] !== 'map') return undefined;
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  const wanted = mapKeyOf(item, keys, schema.items);
  return previous.find((each) => mapKeyOf(each, keys, schema.items) === wanted);
}

/** The value that a field had. */
export function previousField(name: string, previous: unknown, schema: JsonSchema): unknown {
  if (typeof previous !== 'object' || previous === null || Array.isArray(previous)) return undefined;
  if (schema['x-kubernetes-map-type'] === 'atomic') return undefined;
  return Object.hasOwn(previous, name) ? (previous as Record<string, unknown>)[name] : undefined;
}
