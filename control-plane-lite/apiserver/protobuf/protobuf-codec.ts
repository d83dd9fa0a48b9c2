// Kubernetes' protobuf content type both ways: bodies in their envelope on the wire, JSON's form of objects inside.
// Nothing of it is loaded before the first client speaks protobuf.
import { failure } from '#kube/errors/status-error.ts';
import type { Schema } from '../../registry/schema.ts';
import { badRequest } from '../../registry/status-errors.ts';
import { closeEnvelope, delimited, openEnvelope } from './envelope.ts';
import { createPlanner, type MessagePlan, type Planner } from './message-plan.ts';
import { messageNamed, messageOf } from './messages.ts';
import { decodeMessage } from './read-message.ts';
import { encodeMessage } from './write-message.ts';

type JsonObject = Readonly<Record<string, unknown>>;

export interface ProtobufCodec {
  /** Whether a kind has a protobuf form: those of custom resources have none. */
  knows(apiVersion: string, kind: string): boolean;
  /** A body of one object, which names its kind itself. */
  encode(object: JsonObject): Buffer;
  /** One object's bytes without the envelope, as items of lists. */
  encodeItem(apiVersion: string, kind: string, object: JsonObject): Buffer;
  /** A body of a list, of `metadata` and items that are encoded already. */
  encodeList(apiVersion: string, kind: string, metadata: JsonObject, items: readonly Buffer[]): Buffer;
  /** One frame of a watch: an event around a body. */
  frameEvent(type: string, body: Buffer): Buffer;
  /**
   * JSON's form of a body's object. `expected` is the kind of a body that names none.
   * Throws StatusError 400 or 415.
   */
  decode(body: Buffer, expected?: { apiVersion: string; kind: string }): Record<string, unknown>;
}

const metadataTag = 0x0a;
const itemTag = 0x12;
const frameLengthBytes = 4;

function gvkOf(apiVersion: string, kind: string): { group: string; version: string; kind: string } {
  const cut = apiVersion.lastIndexOf('/');
  return { group: cut < 0 ? '' : apiVersion.slice(0, cut), version: apiVersion.slice(cut + 1), kind };
}

/** Encodes and decodes by the schema's types. */
export function createProtobufCodec(schema: Schema): ProtobufCodec {
  let planner: Planner | undefined;
  const planned: Planner = (type, schemaType) => {
    planner ??= createPlanner(schema);
    return planner(type, schemaType);
  };
  const plans = new Map<string, MessagePlan | undefined>();
  const planOf = (apiVersion: string, kind: string): MessagePlan | undefined => {
    const key = `${apiVersion} ${kind}`;
    const known = plans.get(key);
    if (known !== undefined) return known;
    const message = messageOf(apiVersion, kind);
    if (message === undefined) return undefined;
    const name = schema.nameOf(gvkOf(apiVersion, kind)) ?? schema.nameOf({ group: '', version: 'v1', kind });
    const plan = planned(message, name === undefined ? undefined : schema.named(name));
    plans.set(key, plan);
    return plan;
  };
  const knownPlan = (apiVersion: string, kind: string): MessagePlan => {
    const plan = planOf(apiVersion, kind);
    if (plan === undefined) throw new Error(`${apiVersion} ${kind} has no protobuf form`);
    return plan;
  };
  const metaPlan = () => planned(messageNamed('k8s.io.apimachinery.pkg.apis.meta.v1.ListMeta'), undefined);
  return {
    knows: (apiVersion, kind) => planOf(apiVersion, kind) !== undefined,
    encode: (object) => {
      const [apiVersion, kind] = [String(object['apiVersion']), String(object['kind'])];
      return closeEnvelope(apiVersion, kind, [encodeMessage(knownPlan(apiVersion, kind), object)]);
    },
    encodeItem: (apiVersion, kind, object) => encodeMessage(knownPlan(apiVersion, kind), object),
    encodeList: (apiVersion, kind, metadata, items) => {
      const parts = delimited(metadataTag, [encodeMessage(metaPlan(), metadata)]);
      for (const item of items) parts.push(...delimited(itemTag, [item]));
      return closeEnvelope(apiVersion, kind, parts);
    },
    frameEvent: (type, body) => {
      const parts = [...delimited(0x0a, [Buffer.from(type)]), ...delimited(0x12, delimited(0x0a, [body]))];
      const event = Buffer.concat(parts);
      const length = Buffer.alloc(frameLengthBytes);
      length.writeUInt32BE(event.length);
      return Buffer.concat([length, event]);
    },
    decode: (body, expected) => {
      const unknown = planned(messageNamed('k8s.io.apimachinery.pkg.runtime.Unknown'), undefined);
      const opened = openEnvelope(body, unknown);
      const apiVersion = opened.apiVersion || (expected?.apiVersion ?? '');
      const kind = opened.kind || (expected?.kind ?? '');
      const plan = planOf(apiVersion, kind);
      if (plan === undefined) {
        const message = `${apiVersion} ${kind} is not accepted as protobuf: send it as JSON`;
        throw failure(415, 'UnsupportedMediaType', message, {});
      }
      try {
        return { ...decodeMessage(plan, opened.raw), kind, apiVersion };
      } catch (error) {
        throw badRequest(`the protobuf body cannot be decoded as ${apiVersion} ${kind}: ${String(error)}`);
      }
    },
  };
}
