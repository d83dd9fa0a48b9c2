// Defaults of a custom resource's schema, filled in wherever a value is missing. Pure but for the object it edits.
import { additionalOf, type JsonSchema } from './json-schema.ts';

/** Fills in the defaults of the schema, in place. A null where none may be counts as missing, if there is a default. */
export function defaultCustom(value: unknown, schema: JsonSchema): void {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined) return;
    for (const [index, item] of value.entries()) {
      if (item === null && items.nullable !== true && items.default !== undefined)
        value[index] = structuredClone(items.default);
      defaultCustom(value[index], items);
    }
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  const object = value as Record<string, unknown>;
  const isMissing = (item: unknown, property: JsonSchema) =>
    item === undefined || (item === null && property.nullable !== true);
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (property.default !== undefined && isMissing(object[name], property)) {
      object[name] = structuredClone(property.default);
    }
    if (object[name] !== undefined) defaultCustom(object[name], property);
  }
  const additional = additionalOf(schema);
  if (additional === undefined) return;
  for (const [name, item] of Object.entries(object)) {
    if (schema.properties?.[name] !== undefined) continue;
    if (additional.default !== undefined && isMissing(item, additional))
      object[name] = structuredClone(additional.default);
    defaultCustom(object[name], additional);
  }
}

/** Whether the schema has any default, so that objects stored before it may lack something. */
export function hasDefaults(schema: JsonSchema): boolean {
  if (schema.default !== undefined) return true;
  const parts = [...Object.values(schema.properties ?? {}), schema.items, additionalOf(schema)];
  return parts.some((part) => part !== undefined && hasDefaults(part));
}
