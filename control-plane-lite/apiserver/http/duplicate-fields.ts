// Fields that a JSON text gives twice. JSON.parse keeps the last one silently; strict field validation does not.

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

/** Paths of duplicate fields in a valid JSON text, each once, in order. */
export function findDuplicateFields(text: string): string[] {
  const duplicates = new Set<string>();
  const scopes: Scope[] = [];
  let isKey = false;
  for (const [part] of text.matchAll(token)) {
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
      default:
        if (!isKey || scope?.names === undefined) break;
        scope.current = JSON.parse(part) as string;
        if (scope.names.has(scope.current)) duplicates.add(childPath(scope));
        scope.names.add(scope.current);
        isKey = false;
    }
  }
  return [...duplicates];
}
