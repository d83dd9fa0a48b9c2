// The envelope of protobuf bodies: a prefix, and runtime.Unknown with the object's kind and its bytes. Opened and closed
// by hand on the wire's terms, so that a list's items are joined and never copied into one message first.
import protobuf from 'protobufjs';
import { badRequest } from '../../registry/status-errors.ts';
import type { MessagePlan } from './message-plan.ts';
import { decodeMessage } from './read-message.ts';

const magic = Buffer.from('k8s\0');
/** Content encoding and content type, empty: written all the same, as the reference does. */
const tail = Buffer.from([0x1a, 0x00, 0x22, 0x00]);
const typeMetaTag = 0x0a;
const rawTag = 0x12;

export interface Envelope {
  apiVersion: string;
  kind: string;
  raw: Buffer;
}

function varint(value: number): Buffer {
  return Buffer.from(protobuf.Writer.create().uint32(value).finish());
}

/** A field that is as long as it says: tag, length, and what `parts` hold together. */
export function delimited(tag: number, parts: readonly Buffer[]): Buffer[] {
  const length = parts.reduce((total, part) => total + part.length, 0);
  return [Buffer.from([tag]), varint(length), ...parts];
}

const heads = new Map<string, Buffer>();

function headOf(apiVersion: string, kind: string): Buffer {
  const key = `${apiVersion} ${kind}`;
  let head = heads.get(key);
  if (head === undefined) {
    const meta = [...delimited(0x0a, [Buffer.from(apiVersion)]), ...delimited(0x12, [Buffer.from(kind)])];
    head = Buffer.concat([magic, ...delimited(typeMetaTag, meta)]);
    heads.set(key, head);
  }
  return head;
}

/** A body of an object's bytes, given in parts. */
export function closeEnvelope(apiVersion: string, kind: string, raw: readonly Buffer[]): Buffer {
  return Buffer.concat([headOf(apiVersion, kind), ...delimited(rawTag, raw), tail]);
}

interface OpenedUnknown {
  typeMeta?: { apiVersion?: string; kind?: string };
  raw?: string;
}

/** What is in a body. `unknown` is the plan of runtime.Unknown. Throws StatusError 400. */
export function openEnvelope(body: Buffer, unknown: MessagePlan): Envelope {
  if (!body.subarray(0, magic.length).equals(magic)) {
    throw badRequest('the body of the request is not in the protobuf form of the API: its prefix is wrong');
  }
  try {
    const { typeMeta, raw } = decodeMessage(unknown, body.subarray(magic.length)) as OpenedUnknown;
    return {
      apiVersion: typeMeta?.apiVersion ?? '',
      kind: typeMeta?.kind ?? '',
      raw: Buffer.from(raw ?? '', 'base64'),
    };
  } catch (error) {
    throw badRequest(`the envelope of the protobuf body cannot be read: ${String(error)}`);
  }
}
