// Stored entries as protobuf: objects, lists and watch events. Stored bytes are JSON, so that each object is read and
// written anew; long lists give way to other requests in between.
import { setImmediate as otherWork } from 'node:timers/promises';
import type { StoredEntry } from '../../storage/backend.ts';
import { protobufMediaType } from '../http/negotiate.ts';
import type { Representer } from '../representer.ts';
import type { ProtobufCodec } from './protobuf-codec.ts';

/** The kind that is shown, and the parameters of its media type. */
export interface ShownKind {
  apiVersion: string;
  kind: string;
  parameters: string;
}

/** So many items are written at a stretch: a few milliseconds. */
const stretch = 128;

/** `objectOf` gives the object that is shown for an entry, with its kind. */
export function createProtobufRepresenter(
  { apiVersion, kind, parameters }: ShownKind,
  objectOf: (entry: StoredEntry) => object,
  protobuf: ProtobufCodec,
): Representer {
  const body = (object: object) => protobuf.encode({ ...object });
  return {
    contentType: `${protobufMediaType}${parameters}`,
    streamType: `${protobufMediaType};stream=watch`,
    one: (entry) => body(objectOf(entry)),
    many: async (entries, listMeta) => {
      const items: Buffer[] = [];
      for (const [index, entry] of entries.entries()) {
        if (index % stretch === stretch - 1) await otherWork();
        items.push(protobuf.encodeItem(apiVersion, kind, { ...objectOf(entry) }));
      }
      const metadata = JSON.parse(listMeta) as Record<string, unknown>;
      return protobuf.encodeList(apiVersion, `${kind}List`, metadata, items);
    },
    event: (type, entry) => protobuf.frameEvent(type, body(objectOf(entry))),
    frame: (type, object) => protobuf.frameEvent(type, body(object)),
  };
}
