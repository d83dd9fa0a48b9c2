// Request bodies in the API's protobuf form, turned into the JSON form that everything else works on.
// Answers are always JSON: every protobuf client accepts it.
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { failure } from '#kube/errors/status-error.ts';
import type { ObjectType, Schema, Type } from '../../registry/schema.ts';
import { badRequest } from '../../registry/status-errors.ts';
import { meaningfulZeros } from './pointer-fields.ts';

export const protobufMediaType = 'application/vnd.kubernetes.protobuf';

const magic = Buffer.from('k8s\0');
const messages: Record<string, string> = {
  '': 'k8s.io.api.core',
  'apiregistration.k8s.io': 'k8s.io.kube_aggregator.pkg.apis.apiregistration',
};

let loaded: protobuf.Root | undefined;

/** Read on first use: most clients speak JSON. */
function root(): protobuf.Root {
  if (loaded === undefined) {
    const text = readFileSync(new URL('./data/kubernetes-api.json', import.meta.url), 'utf8');
    loaded = protobuf.Root.fromJSON(JSON.parse(text) as protobuf.INamespace);
    loaded.resolveAll();
  }
  return loaded;
}

interface Envelope {
  apiVersion: string;
  kind: string;
  raw: Buffer;
}

function openEnvelope(body: Buffer): Envelope {
  if (!body.subarray(0, magic.length).equals(magic)) {
    throw badRequest('the body of the request is not in the protobuf form of the API: its prefix is wrong');
  }
  const type = root().lookupType('k8s.io.apimachinery.pkg.runtime.Unknown');
  const unknown = type.toObject(type.decode(body.subarray(magic.length)), { bytes: Buffer }) as {
    typeMeta?: { apiVersion?: string; kind?: string };
    raw?: Buffer;
  };
  return {
    apiVersion: unknown.typeMeta?.apiVersion ?? '',
    kind: unknown.typeMeta?.kind ?? '',
    raw: unknown.raw ?? Buffer.alloc(0),
  };
}

function messageType(apiVersion: string, kind: string): protobuf.Type {
  const cut = apiVersion.lastIndexOf('/');
  const [group, version] = cut < 0 ? ['', apiVersion] : [apiVersion.slice(0, cut), apiVersion.slice(cut + 1)];
  const known = messages[group] ?? `k8s.io.api.${group.replace(/\.k8s\.io$/, '').split('.')[0]}`;
  for (const path of [`${known}.${version}.${kind}`, `k8s.io.apimachinery.pkg.apis.meta.v1.${kind}`]) {
    try {
      return root().lookupType(path);
    } catch {
      // Options of deletions live with the metadata types: the next path.
    }
  }
  throw failure(415, 'UnsupportedMediaType', `${apiVersion} ${kind} is not accepted as protobuf: send it as JSON`, {});
}

type Message = Record<string, unknown>;

function formatTime(
  { seconds = 0, nanos = 0 }: { seconds?: number; nanos?: number },
  isMicro: boolean,
): string | undefined {
  if (seconds === 0 && nanos === 0) return undefined;
  const text = new Date(seconds * 1000).toISOString().slice(0, 19);
  return isMicro ? `${text}.${String(Math.floor(nanos / 1000)).padStart(6, '0')}Z` : `${text}Z`;
}

/** Messages whose JSON form is a single value. Undefined: an absent value. */
const singles: Record<string, (message: Message) => unknown> = {
  '.k8s.io.apimachinery.pkg.api.resource.Quantity': ({ string }) => string ?? '0',
  '.k8s.io.apimachinery.pkg.util.intstr.IntOrString': ({ type = 0, intVal = 0, strVal = '' }) =>
    type === 1 ? strVal : intVal,
  '.k8s.io.apimachinery.pkg.apis.meta.v1.Time': (time) => formatTime(time, false),
  '.k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime': (time) => formatTime(time, true),
  '.k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1': ({ Raw }) => parseRaw(Raw),
  '.k8s.io.apimachinery.pkg.runtime.RawExtension': ({ raw }) => parseRaw(raw),
};

function parseRaw(raw: unknown): unknown {
  return Buffer.isBuffer(raw) && raw.length > 0 ? JSON.parse(raw.toString()) : undefined;
}

const isZero = (value: unknown): boolean => value === '' || value === 0 || value === false;

function fieldValue(value: unknown, field: protobuf.Field, type: Type | undefined): unknown {
  if (field.resolvedType instanceof protobuf.Type) {
    return toJson(value as Message, field.resolvedType, type);
  }
  return Buffer.isBuffer(value) ? value.toString('base64') : value;
}

function toJson(message: Message, type: protobuf.Type, schema: Type | undefined): unknown {
  const single = singles[type.fullName];
  if (single !== undefined) return single(message);
  // A list in a message of its own, as in the values of `extra`.
  if (type.fieldsArray.length === 1 && type.fields['items']?.repeated === true && schema?.kind !== 'object') {
    return message['items'] ?? [];
  }
  const object: Message = {};
  for (const [name, value] of Object.entries(message)) {
    const field = type.fields[name];
    if (field !== undefined) assign(object, field, value, schema?.kind === 'object' ? schema : undefined);
  }
  return object;
}

function assign(object: Message, field: protobuf.Field, value: unknown, schema: ObjectType | undefined): void {
  const { name } = field;
  const known = schema?.fields.get(name)?.type;
  if (field instanceof protobuf.MapField) {
    const values = known?.kind === 'map' ? known.values : undefined;
    const entries = Object.entries(value as Message).map(([key, item]) => [key, fieldValue(item, field, values)]);
    if (entries.length > 0) object[name] = Object.fromEntries(entries);
    return;
  }
  if (field.repeated) {
    const items = known?.kind === 'list' ? known.items : undefined;
    const list = (value as unknown[]).map((item) => fieldValue(item, field, items));
    if (list.length > 0) object[name] = list;
    return;
  }
  const isInlined = schema !== undefined && known === undefined && field.resolvedType instanceof protobuf.Type;
  const json = fieldValue(value, field, isInlined ? schema : known);
  if (isInlined) {
    Object.assign(object, json);
  } else if (
    json !== undefined &&
    !(isZero(json) && schema?.required.has(name) !== true && !meaningfulZeros.has(name))
  ) {
    object[name] = json;
  }
}

/** Decodes a body to the JSON form of its object. Throws StatusError 400 or 415. */
export function decodeProtobuf(body: Buffer, schema: Schema): Record<string, unknown> {
  const { apiVersion, kind, raw } = openEnvelope(body);
  const type = messageType(apiVersion, kind);
  const cut = apiVersion.lastIndexOf('/');
  const gvk = { group: cut < 0 ? '' : apiVersion.slice(0, cut), version: apiVersion.slice(cut + 1), kind };
  const name = schema.nameOf(gvk);
  try {
    const message = type.toObject(type.decode(raw), { longs: Number, bytes: Buffer, enums: String }) as Message;
    const object = toJson(message, type, name === undefined ? undefined : schema.named(name)) as Message;
    return { ...object, kind, apiVersion };
  } catch (error) {
    throw badRequest(`the protobuf body cannot be decoded as ${apiVersion} ${kind}: ${String(error)}`);
  }
}
