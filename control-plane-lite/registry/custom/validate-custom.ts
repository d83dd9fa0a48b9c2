// Validation of custom objects against their schema, with the texts of the reference. Pure.
import { isDeepStrictEqual } from 'node:util';
import {
  type FieldError,
  invalidField,
  requiredField,
  tooManyField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import type { JsonSchema } from './structural-type.ts';

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

const compiled = new Map<string, RegExp | undefined>();

/** A pattern of a definition. Undefined for one that only the reference's engine understands: it is not checked. */
function compile(pattern: string): RegExp | undefined {
  if (!compiled.has(pattern)) {
    let expression: RegExp | undefined;
    try {
      expression = new RegExp(pattern);
    } catch {
      expression = undefined;
    }
    compiled.set(pattern, expression);
  }
  return compiled.get(pattern);
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
  if (schema.pattern !== undefined && compile(schema.pattern)?.test(value) === false) {
    errors.push(invalidField(path, value, `${path} in body should match '${schema.pattern}'`));
  }
  return errors;
}

function checkList(value: readonly unknown[], schema: JsonSchema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    errors.push(invalidField(path, value.length, `${path} in body should have at least ${schema.minItems} items`));
  }
  if (schema.maxItems !== undefined && value.length > schema.maxItems)
    errors.push(tooManyField(path, value.length, schema.maxItems));
  const { items } = schema;
  if (items !== undefined)
    for (const [index, item] of value.entries()) errors.push(...check(item, items, `${path}[${index}]`));
  return errors;
}

function checkObject(value: Record<string, unknown>, schema: JsonSchema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const at = (name: string) => (path === '' ? name : `${path}.${name}`);
  for (const name of schema.required ?? []) if (value[name] === undefined) errors.push(requiredField(at(name)));
  for (const [name, item] of Object.entries(value)) {
    const property =
      schema.properties?.[name] ??
      (typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined);
    if (property !== undefined) errors.push(...check(item, property, at(name)));
  }
  return errors;
}

function check(value: unknown, schema: JsonSchema, path: string): FieldError[] {
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
  else if (Array.isArray(value)) errors.push(...checkList(value, schema, path));
  else if (typeof value === 'object' && value !== null)
    errors.push(...checkObject(value as Record<string, unknown>, schema, path));
  return errors;
}

/** Everything that an object breaks of its schema; metadata has rules of its own. */
export function validateCustom(object: object, schema: JsonSchema): FieldError[] {
  const { metadata: _metadata, apiVersion: _version, kind: _kind, ...rest } = object as Record<string, unknown>;
  const { metadata: _ignored, ...properties } = schema.properties ?? {};
  return checkObject(rest, { ...schema, properties }, '');
}

/** Fills in the defaults of the schema, in place. */
export function defaultCustom(value: unknown, schema: JsonSchema): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const item of value) defaultCustom(item, schema.items);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  const object = value as Record<string, unknown>;
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (object[name] === undefined && property.default !== undefined) object[name] = structuredClone(property.default);
    if (object[name] !== undefined) defaultCustom(object[name], property);
  }
  if (typeof schema.additionalProperties === 'object') {
    for (const [name, item] of Object.entries(object)) {
      if (schema.properties?.[name] === undefined) defaultCustom(item, schema.additionalProperties);
    }
  }
}
