// What of a JSON or OpenAPI schema the language sees, and the type names under which the checker knows it.
import type { Environment } from '@marcbachmann/cel-js';
import { escapePropertyName } from './property-names.ts';

/** The shape of a value, with the bounds that estimates of cost use. */
export interface CelSchema {
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  format?: string | undefined;
  nullable?: boolean;
  intOrString?: boolean;
  /** Open: unknown fields may be there, but expressions cannot name them. */
  properties?: Readonly<Record<string, CelSchema>>;
  additional?: CelSchema;
  items?: CelSchema;
  maxItems?: number | undefined;
  maxLength?: number | undefined;
  maxProperties?: number | undefined;
  enumLength?: number | undefined;
}

const deepest = 40;

function scalarType({ type, format, intOrString }: CelSchema): string {
  if (intOrString === true) return 'dyn';
  switch (type) {
    case 'integer':
      return 'int';
    case 'number':
      return 'double';
    case 'boolean':
      return 'bool';
    case 'string':
      if (format === 'date-time' || format === 'date') return 'google.protobuf.Timestamp';
      if (format === 'duration') return 'google.protobuf.Duration';
      return format === 'byte' ? 'bytes' : 'string';
    default:
      return 'dyn';
  }
}

/** Declares the types of a schema in an environment of its own. Returns the name of the outermost. */
export function declareTypes(environment: Environment, schema: CelSchema, name: string, depth = 0): string {
  if (depth > deepest) return 'dyn';
  if (schema.type === 'array') {
    return `list<${schema.items === undefined ? 'dyn' : declareTypes(environment, schema.items, `${name}.@idx`, depth + 1)}>`;
  }
  if (schema.properties !== undefined && Object.keys(schema.properties).length > 0) {
    const fields: Record<string, string> = {};
    for (const [property, value] of Object.entries(schema.properties)) {
      const escaped = escapePropertyName(property);
      if (escaped !== undefined) fields[escaped] = declareTypes(environment, value, `${name}.${escaped}`, depth + 1);
    }
    environment.registerType(name, { fields });
    return name;
  }
  if (schema.additional !== undefined) {
    return `map<string, ${declareTypes(environment, schema.additional, `${name}.@elem`, depth + 1)}>`;
  }
  if (schema.type === 'object') {
    environment.registerType(name, { fields: {} });
    return name;
  }
  return scalarType(schema);
}
