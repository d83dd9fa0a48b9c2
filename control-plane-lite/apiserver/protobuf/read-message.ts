// From protobuf to JSON's form of an object, by the message's plan. The bytes come from clients: lengths, wire types and
// depth are checked, and unknown fields are skipped.
import protobuf from 'protobufjs';
import type { FieldPlan, MessagePlan, ValuePlan, WireScalar } from './message-plan.ts';

type Values = Record<string, unknown>;

const maxDepth = 100;
const wire = { varint: 0, fixed64: 1, delimited: 2, fixed32: 5 } as const;
const wireTypes: Readonly<Record<WireScalar, number>> = { string: 2, bytes: 2, bool: 0, int32: 0, int64: 0, double: 1 };

/** Sets a property whatever its name: keys come from clients. */
function setOwn(object: Values, name: string, value: unknown): void {
  if (name === '__proto__') {
    Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
  } else object[name] = value;
}

function readScalar(type: WireScalar, reader: protobuf.Reader): unknown {
  switch (type) {
    case 'string':
      return reader.string();
    case 'bytes': {
      const bytes = reader.bytes();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
    }
    case 'bool':
      return reader.bool();
    case 'int32':
      return reader.int32();
    case 'int64':
      return Number(reader.int64());
    case 'double':
      return reader.double();
    default:
      return type satisfies never;
  }
}

/** Where a message of known length ends. */
function endOf(reader: protobuf.Reader): number {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > reader.len) throw new Error('unexpected EOF');
  return end;
}

function expectWire(field: FieldPlan, wanted: number, found: number): void {
  if (wanted !== found) throw new Error(`proto: wrong wireType = ${found} for field ${field.name}`);
}

const wireTypeOf = (value: ValuePlan): number => (value.kind === 'scalar' ? wireTypes[value.type] : wire.delimited);

function readValue(plan: ValuePlan, reader: protobuf.Reader, depth: number): unknown {
  switch (plan.kind) {
    case 'scalar':
      return readScalar(plan.type, reader);
    case 'wrapped': {
      const values: Values = {};
      const only = new Map([[plan.field.id, plan.field]]);
      readFields({ fields: [plan.field], byId: only }, reader, endOf(reader), depth + 1, values);
      return values[plan.field.name] ?? [];
    }
    case 'message': {
      const values: Values = {};
      readFields(plan.plan(), reader, endOf(reader), depth + 1, values);
      return plan.single === undefined ? values : plan.single.fromFields(values);
    }
    default:
      return plan satisfies never;
  }
}

function emptyOf(plan: ValuePlan): unknown {
  if (plan.kind === 'wrapped') return [];
  if (plan.kind === 'message') return plan.single === undefined ? {} : plan.single.fromFields({});
  if (plan.type === 'bool') return false;
  return plan.type === 'string' || plan.type === 'bytes' ? '' : 0;
}

function readEntry(field: FieldPlan, reader: protobuf.Reader, depth: number, object: Values): void {
  const end = endOf(reader);
  let key = '';
  let value = emptyOf(field.value);
  while (reader.pos < end) {
    const tag = reader.tag();
    const id = tag >>> 3;
    if (id === 1) {
      expectWire(field, wire.delimited, tag & 7);
      key = reader.string();
    } else if (id === 2) {
      expectWire(field, wireTypeOf(field.value), tag & 7);
      value = readValue(field.value, reader, depth + 1);
    } else skip(reader, tag & 7);
  }
  if (reader.pos !== end) throw new Error('unexpected EOF');
  object[field.name] ??= {};
  setOwn(object[field.name] as Values, key, value);
}

function skip(reader: protobuf.Reader, wireType: number): void {
  const known = wireType === wire.varint || wireType === wire.fixed64 || wireType === wire.delimited;
  if (!known && wireType !== wire.fixed32) throw new Error(`proto: illegal wireType ${wireType}`);
  reader.skipType(wireType);
}

const isZero = (value: unknown): boolean => value === '' || value === 0 || value === false;

function readList(field: FieldPlan, wireType: number, reader: protobuf.Reader, depth: number, object: Values): void {
  object[field.name] ??= [];
  const list = object[field.name] as unknown[];
  const wanted = wireTypeOf(field.value);
  if (wireType === wire.delimited && wanted !== wire.delimited) {
    // Numbers may come packed.
    const end = endOf(reader);
    while (reader.pos < end) list.push(readValue(field.value, reader, depth));
    return;
  }
  expectWire(field, wanted, wireType);
  list.push(readValue(field.value, reader, depth));
}

function readField(field: FieldPlan, wireType: number, reader: protobuf.Reader, depth: number, object: Values): void {
  switch (field.shape) {
    case 'list':
      readList(field, wireType, reader, depth, object);
      return;
    case 'map':
      expectWire(field, wire.delimited, wireType);
      readEntry(field, reader, depth, object);
      return;
    case 'inlined':
      expectWire(field, wire.delimited, wireType);
      if (field.value.kind === 'message') readFields(field.value.plan(), reader, endOf(reader), depth + 1, object);
      return;
    case 'one': {
      expectWire(field, wireTypeOf(field.value), wireType);
      const value = readValue(field.value, reader, depth);
      if (value === undefined || (isZero(value) && !field.keepsZero)) delete object[field.name];
      else object[field.name] = value;
      return;
    }
    default:
      field.shape satisfies never;
  }
}

function readFields(plan: MessagePlan, reader: protobuf.Reader, end: number, depth: number, object: Values): void {
  if (depth > maxDepth) throw new Error('the message is nested too deeply');
  while (reader.pos < end) {
    const tag = reader.tag();
    const field = plan.byId.get(tag >>> 3);
    if (field === undefined) skip(reader, tag & 7);
    else readField(field, tag & 7, reader, depth, object);
  }
  if (reader.pos !== end) throw new Error('unexpected EOF');
}

/** The object of a message's bytes. Throws for bytes that are no such message. */
export function decodeMessage(plan: MessagePlan, bytes: Buffer): Values {
  const reader = protobuf.Reader.create(bytes);
  const object: Values = {};
  readFields(plan, reader, reader.len, 0, object);
  return object;
}
