// Where the fields of a JSON text are, and which it gives twice. JSON.parse keeps the last one silently; strict field
// validation does not, and tells its findings in the order of the text.

interface Scope {
  /** Path of the object or list. */
  path: string;
  /** Names seen, for objects; undefined for lists. */
  names: Set<string> | undefined;
  /** The name or index that the next value belongs to. */
  current: string;
  index: number;
}

const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

function childPath({ path, names, current, index }: Scope): string {
  if (names === undefined) return `${path}[${index}]`;
  return path === '' ? current : `${path}.${current}`;
}

export interface FieldPlaces {
  /** Offset of a path's first field. */
  first: ReadonlyMap<string, number>;
  /** Offset of the second field of each path that is there more than once. */
  duplicates: ReadonlyMap<string, number>;
}

/** Finds the fields of a valid JSON text. */
export function locateFields(text: string): FieldPlaces {
  const first = new Map<string, number>();
  const duplicates = new Map<string, number>();
  const scopes: Scope[] = [];
  let isKey = false;
  for (const { 0: part, index: at } of text.matchAll(token)) {
    const scope = scopes.at(-1);
    switch (part) {
      case '{':
      case '[': {
        const path = scope === undefined ? '' : childPath(scope);
        scopes.push({ path, names: part === '{' ? new Set() : undefined, current: '', index: 0 });
        isKey = part === '{';
        break;
      }
      case '}':
      case ']':
        scopes.pop();
        isKey = false;
        break;
      case ',':
        if (scope !== undefined) scope.index += 1;
        isKey = scope?.names !== undefined;
        break;
      case ':':
        isKey = false;
        break;
      default: {
        if (!isKey || scope?.names === undefined) break;
        scope.current = JSON.parse(part) as string;
        const path = childPath(scope);
        if (!first.has(path)) first.set(path, at);
        if (scope.names.has(scope.current) && !duplicates.has(path)) duplicates.set(path, at);
        scope.names.add(scope.current);
        isKey = false;
      }
    }
  }
  return { first, duplicates };
}
