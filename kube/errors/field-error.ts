// Validation errors by field, and the 422 Status they add up to. Texts are the API server's own,
// because clients and users match on them.
import type { StatusCause } from '../api/generated/meta-v1.ts';
import { StatusError } from './status-error.ts';

/** One rule that a field breaks. `reason` is the StatusCause reason. */
export interface FieldError {
  field: string;
  reason:
    | 'FieldValueRequired'
    | 'FieldValueInvalid'
    | 'FieldValueDuplicate'
    | 'FieldValueNotSupported'
    | 'FieldValueForbidden'
    | 'FieldValueNotFound'
    | 'FieldValueTooLong'
    | 'FieldValueTooMany'
    | 'FieldValueTypeInvalid'
    | 'InternalError';
  message: string;
}

/** A value as the API server prints it inside a message: strings quoted, objects as JSON. */
function printed(value: unknown): string {
  return value === undefined ? 'null' : JSON.stringify(value);
}

function withDetail(head: string, detail: string): string {
  return detail === '' ? head : `${head}: ${detail}`;
}

export function requiredField(field: string, detail = ''): FieldError {
  return { field, reason: 'FieldValueRequired', message: withDetail('Required value', detail) };
}

export function invalidField(field: string, value: unknown, detail: string): FieldError {
  return { field, reason: 'FieldValueInvalid', message: withDetail(`Invalid value: ${printed(value)}`, detail) };
}

export function duplicateField(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueDuplicate', message: `Duplicate value: ${printed(value)}` };
}

export function unsupportedField(field: string, value: unknown, supported: readonly string[]): FieldError {
  const values = supported.map((text) => JSON.stringify(text)).join(', ');
  const message = withDetail(
    `Unsupported value: ${printed(value)}`,
    values === '' ? '' : `supported values: ${values}`,
  );
  return { field, reason: 'FieldValueNotSupported', message };
}

export function forbiddenField(field: string, detail: string): FieldError {
  return { field, reason: 'FieldValueForbidden', message: withDetail('Forbidden', detail) };
}

export function notFoundField(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueNotFound', message: `Not found: ${printed(value)}` };
}

export function tooLongField(field: string, maxBytes: number): FieldError {
  return { field, reason: 'FieldValueTooLong', message: `Too long: may not be more than ${maxBytes} bytes` };
}

export function tooManyField(field: string, count: number, max: number): FieldError {
  return {
    field,
    reason: 'FieldValueTooMany',
    message: `Too many: ${count}: must have at most ${max} item${max === 1 ? '' : 's'}`,
  };
}

/** The 422 answer for an object that breaks `errors`. Several errors are listed in brackets, equal ones once. */
export function invalidObject(kind: string, group: string, name: string, errors: readonly FieldError[]): StatusError {
  const causes: StatusCause[] = errors.map(({ reason, message, field }) => ({ reason, message, field }));
  const texts = [...new Set(errors.map(({ field, message }) => `${field}: ${message}`))];
  const groupKind = group === '' ? kind : `${kind}.${group}`;
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return new StatusError({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: `${groupKind} ${JSON.stringify(name)} is invalid: ${list}`,
    reason: 'Invalid',
    details: { name, ...(group === '' ? {} : { group }), kind, causes },
    code: 422,
  });
}
