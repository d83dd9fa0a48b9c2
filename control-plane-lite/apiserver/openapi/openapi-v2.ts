// OpenAPI v2 for clients that ask for it: the definitions, and which resources take which parameters on PATCH.
// As JSON, and as the protobuf form that client-go insists on.
import type { ResourceTable, ServedResource } from '../../registry/resource-table.ts';
import type { RawSchema, Schema } from '../../registry/schema.ts';
import { sendBytes } from '../http/exchange.ts';
import type { PathHandler } from '../non-resource.ts';
import { rebuilt } from '../rebuilt.ts';
import { gitVersion } from '../version.ts';
import { openApiV2Document } from './openapi-v2-messages.ts';

const protobufType = 'application/com.github.proto-openapi.spec.v2';
/** Definitions and paths of another server's document. */
export interface RemoteOpenApi {
  definitions: Readonly<Record<string, unknown>>;
  paths: Readonly<Record<string, unknown>>;
}

const parameters = ['dryRun', 'fieldManager', 'fieldValidation', 'force'];
const gvkExtension = 'x-kubernetes-group-version-kind';

function patchPath({ resource, apiVersion }: ServedResource): string {
  const root = resource.group === '' ? `/api/${apiVersion}` : `/apis/${apiVersion}`;
  return `${root}/${resource.namespaced ? 'namespaces/{namespace}/' : ''}${resource.plural}/{name}`;
}

/** What other servers define beside this one's own. */
function definitionsOf(schema: Schema, remote: readonly RemoteOpenApi[]): Record<string, RawSchema> {
  const others = remote.map(({ definitions }) => definitions as Record<string, RawSchema>);
  return Object.assign({}, ...others, schema.definitions) as Record<string, RawSchema>;
}

function buildJson(schema: Schema, patchable: readonly ServedResource[], remote: readonly RemoteOpenApi[]): Buffer {
  const paths = patchable.map((served) => {
    const { group, version, kind } = served.resource;
    const listed = parameters.map((name) => ({ in: 'query', name, type: 'string' }));
    return [patchPath(served), { patch: { parameters: listed, [gvkExtension]: { group, version, kind } } }];
  });
  const info = { title: 'Kubernetes', version: gitVersion };
  return Buffer.from(
    JSON.stringify({
      swagger: '2.0',
      info,
      paths: Object.assign({}, ...remote.map((each) => each.paths), Object.fromEntries(paths)) as object,
      definitions: definitionsOf(schema, remote),
    }),
  );
}

/** JSON is YAML. */
const anyValue = (name: string, value: unknown) => ({ name, value: { yaml: JSON.stringify(value) } });

function toMessage(raw: RawSchema): object {
  const { $ref, type, format, required, properties, items, additionalProperties, ...rest } = raw;
  const extensions = Object.entries(rest).filter(([name]) => name.startsWith('x-'));
  return {
    ...($ref === undefined ? {} : { ref: $ref }),
    ...(format === undefined ? {} : { format }),
    ...(type === undefined ? {} : { type: { value: [type] } }),
    ...(required === undefined ? {} : { required }),
    ...(items === undefined ? {} : { items: { schema: [toMessage(items)] } }),
    ...(properties === undefined ? {} : { properties: { additionalProperties: namedSchemas(properties) } }),
    ...(typeof additionalProperties === 'object'
      ? { additionalProperties: { schema: toMessage(additionalProperties) } }
      : {}),
    vendorExtension: extensions.map(([name, value]) => anyValue(name, value)),
  };
}

const namedSchemas = (schemas: Readonly<Record<string, RawSchema>>): object[] =>
  Object.entries(schemas).map(([name, raw]) => ({ name, value: toMessage(raw) }));

function buildProtobuf(schema: Schema, patchable: readonly ServedResource[], remote: readonly RemoteOpenApi[]): Buffer {
  const path = patchable.map((served) => {
    const { group, version, kind } = served.resource;
    const listed = parameters.map((name) => ({
      parameter: { nonBodyParameter: { queryParameterSubSchema: { in: 'query', name, type: 'string' } } },
    }));
    const vendorExtension = [anyValue(gvkExtension, { group, version, kind })];
    return { name: patchPath(served), value: { patch: { parameters: listed, vendorExtension } } };
  });
  const type = openApiV2Document();
  const document = {
    swagger: '2.0',
    info: { title: 'Kubernetes', version: gitVersion },
    paths: { path },
    definitions: { additionalProperties: namedSchemas(definitionsOf(schema, remote)) },
  };
  return Buffer.from(type.encode(type.fromObject(document)).finish());
}

/** What is not as it should be of other servers' documents must not take this server's own away. */
function withRemote<T>(remote: readonly RemoteOpenApi[], build: (remote: readonly RemoteOpenApi[]) => T): T {
  if (remote.length === 0) return build([]);
  try {
    return build(remote);
  } catch {
    return build([]);
  }
}

/** Serves /openapi/v2; each form is built when first asked for. `remote` are the documents of other servers. */
export function createOpenApiV2Handler(
  schema: Schema,
  table: ResourceTable,
  remote: () => readonly RemoteOpenApi[] = () => [],
): PathHandler {
  const patchable = () => table.all.filter(({ verbs }) => verbs.has('patch'));
  const json = rebuilt(table, () => withRemote(remote(), (others) => buildJson(schema, patchable(), others)));
  const binary = rebuilt(table, () => withRemote(remote(), (others) => buildProtobuf(schema, patchable(), others)));
  return (exchange) => {
    if (exchange.info.path !== '/openapi/v2') return false;
    const accept = exchange.request.headers.accept ?? '';
    if (accept.includes(protobufType)) {
      sendBytes(exchange, 200, `${protobufType}.v1.0+protobuf`, binary());
    } else {
      sendBytes(exchange, 200, 'application/json', json());
    }
    return true;
  };
}
