// Between JSON and the language's values: whole numbers are integers, and what a schema says to be a time or a double is
// one. Names of declared properties are escaped.
import { EvaluationError, Optional } from '@marcbachmann/cel-js';
import type { CelSchema } from './cel-schema.ts';
import { evaluateConstant } from './constants.ts';
import { JsonPatchOperation, ObjectLiteral } from './object-literal.ts';
import { escapePropertyName } from './property-names.ts';

function formatted(text: string, format: string | undefined): unknown {
  switch (format) {
    case 'date-time':
    case 'date': {
      const date = new Date(format === 'date' ? `${text}T00:00:00Z` : text);
      return Number.isNaN(date.getTime()) ? text : date;
    }
    case 'duration':
      return evaluateConstant('duration', text) ?? text;
    case 'byte':
      return new Uint8Array(Buffer.from(text, 'base64'));
    default:
      return text;
  }
}

/** A value that may not be there, as expressions see it. */
export function optionalOf(value: unknown): unknown {
  return value === undefined ? Optional.none() : Optional.of(value);
}

/** The value of the language for a JSON value; the argument is not changed. */
export function toCelValue(value: unknown, schema?: CelSchema): unknown {
  switch (typeof value) {
    case 'number':
      return Number.isInteger(value) && schema?.type !== 'number' ? BigInt(value) : value;
    case 'string':
      return schema?.format === undefined || schema.intOrString ? value : formatted(value, schema.format);
    case 'object':
      break;
    default:
      return value;
  }
  if (value === null) return null;
  if (Array.isArray(value)) return value.map((item) => toCelValue(item, schema?.items));
  const result: Record<string, unknown> = {};
  for (const [name, item] of Object.entries(value)) {
    if (item === undefined || name === '__proto__') continue;
    const property = schema?.properties?.[name];
    if (property !== undefined) {
      const escaped = escapePropertyName(name);
      if (escaped !== undefined && !(item === null && property.nullable !== true))
        result[escaped] = toCelValue(item, property);
    } else if (schema?.properties === undefined || schema.additional !== undefined) {
      result[name] = toCelValue(item, schema?.additional);
    }
  }
  return result;
}

/** The JSON value of a value of the language. Throws EvaluationError for what JSON has no form for. */
export function fromCelValue(value: unknown): unknown {
  switch (typeof value) {
    case 'bigint':
      return Number(value);
    case 'object':
      break;
    case 'function':
    case 'symbol':
      throw new EvaluationError('unsupported conversion to JSON');
    default:
      return value;
  }
  if (value === null) return null;
  if (Array.isArray(value)) return value.map(fromCelValue);
  if (value instanceof Date) return value.toISOString().replace('.000Z', 'Z');
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Optional) return value.hasValue() ? fromCelValue(value.value()) : null;
  if (value instanceof ObjectLiteral) return fromFields(ObjectLiteral.fieldsOf(value));
  if (value instanceof JsonPatchOperation) return fromFields(JsonPatchOperation.fieldsOf(value));
  if (value instanceof Map) return fromFields(Object.fromEntries(value) as Record<string, unknown>);
  if (value.constructor === Object) return fromFields(value as Record<string, unknown>);
  return String(value);
}

function fromFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields)
      .filter(([, item]) => !(item instanceof Optional && !item.hasValue()))
      .map(([name, item]) => [name, fromCelValue(item)]),
  );
}
