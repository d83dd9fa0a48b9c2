// What differs between two objects, as sets of paths, following the schema's list and map types. Pure.
import { isDeepStrictEqual } from 'node:util';
import type { ObjectType, Type } from '../schema.ts';
import { childOf, emptySet, type FieldSet } from './field-set.ts';
import { listByElement } from './list-elements.ts';

export interface Comparison {
  added: FieldSet;
  modified: FieldSet;
  removed: FieldSet;
}

const anyType: Type = { kind: 'any' };

// Structs that the reference always has, so that they never count as added by themselves.
const alwaysThere = new Set(['metadata', 'spec', 'status', 'template', 'strategy', 'updateStrategy', 'containers']);

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The children of a value by path element with their types; undefined for a value that is compared as a whole. */
export function childrenOf(value: unknown, type: Type): Map<string, { value: unknown; type: Type }> | undefined {
  if (type.kind === 'object' && !type.isAtomic && isObject(value)) {
    return new Map(
      Object.entries(value)
        .filter(([, child]) => child !== undefined && child !== null)
        .map(([name, child]) => [`f:${name}`, { value: child, type: type.fields.get(name)?.type ?? anyType }]),
    );
  }
  if (type.kind === 'map' && !type.isAtomic && isObject(value)) {
    return new Map(Object.entries(value).map(([name, child]) => [`f:${name}`, { value: child, type: type.values }]));
  }
  if (type.kind === 'list' && type.listType !== 'atomic' && Array.isArray(value)) {
    return new Map(
      [...listByElement(type, value)].map(([element, item]) => [element, { value: item, type: type.items }]),
    );
  }
  return undefined;
}

/** Puts a value and everything in it into `set`, the way an update owns what it adds. */
function insertAll(value: unknown, type: Type, set: FieldSet, isImplied: boolean): void {
  const children = childrenOf(value, type);
  if (!isImplied || children === undefined || children.size === 0) set.isMember = true;
  for (const [element, child] of children ?? []) {
    insertAll(child.value, child.type, childOf(set, element), isImpliedField(element, type));
  }
}

function isImpliedField(element: string, parent: Type): boolean {
  const name = element.slice(2);
  return parent.kind === 'object' && (alwaysThere.has(name) || parent.required.has(name));
}

function compareValues(before: unknown, after: unknown, type: Type, result: Comparison): void {
  const old = childrenOf(before, type);
  const now = childrenOf(after, type);
  if (old === undefined || now === undefined) {
    if (!isDeepStrictEqual(before, after)) result.modified.isMember = true;
    return;
  }
  for (const [element, child] of now) {
    const was = old.get(element);
    if (was === undefined) {
      insertAll(child.value, child.type, childOf(result.added, element), isImpliedField(element, type));
    } else if (was.value !== child.value) {
      const inner = { added: emptySet(), modified: emptySet(), removed: emptySet() };
      compareValues(was.value, child.value, child.type, inner);
      graft(result.added, element, inner.added);
      graft(result.modified, element, inner.modified);
      graft(result.removed, element, inner.removed);
    }
  }
  for (const [element, child] of old) {
    if (!now.has(element)) insertAll(child.value, child.type, childOf(result.removed, element), false);
  }
}

function graft(parent: FieldSet, element: string, child: FieldSet): void {
  if (child.isMember || child.children.size > 0) parent.children.set(element, child);
}

/** Compares two objects of a type. */
export function compareObjects(before: object, after: object, type: ObjectType): Comparison {
  const result: Comparison = { added: emptySet(), modified: emptySet(), removed: emptySet() };
  compareValues(before, after, type, result);
  return result;
}
