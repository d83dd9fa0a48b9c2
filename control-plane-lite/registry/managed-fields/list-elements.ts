// How items of lists are identified: by their keys in lists that are maps, by their value in sets.
import type { ListType } from '../schema.ts';

// Keys that the reference fills in before it compares items.
const keyDefaults: Record<string, string> = { protocol: 'TCP' };

/** The path element of an item, or undefined for an item that lacks its keys. */
export function listElement(type: ListType, item: unknown): string | undefined {
  if (type.listType === 'set') return `v:${JSON.stringify(item)}`;
  if (typeof item !== 'object' || item === null) return undefined;
  const keys: Record<string, unknown> = {};
  for (const name of [...type.mapKeys].sort()) {
    const value = (item as Record<string, unknown>)[name] ?? keyDefaults[name];
    if (value !== undefined) keys[name] = value;
  }
  return Object.keys(keys).length === 0 ? undefined : `k:${JSON.stringify(keys)}`;
}

/** Items by their path element, in order. Later duplicates win their place, as in a map. */
export function listByElement(type: ListType, list: readonly unknown[]): Map<string, unknown> {
  const items = new Map<string, unknown>();
  for (const item of list) {
    const element = listElement(type, item);
    if (element !== undefined) items.set(element, item);
  }
  return items;
}
