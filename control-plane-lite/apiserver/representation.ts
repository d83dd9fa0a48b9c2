// The forms of an answer: stored bytes as they are, Tables, and metadata alone.
import { stringify } from 'yaml';
import type { KubeObject } from '#kube/api/resource.ts';
import type { PrinterFor, TableColumn } from '../registry/kind-rules.ts';
import type { ObjectParser } from '../registry/object-reader.ts';
import type { ServedResource } from '../registry/resource-table.ts';
import { fromStored } from '../registry/stored-version.ts';
import type { StoredEntry } from '../storage/backend.ts';
import { type Negotiated, protobufMediaType, yamlMediaType } from './http/negotiate.ts';
import type { ProtobufCodec } from './protobuf/protobuf-codec.ts';
import { createProtobufRepresenter } from './protobuf/protobuf-representer.ts';
import type { Representer } from './representer.ts';
import { jsonFrame } from './watch/json-frame.ts';

export type IncludeObject = 'None' | 'Metadata' | 'Object';

const comma = Buffer.from(',');
const closing = Buffer.from(']}\n');

const frame = (type: string, object: object): Buffer => jsonFrame(type, Buffer.from(JSON.stringify(object)));

function partialMetadata(object: KubeObject, metaVersion: string): object {
  return { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${metaVersion}`, metadata: object.metadata };
}

/** The bytes of an object in the version that is served. */
export function servedBytes(entry: StoredEntry, served: ServedResource, parse: ObjectParser): Buffer {
  if (served.stored.version === served.resource.version && served.stored.group === served.resource.group) {
    return entry.value;
  }
  return Buffer.from(JSON.stringify(fromStored(served, parse(entry))));
}

function objectRepresenter(served: ServedResource, parse: ObjectParser): Representer {
  const bytes = (entry: StoredEntry) => servedBytes(entry, served, parse);
  return {
    contentType: 'application/json',
    streamType: 'application/json',
    one: bytes,
    event: (type, entry) => jsonFrame(type, bytes(entry)),
    frame,
    many: (entries, listMeta) => {
      const { kind } = served.resource;
      const head = `{"kind":"${kind}List","apiVersion":"${served.apiVersion}","metadata":${listMeta},"items":[`;
      const parts: Buffer[] = [Buffer.from(head)];
      for (const [index, entry] of entries.entries()) {
        if (index > 0) parts.push(comma);
        parts.push(bytes(entry));
      }
      parts.push(closing);
      return Buffer.concat(parts);
    },
  };
}

function metadataRepresenter(served: ServedResource, parse: ObjectParser, metaVersion: string): Representer {
  const object = (entry: StoredEntry) => partialMetadata(fromStored(served, parse(entry)), metaVersion);
  const one = (entry: StoredEntry) => Buffer.from(JSON.stringify(object(entry)));
  const contentType = `application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=${metaVersion}`;
  return {
    contentType,
    streamType: contentType,
    one,
    event: (type, entry) => jsonFrame(type, one(entry)),
    frame,
    many: (entries, listMeta) => {
      const items = JSON.stringify(entries.map(object));
      const head = `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/${metaVersion}"`;
      return Buffer.from(`${head},"metadata":${listMeta},"items":${items}}\n`);
    },
  };
}

function tableRepresenter(
  served: ServedResource,
  parse: ObjectParser,
  metaVersion: string,
  printerFor: PrinterFor,
  include: IncludeObject,
  nowMs: () => number,
): Representer {
  const printer = printerFor(served.resource);
  const row = (entry: StoredEntry) => {
    const object = fromStored(served, parse(entry));
    const shown = { None: undefined, Metadata: partialMetadata(object, metaVersion), Object: object }[include];
    return { cells: printer.cells(object, nowMs()), ...(shown === undefined ? {} : { object: shown }) };
  };
  let hasColumns = false;
  const table = (columns: readonly TableColumn[], rows: object[], listMeta: string) =>
    Buffer.from(
      `{"kind":"Table","apiVersion":"meta.k8s.io/${metaVersion}","metadata":${listMeta},"columnDefinitions":${JSON.stringify(columns)},"rows":${JSON.stringify(rows)}}\n`,
    );
  const metaOf = (entry: StoredEntry) => `{"resourceVersion":"${entry.revision}"}`;
  const contentType = `application/json;as=Table;g=meta.k8s.io;v=${metaVersion}`;
  return {
    contentType,
    streamType: contentType,
    frame,
    one: (entry) => table(printer.columns, [row(entry)], metaOf(entry)),
    many: (entries, listMeta) => table(printer.columns, entries.map(row), listMeta),
    event: (type, entry) => {
      const columns = hasColumns ? [] : printer.columns;
      hasColumns = true;
      return jsonFrame(type, table(columns, [row(entry)], metaOf(entry)).subarray(0, -1));
    },
  };
}

export interface RepresentationDeps {
  parse: ObjectParser;
  printerFor: PrinterFor;
  nowMs: () => number;
  protobuf: ProtobufCodec;
}

/** The representer that a request negotiated. Table representers of watches are for one stream each. */
export function representerFor(
  negotiated: Negotiated,
  served: ServedResource,
  query: URLSearchParams,
  deps: RepresentationDeps,
): Representer {
  const include = query.get('includeObject');
  const { representation, mediaType, metaVersion } = negotiated;
  if (mediaType === protobufMediaType) return inProtobuf(negotiated, served, deps);
  const represent = () => {
    switch (representation) {
      case 'object':
        return objectRepresenter(served, deps.parse);
      case 'metadata':
        return metadataRepresenter(served, deps.parse, metaVersion);
      case 'table': {
        const shown = include === 'None' || include === 'Object' ? include : 'Metadata';
        return tableRepresenter(served, deps.parse, metaVersion, deps.printerFor, shown, deps.nowMs);
      }
      default:
        return representation satisfies never;
    }
  };
  return mediaType === yamlMediaType ? asYaml(represent()) : represent();
}

function inProtobuf(
  { representation, metaVersion }: Negotiated,
  served: ServedResource,
  { parse, protobuf }: RepresentationDeps,
): Representer {
  if (representation === 'object') {
    const { apiVersion, resource } = served;
    const objectOf = (entry: StoredEntry) => fromStored(served, parse(entry));
    return createProtobufRepresenter({ apiVersion, kind: resource.kind, parameters: '' }, objectOf, protobuf);
  }
  const as = `;as=PartialObjectMetadata;g=meta.k8s.io;v=${metaVersion}`;
  const form = { apiVersion: `meta.k8s.io/${metaVersion}`, kind: 'PartialObjectMetadata', parameters: as };
  const objectOf = (entry: StoredEntry) => partialMetadata(fromStored(served, parse(entry)), metaVersion);
  return createProtobufRepresenter(form, objectOf, protobuf);
}

function asYaml(representer: Representer): Representer {
  const convert = (bytes: Buffer) => Buffer.from(stringify(JSON.parse(bytes.toString())));
  return {
    ...representer,
    contentType: yamlMediaType,
    one: (entry) => convert(representer.one(entry)),
    many: async (entries, listMeta) => convert(await representer.many(entries, listMeta)),
  };
}
