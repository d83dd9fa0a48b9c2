// From parsed JSON to an object of the schema: types checked, unknown fields reported and dropped, nulls and
// empty optional collections dropped, as decoding into the reference's types does. Edits in place.
import type { ObjectType, Type } from './schema.ts';

/** A value of the wrong type; the message is the decoder's of the reference. */
export class TypeMismatchError extends Error {
  readonly code = 'TYPE_MISMATCH';

  constructor(message: string) {
    super(message);
    this.name = 'TypeMismatchError';
  }
}

const goTypes: Record<string, string> = { boolean: 'bool', number: 'float64', string: 'string' };

function jsonTypeOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean') return 'bool';
  return typeof value;
}

function typeNameOf(type: Type): string {
  switch (type.kind) {
    case 'object':
      return `v1.${type.name.slice(type.name.lastIndexOf('.') + 1)}`;
    case 'map':
      return `map[string]${typeNameOf(type.values)}`;
    case 'list':
      return `[]${typeNameOf(type.items)}`;
    case 'scalar':
      return type.type === 'integer' ? type.format || 'int64' : (goTypes[type.type] ?? type.type);
    case 'any':
      return 'interface {}';
    default:
      return type satisfies never;
  }
}

/** Where a value stands: `struct` is the last named type, `path` the field path from there on, `full` from the top. */
interface Place {
  struct: string;
  path: string;
  full: string;
}

function mismatch(value: unknown, type: Type, place: Place): TypeMismatchError {
  if (type.kind === 'scalar' && type.format === 'date-time' && typeof value === 'string') {
    const text = JSON.stringify(value);
    return new TypeMismatchError(`parsing time ${text} as "2006-01-02T15:04:05Z07:00": cannot parse ${text} as "2006"`);
  }
  const isNumber = typeof value === 'number' && type.kind === 'scalar';
  const found = isNumber ? `number${type.type === 'integer' ? ` ${value}` : ''}` : jsonTypeOf(value);
  const where = `${place.struct}.${place.path}`;
  return new TypeMismatchError(
    `json: cannot unmarshal ${found} into Go struct field ${where} of type ${typeNameOf(type)}`,
  );
}

function checkBase64(text: string): void {
  const wrong = text.search(/[^A-Za-z0-9+/=\r\n]/);
  const length = text.replace(/[\r\n]/g, '').length;
  if (wrong < 0 && length % 4 === 0) return;
  throw new TypeMismatchError(`illegal base64 data at input byte ${wrong < 0 ? length - (length % 4) : wrong}`);
}

function isScalarOf(value: unknown, type: Type & { kind: 'scalar' }): boolean {
  switch (type.type) {
    case 'string':
      // Quantities and ports may be written as numbers.
      if (typeof value === 'number') return type.format === 'int-or-string' || type.format === 'quantity';
      if (type.format === 'date-time') return typeof value === 'string' && !Number.isNaN(Date.parse(value));
      return typeof value === 'string';
    case 'integer':
      return Number.isInteger(value);
    case 'number':
      return typeof value === 'number';
    case 'boolean':
      return typeof value === 'boolean';
    default:
      return type.type satisfies never;
  }
}

const isEmptyCollection = (value: unknown, type: Type): boolean =>
  (type.kind === 'list' && Array.isArray(value) && value.length === 0) ||
  (type.kind === 'map' && typeof value === 'object' && value !== null && Object.keys(value).length === 0);

/** What an absent value of a type is in the reference's types; undefined where absence shows. */
function zeroOf(type: Type): unknown {
  switch (type.kind) {
    case 'any':
      return undefined;
    case 'object':
    case 'map':
      return {};
    case 'list':
      return [];
    case 'scalar':
      if (type.type === 'string') return type.format === '' || type.format === 'byte' ? '' : undefined;
      return type.type === 'boolean' ? false : 0;
    default:
      return type satisfies never;
  }
}

