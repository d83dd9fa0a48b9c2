// Sets of field paths, in memory as the same tree that metadata.managedFields shows.
// Path elements are FieldsV1 keys: `f:name`, `k:{"name":"c"}`, `v:"value"`.

/** A node of the tree. A path is in the set when its node is a member. */
export interface FieldSet {
  isMember: boolean;
  children: Map<string, FieldSet>;
}

export type FieldsV1 = { [key: string]: FieldsV1 };

export function emptySet(): FieldSet {
  return { isMember: false, children: new Map() };
}

export function isEmpty(set: FieldSet): boolean {
  return !set.isMember && set.children.size === 0;
}

/** The child for a path element, made when missing. */
export function childOf(set: FieldSet, element: string): FieldSet {
  let child = set.children.get(element);
  if (child === undefined) {
    child = emptySet();
    set.children.set(element, child);
  }
  return child;
}

/** Parts that only one side has are shared, not copied: only the top of the result may be changed. */
function combine(a: FieldSet, b: FieldSet, keep: (a: boolean, b: boolean) => boolean): FieldSet {
  const result: FieldSet = { isMember: keep(a.isMember, b.isMember), children: new Map() };
  const keepsA = keep(true, false);
  for (const [key, childA] of a.children) {
    const childB = b.children.get(key);
    if (childB === undefined) {
      if (keepsA) result.children.set(key, childA);
      continue;
    }
    const child = combine(childA, childB, keep);
    if (!isEmpty(child)) result.children.set(key, child);
  }
  if (!keep(false, true)) return result;
  for (const [key, childB] of b.children) if (!a.children.has(key)) result.children.set(key, childB);
  return result;
}

export const union = (a: FieldSet, b: FieldSet): FieldSet => combine(a, b, (inA, inB) => inA || inB);

export const intersection = (a: FieldSet, b: FieldSet): FieldSet => combine(a, b, (inA, inB) => inA && inB);

export const difference = (a: FieldSet, b: FieldSet): FieldSet => combine(a, b, (inA, inB) => inA && !inB);

export function equalSets(a: FieldSet, b: FieldSet): boolean {
  if (a.isMember !== b.isMember || a.children.size !== b.children.size) return false;
  for (const [key, child] of a.children) {
    const other = b.children.get(key);
    if (other === undefined || !equalSets(child, other)) return false;
  }
  return true;
}

/** Every member's path, in tree order. */
export function* paths(set: FieldSet, prefix: readonly string[] = []): Generator<readonly string[]> {
  if (set.isMember) yield prefix;
  for (const [key, child] of set.children) yield* paths(child, [...prefix, key]);
}

/** The set in the form of managedFields. */
export function toFieldsV1(set: FieldSet): FieldsV1 {
  const fields: FieldsV1 = {};
  if (set.isMember && set.children.size > 0) fields['.'] = {};
  for (const [key, child] of [...set.children].sort(([a], [b]) => (a < b ? -1 : 1))) fields[key] = toFieldsV1(child);
  return fields;
}

/** Reads managedFields' form; anything that is not of that form is left out. */
export function fromFieldsV1(fields: unknown, isRoot = true): FieldSet {
  const set = emptySet();
  const entries = typeof fields === 'object' && fields !== null ? Object.entries(fields) : [];
  if (entries.length === 0) set.isMember = !isRoot;
  for (const [key, value] of entries) {
    if (key === '.') set.isMember = true;
    else set.children.set(key, fromFieldsV1(value, false));
  }
  return set;
}

/** A path as messages show it: `.spec.containers[name="c"].image`. */
export function printPath(path: readonly string[]): string {
  return path
    .map((element) => {
      const text = element.slice(2);
      if (element.startsWith('f:')) return `.${text}`;
      if (element.startsWith('v:')) return `[=${text}]`;
      const keys = Object.entries(JSON.parse(text) as Record<string, unknown>);
      return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
    })
    .join('');
}
