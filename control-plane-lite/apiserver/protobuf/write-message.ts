// From JSON's form of an object to protobuf, by the message's plan. What JSON does not have is not written.
import protobuf from 'protobufjs';
import type { FieldPlan, MessagePlan, ValuePlan, WireScalar } from './message-plan.ts';

const delimited = 2;
const wireTypes: Readonly<Record<WireScalar, number>> = { string: 2, bytes: 2, bool: 0, int32: 0, int64: 0, double: 1 };

type Values = Readonly<Record<string, unknown>>;

const tagOf = (id: number, wireType: number): number => (id << 3) | wireType;
const wireTypeOf = (value: ValuePlan): number => (value.kind === 'scalar' ? wireTypes[value.type] : delimited);

function writeScalar(scalar: WireScalar, value: unknown, writer: protobuf.Writer): void {
  switch (scalar) {
    case 'string':
      writer.string(typeof value === 'string' ? value : String(value));
      return;
    case 'bytes':
      writer.bytes(Buffer.isBuffer(value) ? value : Buffer.from(String(value), 'base64'));
      return;
    case 'bool':
      writer.bool(value === true);
      return;
    case 'int32':
      writer.int32(Number(value));
      return;
    case 'int64':
      writer.int64(Number(value));
      return;
    case 'double':
      writer.double(Number(value));
      return;
    default:
      scalar satisfies never;
  }
}

function writeValue(plan: ValuePlan, value: unknown, writer: protobuf.Writer): void {
  switch (plan.kind) {
    case 'scalar':
      writeScalar(plan.type, value, writer);
      return;
    case 'wrapped':
      writer.fork();
      writeField(plan.field, value, writer);
      writer.ldelim();
      return;
    case 'message':
      writer.fork();
      writeFields(plan.plan(), plan.single === undefined ? (value as Values) : plan.single.toFields(value), writer);
      writer.ldelim();
      return;
    default:
      plan satisfies never;
  }
}

function writeMap(field: FieldPlan, map: Values, writer: protobuf.Writer): void {
  for (const key of Object.keys(map).sort()) {
    const value = map[key];
    writer.uint32(tagOf(field.id, delimited)).fork();
    writer.uint32(tagOf(1, delimited)).string(key);
    if (value !== null && value !== undefined) {
      writer.uint32(tagOf(2, wireTypeOf(field.value)));
      writeValue(field.value, value, writer);
    }
    writer.ldelim();
  }
}

function writeField(field: FieldPlan, value: unknown, writer: protobuf.Writer): void {
  const tag = tagOf(field.id, wireTypeOf(field.value));
  switch (field.shape) {
    case 'map':
      writeMap(field, value as Values, writer);
      return;
    case 'list':
      for (const item of value as readonly unknown[]) {
        writer.uint32(tag);
        writeValue(field.value, item ?? {}, writer);
      }
      return;
    case 'one':
    case 'inlined':
      writer.uint32(tag);
      writeValue(field.value, value, writer);
      return;
    default:
      field.shape satisfies never;
  }
}

/** Writes the fields of a message; its length is the caller's. */
export function writeFields(plan: MessagePlan, object: Values, writer: protobuf.Writer): void {
  for (const field of plan.fields) {
    const value = field.shape === 'inlined' ? object : object[field.name];
    if (value !== undefined && value !== null) writeField(field, value, writer);
  }
}

/** The bytes of a message. */
export function encodeMessage(plan: MessagePlan, object: Values): Buffer {
  const writer = protobuf.Writer.create();
  writeFields(plan, object, writer);
  return Buffer.from(writer.finish());
}
