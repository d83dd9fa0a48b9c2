// Strategic merge patch: a merge patch that knows lists by their merge keys and has directives of its own. Pure.
// Source of the rules: k8s.io/apimachinery/pkg/util/strategicpatch.
import { isDeepStrictEqual } from 'node:util';
import type { Field, Type } from '../registry/schema.ts';
import { badRequest, unexplained } from '../registry/status-errors.ts';

type Json = Record<string, unknown>;

const directive = '$patch';
const retainKeys = '$retainKeys';
const deletePrefix = '$deleteFromPrimitiveList/';
const orderPrefix = '$setElementOrder/';

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function fieldOf(type: Type, name: string): Field | undefined {
  if (type.kind === 'object') return type.fields.get(name);
  if (type.kind === 'map') return { type: type.values, patchStrategies: [], patchMergeKey: undefined };
  return undefined;
}

const anyType: Type = { kind: 'any' };

/** A decoded value as Go prints it: `map[a:1 b:[x y]]`. */
function formatGoValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(formatGoValue).join(' ')}]`;
  if (!isObject(value)) return value === null ? '<nil>' : String(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `map[${entries.map(([key, item]) => `${key}:${formatGoValue(item)}`).join(' ')}]`;
}

/** Directives mean nothing in what is stored. */
function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.filter((item) => !(isObject(item) && item[directive] !== undefined)).map(withoutDirectives);
  }
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, item]) => !key.startsWith('$') && item !== null)
      .map(([key, item]) => [key, withoutDirectives(item)]),
  );
}

function mergeMaps(original: Json, patch: Json, type: Type): Json {
  const wanted = patch[directive];
  if (wanted === 'replace') {
    const { [directive]: _, ...rest } = patch;
    return withoutDirectives(rest) as Json;
  }
  if (wanted === 'delete') return {};
  if (wanted !== undefined && wanted !== 'merge') {
    throw unexplained(`unknown patch type: ${String(wanted)} in map: ${formatGoValue(patch)}`);
  }
  const result: Json = { ...original };
  const kept = patch[retainKeys];
  if (Array.isArray(kept)) {
    for (const key of Object.keys(result)) if (!kept.includes(key)) delete result[key];
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(deletePrefix)) removePrimitives(result, key.slice(deletePrefix.length), value);
    if (key.startsWith('$')) continue;
    if (value === null) {
      delete result[key];
      continue;
    }
    const field = fieldOf(type, key);
    result[key] = mergeField(result[key], value, field, patch[`${orderPrefix}${key}`]);
  }
  for (const [key, order] of Object.entries(patch)) {
    const name = key.slice(orderPrefix.length);
    if (key.startsWith(orderPrefix) && patch[name] === undefined && Array.isArray(result[name])) {
      result[name] = reorder(result[name] as unknown[], order, fieldOf(type, name)?.patchMergeKey);
    }
  }
  return result;
}

function removePrimitives(target: Json, name: string, values: unknown): void {
  const list = target[name];
  if (!Array.isArray(list) || !Array.isArray(values)) return;
  target[name] = list.filter((item) => !values.some((value) => isDeepStrictEqual(item, value)));
}

function mergeField(original: unknown, patch: unknown, field: Field | undefined, order: unknown): unknown {
  const type = field?.type ?? anyType;
  if (isObject(patch)) {
    const isReplaced = field?.patchStrategies.includes('replace') === true;
    return mergeMaps(isObject(original) && !isReplaced ? original : {}, patch, type);
  }
  if (Array.isArray(patch) && type.kind === 'list' && field?.patchStrategies.includes('merge') === true) {
    const list = Array.isArray(original) ? original : [];
    const merged =
      field.patchMergeKey === undefined
        ? mergePrimitives(list, patch)
        : mergeByKey(list, patch, field.patchMergeKey, type.items);
    return order === undefined ? merged : reorder(merged, order, field.patchMergeKey);
  }
  return Array.isArray(patch) ? withoutDirectives(patch) : patch;
}

function mergePrimitives(original: readonly unknown[], patch: readonly unknown[]): unknown[] {
  return [...original, ...patch.filter((item) => !original.some((other) => isDeepStrictEqual(other, item)))];
}

function mergeByKey(original: readonly unknown[], patch: readonly unknown[], key: string, items: Type): unknown[] {
  if (patch.some((item) => isObject(item) && item[directive] === 'replace')) {
    return patch.filter((item) => !(isObject(item) && item[directive] === 'replace')).map(withoutDirectives);
  }
  let result = [...original];
  for (const item of patch) {
    if (!isObject(item)) throw badRequest(`cannot merge a list of objects with ${JSON.stringify(item)}`);
    const value = item[key];
    if (value === undefined) {
      throw unexplained(`map: ${formatGoValue(item)} does not contain declared merge key: ${key}`);
    }
    const isSame = (other: unknown) => isObject(other) && isDeepStrictEqual(other[key], value);
    if (item[directive] === 'delete') {
      result = result.filter((other) => !isSame(other));
      continue;
    }
    const at = result.findIndex(isSame);
    const before = result[at];
    const merged = mergeMaps(isObject(before) ? before : {}, item, items);
    if (at < 0) result.push(merged);
    else result[at] = merged;
  }
  return result;
}

/** Puts items into the order that the patch lists; others keep their place relative to those around them. */
function reorder(list: readonly unknown[], order: unknown, key: string | undefined): unknown[] {
  if (!Array.isArray(order)) return [...list];
  const identify = (item: unknown) => JSON.stringify(key === undefined || !isObject(item) ? item : item[key]);
  const rank = new Map(order.map((item, index) => [identify(item), index]));
  const listed = list.filter((item) => rank.has(identify(item)));
  listed.sort((a, b) => (rank.get(identify(a)) ?? 0) - (rank.get(identify(b)) ?? 0));
  const result: unknown[] = [];
  let next = 0;
  for (const item of list) {
    if (rank.has(identify(item))) result.push(listed[next++]);
    else result.push(item);
  }
  return result;
}

/** A patched copy of `original`, an object of the type. Throws StatusError 400 for a patch that cannot be understood. */
export function applyStrategicMergePatch(original: object, patch: unknown, type: Type): object {
  if (!isObject(patch)) throw badRequest('error decoding patch: the patch must be an object');
  return mergeMaps(original as Json, patch, type);
}
