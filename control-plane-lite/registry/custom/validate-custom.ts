// Validation of custom objects against their schema, with the texts of the reference. Pure.
import { isDeepStrictEqual } from 'node:util';
import {
  duplicateField,
  type FieldError,
  invalidField,
  requiredField,
  tooManyField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import { linearRegExp } from '../../cel/linear-regexp.ts';
import { mapKeyOf, previousField, previousItem } from './correlate.ts';
import { fitsFormat, hasFormat } from './formats.ts';
import { additionalOf, type JsonSchema } from './json-schema.ts';

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function hasType(value: unknown, schema: JsonSchema): boolean {
  const found = typeOf(value);
  if (schema['x-kubernetes-int-or-string'] === true) return found === 'integer' || found === 'string';
  if (schema.type === undefined || found === schema.type) return true;
  return schema.type === 'number' && found === 'integer';
}

/** Whether a text matches. A pattern that cannot be read was refused with its definition, or is older than the rule. */
function matches(text: string, pattern: string): boolean {
  try {
    return linearRegExp(pattern).test(text);
  } catch {
    return true;
  }
}

function checkNumber(value: number, schema: JsonSchema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { minimum, maximum, exclusiveMinimum = false, exclusiveMaximum = false } = schema;
  if (minimum !== undefined && (exclusiveMinimum ? value <= minimum : value < minimum)) {
    const than = exclusiveMinimum ? 'greater than' : 'greater than or equal to';
    errors.push(invalidField(path, value, `${path} in body should be ${than} ${minimum}`));
  }
  if (maximum !== undefined && (exclusiveMaximum ? value >= maximum : value > maximum)) {
    const than = exclusiveMaximum ? 'less than' : 'less than or equal to';
    errors.push(invalidField(path, value, `${path} in body should be ${than} ${maximum}`));
  }
  const { multipleOf, format } = schema;
  if (multipleOf !== undefined && Math.abs(value / multipleOf - Math.round(value / multipleOf)) > 1e-9) {
    errors.push(invalidField(path, value, `${path} in body should be a multiple of ${multipleOf}`));
  }
  if (format !== undefined && !fitsFormat(value, format)) {
    errors.push(invalidField(path, value, `${path} in body must be of type ${format}: ${value}`));
  }
  return errors;
}

function checkText(value: string, schema: JsonSchema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const length = [...value].length;
  if (schema.minLength !== undefined && length < schema.minLength) {
    errors.push(invalidField(path, value, `${path} in body should be at least ${schema.minLength} chars long`));
  }
  if (schema.maxLength !== undefined && length > schema.maxLength) {
    errors.push({
      field: path,
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${schema.maxLength} bytes`,
    });
  }
  if (schema.pattern !== undefined && !matches(value, schema.pattern)) {
    errors.push(invalidField(path, value, `${path} in body should match '${schema.pattern}'`));
  }
  if (schema.format !== undefined && !hasFormat(value, schema.format)) {
    errors.push(
      invalidField(path, value, `${path} in body must be of type ${schema.format}: ${JSON.stringify(value)}`),
    );
  }
  return errors;
}

/** Items that are there twice where each may be there once. */
function checkUnique(value: readonly unknown[], schema: JsonSchema, path: string): FieldError[] {
  const listType = schema['x-kubernetes-list-type'];
  if (listType !== 'set' && listType !== 'map') return [];
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  const seen = new Set<string>();
  return value.flatMap((item, index) => {
    const key = listType === 'set' ? JSON.stringify(item) : mapKeyOf(item, keys, schema.items);
    if (!seen.has(key)) {
      seen.add(key);
      return [];
    }
    const fields = item as Record<string, unknown>;
    const shown = listType === 'set' ? item : Object.fromEntries(keys.map((name) => [name, fields[name]]));
    return [duplicateField(`${path}[${index}]`, shown)];
  });
}

function checkList(value: readonly unknown[], previous: unknown, schema: JsonSchema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    errors.push(invalidField(path, value.length, `${path} in body should have at least ${schema.minItems} items`));
  }
  if (schema.maxItems !== undefined && value.length > schema.maxItems)
    errors.push(tooManyField(path, value.length, schema.maxItems));
  errors.push(...checkUnique(value, schema, path));
  const { items } = schema;
  if (items === undefined) return errors;
  for (const [index, item] of value.entries()) {
    errors.push(...check(item, previousItem(item, previous, schema), items, `${path}[${index}]`));
  }
  return errors;
}

function checkEmbedded(value: Record<string, unknown>, path: string): FieldError[] {
  return ['apiVersion', 'kind'].flatMap((name) => {
    const text = value[name];
    const at = `${path}.${name}`;
    if (text === undefined || text === '') return [requiredField(at, 'must not be empty')];
    return [];
  });
}

function checkObject(
  value: Record<string, unknown>,
  previous: unknown,
  schema: JsonSchema,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const at = (name: string) => (path === '' ? name : `${path}.${name}`);
  const count = Object.keys(value).length;
  if (schema.minProperties !== undefined && count < schema.minProperties) {
    errors.push(invalidField(path, count, `${path} in body should have at least ${schema.minProperties} properties`));
  }
  if (schema.maxProperties !== undefined && count > schema.maxProperties) {
    errors.push(tooManyField(path, count, schema.maxProperties));
  }
  if (schema['x-kubernetes-embedded-resource'] === true) errors.push(...checkEmbedded(value, path));
  for (const name of schema.required ?? []) if (value[name] === undefined) errors.push(requiredField(at(name)));
  const additional = additionalOf(schema);
  for (const [name, item] of Object.entries(value)) {
    const own = schema.properties?.[name];
    const property = own ?? additional;
    const where = own === undefined && path !== '' ? `${path}.${name}` : at(name);
    if (property !== undefined) errors.push(...check(item, previousField(name, previous, schema), property, where));
  }
  return errors;
}

/** Schemas that are put together of others. */
function checkCombined(value: unknown, schema: JsonSchema, path: string): FieldError[] {
  const passes = (part: JsonSchema) => check(value, undefined, part, path).length === 0;
  const refuse = (text: string) => [invalidField(path === '' ? '<nil>' : path, '', `${JSON.stringify(path)} ${text}`)];
  const errors: FieldError[] = [];
  for (const part of schema.allOf ?? []) errors.push(...check(value, undefined, part, path));
  if (schema.anyOf !== undefined && schema.anyOf.length > 0 && !schema.anyOf.some(passes)) {
    errors.push(...refuse('must validate at least one schema (anyOf)'));
  }
  if (schema.oneOf !== undefined && schema.oneOf.length > 0) {
    const count = schema.oneOf.filter(passes).length;
    if (count !== 1) {
      const found = count === 0 ? 'Found none valid' : `Found ${count} valid alternatives`;
      errors.push(...refuse(`must validate one and only one schema (oneOf). ${found}`));
    }
  }
  if (schema.not !== undefined && passes(schema.not)) errors.push(...refuse('must not validate the schema (not)'));
  return errors;
}

/** What has not changed is not held against an update. */
function check(value: unknown, previous: unknown, schema: JsonSchema, path: string): FieldError[] {
  if (previous !== undefined && isDeepStrictEqual(value, previous)) return [];
  if (value === null && schema.nullable === true) return [];
  if (!hasType(value, schema)) {
    const wanted = schema['x-kubernetes-int-or-string'] === true ? 'integer,string' : schema.type;
    const found = typeOf(value);
    return [
      {
        field: path,
        reason: 'FieldValueTypeInvalid',
        message: `Invalid value: ${JSON.stringify(found)}: ${path} in body must be of type ${wanted}: ${JSON.stringify(found)}`,
      },
    ];
  }
  const errors: FieldError[] = [];
  if (schema.enum !== undefined && !schema.enum.some((each) => isDeepStrictEqual(each, value))) {
    errors.push(unsupportedField(path, value, schema.enum.map(String)));
  }
  if (typeof value === 'number') errors.push(...checkNumber(value, schema, path));
  else if (typeof value === 'string') errors.push(...checkText(value, schema, path));
  else if (Array.isArray(value)) errors.push(...checkList(value, previous, schema, path));
  else if (typeof value === 'object' && value !== null)
    errors.push(...checkObject(value as Record<string, unknown>, previous, schema, path));
  errors.push(...checkCombined(value, schema, path));
  return errors;
}

function withoutMeta(object: object): Record<string, unknown> {
  const { metadata: _metadata, apiVersion: _version, kind: _kind, ...rest } = object as Record<string, unknown>;
  return rest;
}

/**
 * Everything that an object breaks of its schema; metadata has rules of its own. With the object it replaces, only
 * what changed is looked at.
 */
export function validateCustom(object: object, schema: JsonSchema, previous?: object): FieldError[] {
  const { metadata, apiVersion: _version, kind: _kind, ...properties } = schema.properties ?? {};
  const root = { ...schema, properties };
  const required = (schema.required ?? []).filter((name) => !['metadata', 'apiVersion', 'kind'].includes(name));
  const before = previous === undefined ? undefined : withoutMeta(previous);
  const errors = checkObject(withoutMeta(object), before, { ...root, required }, '');
  errors.push(...checkCombined(withoutMeta(object), root, ''));
  if (metadata?.properties === undefined) return errors;
  const { name, generateName } = metadata.properties;
  const own = { ...(name === undefined ? {} : { name }), ...(generateName === undefined ? {} : { generateName }) };
  const given = (object as { metadata?: Record<string, unknown> }).metadata ?? {};
  return [...errors, ...checkObject(given, undefined, { type: 'object', properties: own }, 'metadata')];
}

/** What a value that stands alone breaks of a schema, such as a default. */
export function validateValue(value: unknown, schema: JsonSchema, path: string): FieldError[] {
  return check(value, undefined, schema, path);
}
