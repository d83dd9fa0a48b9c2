// The part of the openapi.v2 protobuf messages that the document uses: names and numbers are those of gnostic's
// OpenAPIv2.proto, which every Kubernetes client is built with.
import protobuf from 'protobufjs';

const field = (type: string, id: number) => ({ type, id });
const list = (type: string, id: number) => ({ rule: 'repeated' as const, type, id });

const messages: Record<string, Record<string, protobuf.IField>> = {
  Document: {
    swagger: field('string', 1),
    info: field('Info', 2),
    paths: field('Paths', 8),
    definitions: field('Definitions', 9),
  },
  Info: { title: field('string', 1), version: field('string', 2) },
  Paths: { path: list('NamedPathItem', 2) },
  NamedPathItem: { name: field('string', 1), value: field('PathItem', 2) },
  PathItem: { patch: field('Operation', 8) },
  Operation: { parameters: list('ParametersItem', 8), vendorExtension: list('NamedAny', 13) },
  ParametersItem: { parameter: field('Parameter', 1) },
  Parameter: { nonBodyParameter: field('NonBodyParameter', 2) },
  NonBodyParameter: { queryParameterSubSchema: field('QueryParameterSubSchema', 3) },
  QueryParameterSubSchema: { in: field('string', 2), name: field('string', 4), type: field('string', 6) },
  Definitions: { additionalProperties: list('NamedSchema', 1) },
  Properties: { additionalProperties: list('NamedSchema', 1) },
  NamedSchema: { name: field('string', 1), value: field('Schema', 2) },
  Schema: {
    ref: field('string', 1),
    format: field('string', 2),
    required: list('string', 19),
    additionalProperties: field('AdditionalPropertiesItem', 21),
    type: field('TypeItem', 22),
    items: field('ItemsItem', 23),
    properties: field('Properties', 25),
    vendorExtension: list('NamedAny', 31),
  },
  AdditionalPropertiesItem: { schema: field('Schema', 1), boolean: field('bool', 2) },
  TypeItem: { value: list('string', 1) },
  ItemsItem: { schema: list('Schema', 1) },
  NamedAny: { name: field('string', 1), value: field('Any', 2) },
  Any: { yaml: field('string', 2) },
};

/** The message type of a whole document. */
export function openApiV2Document(): protobuf.Type {
  const nested = Object.fromEntries(Object.entries(messages).map(([name, fields]) => [name, { fields }]));
  return protobuf.Root.fromJSON({ nested }).lookupType('Document');
}
