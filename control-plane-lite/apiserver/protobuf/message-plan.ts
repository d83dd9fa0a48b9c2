// How one message is read and written: its fields by number, with the names that JSON has for them. A plan comes from
// the message and the schema's type together, is made once, and holds for both directions.
import protobuf from 'protobufjs';
import type { ObjectType, Schema, Type } from '../../registry/schema.ts';
import { isPointerField } from './pointer-fields.ts';
import { type SingleValue, singleValueOf } from './single-values.ts';

export type WireScalar = 'string' | 'bytes' | 'bool' | 'int32' | 'int64' | 'double';

export type ValuePlan =
  | { kind: 'scalar'; type: WireScalar }
  /** `single` where JSON has one value for the whole message. */
  | { kind: 'message'; plan: () => MessagePlan; single: SingleValue | undefined }
  /** A list in a message of its own, as in the values of `extra`: JSON has the list itself. */
  | { kind: 'wrapped'; field: FieldPlan };

export interface FieldPlan {
  id: number;
  /** The name that JSON has. */
  name: string;
  shape: 'one' | 'list' | 'map' | 'inlined';
  value: ValuePlan;
  /** A zero is a value; else it is as good as absent. */
  keepsZero: boolean;
}

export interface MessagePlan {
  /** In the order of their numbers, as they are written. */
  fields: readonly FieldPlan[];
  byId: ReadonlyMap<number, FieldPlan>;
}

export type Planner = (type: protobuf.Type, schemaType: Type | undefined) => MessagePlan;

const scalars: ReadonlySet<string> = new Set<WireScalar>(['string', 'bytes', 'bool', 'int32', 'int64', 'double']);
const isScalar = (type: string): type is WireScalar => scalars.has(type);

const schemaPropsName = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps';

/** protobufjs' names begin with a dot. */
export const fullNameOf = (message: protobuf.Type): string => message.fullName.replace(/^\./, '');

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** JSON's name of a field; undefined when JSON shows the fields of its message in its place. */
function jsonName(field: protobuf.Field, schemaType: ObjectType | undefined): string | undefined {
  const { name } = field;
  if (schemaType === undefined || schemaType.fields.has(name)) return name;
  const spelled = [`$${name}`, kebab(name)].find((each) => schemaType.fields.has(each));
  if (spelled !== undefined) return spelled;
  const folded = name.toLowerCase();
  for (const each of schemaType.fields.keys()) if (each.toLowerCase() === folded) return each;
  return field.resolvedType instanceof protobuf.Type && !field.repeated ? undefined : name;
}

function shapeOf(field: protobuf.Field, isInlined: boolean): FieldPlan['shape'] {
  if (field instanceof protobuf.MapField) return 'map';
  if (field.repeated) return 'list';
  return isInlined ? 'inlined' : 'one';
}

/** The schema's type of what a field holds: of the items of a list, of the values of a map. */
function innerType(field: protobuf.Field, type: Type | undefined): Type | undefined {
  if (field instanceof protobuf.MapField) return type?.kind === 'map' ? type.values : undefined;
  if (field.repeated) return type?.kind === 'list' ? type.items : undefined;
  return type;
}

/** Of values of any type, false and 0 are as good as others. */
const isFreeForm = ({ resolvedType }: protobuf.Field): boolean => /^JSON/.test(resolvedType?.name ?? '');

/** Makes plans, each once. Types without a schema are taken as JSON spells their messages. */
export function createPlanner(schema: Schema): Planner {
  const plans = new Map<string, MessagePlan>();

  const planValue = (field: protobuf.Field, type: Type | undefined): ValuePlan => {
    const message = field.resolvedType;
    if (!(message instanceof protobuf.Type)) {
      if (!isScalar(field.type)) throw new Error(`the API has no protobuf fields of type ${field.type}`);
      return { kind: 'scalar', type: field.type };
    }
    const single = singleValueOf(fullNameOf(message));
    if (single !== undefined) return { kind: 'message', plan: () => plan(message, undefined), single };
    const [only] = message.fieldsArray;
    const isWrapped = only?.name === 'items' && only.repeated && message.fieldsArray.length === 1;
    if (isWrapped && type?.kind !== 'object') return { kind: 'wrapped', field: planField(only, undefined, message) };
    // The definitions of custom resources hold schemas within schemas, behind values that JSON has one form for.
    const inner = message.name === 'JSONSchemaProps' ? schema.named(schemaPropsName) : type;
    return { kind: 'message', plan: () => plan(message, inner), single: undefined };
  };

  const planField = (field: protobuf.Field, owner: ObjectType | undefined, message: protobuf.Type): FieldPlan => {
    const name = jsonName(field, owner);
    const type = name === undefined ? owner : owner?.fields.get(name)?.type;
    return {
      id: field.id,
      name: name ?? field.name,
      shape: shapeOf(field, name === undefined),
      value: planValue(field, name === undefined ? owner : innerType(field, type)),
      keepsZero:
        owner?.required.has(name ?? '') === true ||
        isFreeForm(field) ||
        isPointerField(fullNameOf(message), field.name),
    };
  };

  const plan: Planner = (message, type) => {
    const owner = type?.kind === 'object' ? type : undefined;
    const key = `${message.fullName} ${owner?.name ?? ''}`;
    const known = plans.get(key);
    if (known !== undefined) return known;
    const fields = message.fieldsArray
      .map((field) => planField(field.resolve(), owner, message))
      .sort((a, b) => a.id - b.id);
    const made = { fields, byId: new Map(fields.map((field) => [field.id, field])) };
    plans.set(key, made);
    return made;
  };

  return plan;
}
