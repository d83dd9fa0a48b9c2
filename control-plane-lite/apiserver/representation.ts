// The forms of an answer: stored bytes as they are, Tables, and metadata alone.
import { stringify } from 'yaml';
import type { KubeObject } from '#kube/api/resource.ts';
import type { PrinterFor, TableColumn } from '../registry/kind-rules.ts';
import type { ObjectParser } from '../registry/object-reader.ts';
import type { ServedResource } from '../registry/resource-table.ts';
import { fromStored } from '../registry/stored-version.ts';
import type { StoredEntry } from '../storage/backend.ts';
import type { Negotiated } from './http/negotiate.ts';

export type IncludeObject = 'None' | 'Metadata' | 'Object';

/** What turns stored entries into the bytes of an answer. */
export interface Representer {
  contentType: string;
  /** One object, as in get or in a watch event. */
  one(entry: StoredEntry): Buffer;
  /** A list; `listMeta` is the JSON of the list's metadata. */
  many(entries: readonly StoredEntry[], listMeta: string): Buffer;
  /** The object of a watch event; the first of a stream of Tables carries the columns. */
  event(entry: StoredEntry): Buffer;
}

const comma = Buffer.from(',');
const closing = Buffer.from(']}\n');

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
    one: bytes,
    event: bytes,
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
  return {
    contentType: `application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=${metaVersion}`,
    one,
    event: one,
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
  return {
    contentType: `application/json;as=Table;g=meta.k8s.io;v=${metaVersion}`,
    one: (entry) => table(printer.columns, [row(entry)], metaOf(entry)),
    many: (entries, listMeta) => table(printer.columns, entries.map(row), listMeta),
    event: (entry) => {
      const columns = hasColumns ? [] : printer.columns;
      hasColumns = true;
      return table(columns, [row(entry)], metaOf(entry)).subarray(0, -1);
    },
  };
}

export interface RepresentationDeps {
  parse: ObjectParser;
  printerFor: PrinterFor;
  nowMs: () => number;
}

/** The representer that a request negotiated. Table representers of watches are for one stream each. */
export function representerFor(
  negotiated: Negotiated,
  served: ServedResource,
  query: URLSearchParams,
  deps: RepresentationDeps,
): Representer {
  const include = query.get('includeObject');
  const represent = () => {
    switch (negotiated.representation) {
      case 'object':
        return objectRepresenter(served, deps.parse);
      case 'metadata':
        return metadataRepresenter(served, deps.parse, negotiated.metaVersion);
      case 'table': {
        const shown = include === 'None' || include === 'Object' ? include : 'Metadata';
        return tableRepresenter(served, deps.parse, negotiated.metaVersion, deps.printerFor, shown, deps.nowMs);
      }
      default:
        return negotiated.representation satisfies never;
    }
  };
  const representer = represent();
  return negotiated.mediaType === 'application/yaml' ? asYaml(representer) : representer;
}

function asYaml(representer: Representer): Representer {
  const convert = (bytes: Buffer) => Buffer.from(stringify(JSON.parse(bytes.toString())));
  return {
    contentType: 'application/yaml',
    one: (entry) => convert(representer.one(entry)),
    many: (entries, listMeta) => convert(representer.many(entries, listMeta)),
    event: representer.event,
  };
}
