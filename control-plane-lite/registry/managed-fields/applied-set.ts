// The fields that an applied configuration names. Pure.
import type { Type } from '../schema.ts';
import { childrenOf } from './compare.ts';
import { childOf, emptySet, type FieldSet } from './field-set.ts';

function insert(value: unknown, type: Type, set: FieldSet): void {
  const children = childrenOf(value, type);
  if (children === undefined) {
    set.isMember = true;
    return;
  }
  for (const [element, child] of children) {
    const target = childOf(set, element);
    insert(child.value, child.type, target);
    const isStructField = type.kind === 'object';
    const isEmptyChild = target.children.size === 0;
    if (!isStructField || isEmptyChild) target.isMember = true;
  }
}

/** Members are leaves, keys of maps, items of lists, and structs that are empty. */
export function appliedSet(configuration: object, type: Type): FieldSet {
  const set = emptySet();
  insert(configuration, type, set);
  set.isMember = false;
  return set;
}
