// Lays an applied configuration over the live object, and takes out what nobody wants any more. Pure.
import type { Type } from '../schema.ts';
import type { FieldSet } from './field-set.ts';
import { listByElement, listElement } from './list-elements.ts';

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const anyType: Type = { kind: 'any' };

/** Items of the live list stay where they are; those of the configuration follow in its order where they are new. */
function mergeLists(live: readonly unknown[], applied: readonly unknown[], type: Type & { kind: 'list' }): unknown[] {
  const wanted = listByElement(type, applied);
  const merged: unknown[] = [];
  const seen = new Set<string>();
  for (const item of live) {
    const element = listElement(type, item);
    const over = element === undefined ? undefined : wanted.get(element);
    if (element !== undefined) seen.add(element);
    merged.push(over === undefined ? item : mergeValues(item, over, type.items));
  }
  for (const [element, item] of wanted) if (!seen.has(element)) merged.push(item);
  return merged;
}

/** `applied` wins; fields that it does not name keep their live value. */
export function mergeValues(live: unknown, applied: unknown, type: Type): unknown {
  if (type.kind === 'list' && type.listType !== 'atomic' && Array.isArray(live) && Array.isArray(applied)) {
    return mergeLists(live, applied, type);
  }
  const isMergeable = (type.kind === 'object' || type.kind === 'map') && !type.isAtomic;
  if (!isMergeable || !isObject(live) || !isObject(applied)) return applied;
  const merged: Json = { ...live };
  for (const [name, value] of Object.entries(applied)) {
    if (value === null || value === undefined) continue;
    const field = type.kind === 'object' ? (type.fields.get(name)?.type ?? anyType) : type.values;
    merged[name] = name in live ? mergeValues(live[name], value, field) : value;
  }
  return merged;
}

/** Removes the paths of `unwanted` from a value. Containers that become empty by it go too, unless `kept` names them. */
export function removePaths(value: unknown, type: Type, unwanted: FieldSet, kept: FieldSet | undefined): unknown {
  const emptied = (rest: unknown, size: number) => (size === 0 && kept?.isMember !== true ? undefined : rest);
  if (type.kind === 'list' && type.listType !== 'atomic' && Array.isArray(value)) {
    const items = value.flatMap((item) => {
      const element = listElement(type, item);
      const inner = element === undefined ? undefined : unwanted.children.get(element);
      if (inner === undefined || element === undefined) return [item];
      if (inner.isMember && kept?.children.get(element) === undefined) return [];
      const rest = removePaths(item, type.items, inner, kept?.children.get(element));
      return rest === undefined ? [] : [rest];
    });
    return items.length === value.length ? items : emptied(items, items.length);
  }
  const isMergeable = (type.kind === 'object' || type.kind === 'map') && !type.isAtomic;
  if (!isMergeable || !isObject(value)) return value;
  const rest: Json = { ...value };
  let removed = 0;
  for (const [element, inner] of unwanted.children) {
    const name = element.slice(2);
    if (!(name in rest)) continue;
    const field = type.kind === 'object' ? (type.fields.get(name)?.type ?? anyType) : type.values;
    const keptInner = kept?.children.get(element);
    const left =
      inner.isMember && keptInner === undefined ? undefined : removePaths(rest[name], field, inner, keptInner);
    if (left === undefined) {
      delete rest[name];
      removed += 1;
    } else {
      rest[name] = left;
    }
  }
  return removed > 0 ? emptied(rest, Object.keys(rest).length) : rest;
}