/** Required fields, the specification of everything that has one, and the metadata of whole objects inside others. */
function alwaysPresent({ required, fields }: ObjectType): Iterable<string> {
  const isWhole = fields.has('apiVersion') && fields.get('metadata')?.type.kind === 'object';
  if (fields.get('spec')?.type.kind !== 'object') return required;
  return [...required, 'spec', ...(isWhole ? ['metadata'] : [])];
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

class Decoder {
  readonly unknown: string[] = [];
  readonly #isPartial: boolean;
  readonly #isLoose: boolean;

  constructor(isPartial: boolean, isLoose: boolean) {
    this.#isPartial = isPartial;
    this.#isLoose = isLoose;
  }

  value(value: unknown, type: Type, place: Place): void {
    switch (type.kind) {
      case 'any':
        return;
      case 'scalar':
        if (!isScalarOf(value, type)) throw mismatch(value, type, place);
        if (type.format === 'byte') checkBase64(String(value));
        return;
      case 'list':
        if (!Array.isArray(value)) {
          this.#refuse(value, type, place);
          return;
        }
        for (const [index, item] of value.entries()) {
          const given: unknown = item === null && !this.#isLoose ? zeroOf(type.items) : item;
          if (given === undefined || given === null) continue;
          value[index] = given;
          this.value(given, type.items, { ...place, full: `${place.full}[${index}]` });
        }
        return;
      case 'map':
        if (!isRecord(value)) {
          this.#refuse(value, type, place);
          return;
        }
        for (const [key, item] of Object.entries(value)) {
          if (item === null) value[key] = type.values.kind === 'scalar' ? '' : {};
          else this.value(item, type.values, { ...place, full: `${place.full}.${key}` });
        }
        return;
      case 'object':
        if (!isRecord(value)) {
          this.#refuse(value, type, place);
          return;
        }
        this.object(value, type, place);
        return;
      default: {
        throw new Error(`no such type: ${String(type satisfies never)}`);
      }
    }
  }

  /** Custom types tell about wrong values when they are validated. */
  #refuse(value: unknown, type: Type, place: Place): void {
    if (!this.#isLoose) throw mismatch(value, type, place);
  }

  object(object: Record<string, unknown>, type: ObjectType, place: Place): void {
    const struct = type.name.slice(type.name.lastIndexOf('.') + 1);
    for (const [name, value] of Object.entries(object)) {
      const field = type.fields.get(name);
      const full = place.full === '' ? name : `${place.full}.${name}`;
      if (field === undefined && type.keepsUnknown === true) continue;
      if (field === undefined) {
        this.unknown.push(full);
        delete object[name];
      } else if (value === null) {
        delete object[name];
      } else {
        const path = place.path === '' ? name : `${place.path}.${name}`;
        this.value(value, field.type, { struct, path: place.struct === '' ? name : path, full });
        if (!this.#isPartial && !this.#isLoose && isEmptyCollection(value, field.type) && !type.required.has(name))
          delete object[name];
      }
    }
    if (this.#isPartial || this.#isLoose) return;
    for (const name of alwaysPresent(type)) {
      const field = type.fields.get(name);
      if (name === optionalStruct || object[name] !== undefined || field === undefined) continue;
      const zero = zeroOf(field.type);
      if (zero === undefined) continue;
      object[name] = zero;
      if (field.type.kind === 'object') this.object(object[name] as Record<string, unknown>, field.type, place);
    }
  }
}

// Required by the schema, and yet told apart when absent: validation says so.
const optionalStruct = 'selector';

/**
 * Checks and cleans `object` in place. Returns the paths of fields that the schema does not know.
 * A partial object, as server-side apply takes it, gets nothing added. Throws TypeMismatchError.
 */
export function decodeObject(object: Record<string, unknown>, type: ObjectType, isPartial = false): string[] {
  const decoder = new Decoder(isPartial, type.isLoose === true);
  decoder.object(object, type, { struct: '', path: '', full: '' });
  return decoder.unknown;
}
