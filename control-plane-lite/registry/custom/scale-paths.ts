// Where a custom resource keeps what its scale shows. Pure.

/** Paths of fields, such as `['spec', 'replicas']`. */
export interface ScalePaths {
  specReplicas: readonly string[];
  statusReplicas: readonly string[];
  /** Absent: the scale has no selector. */
  labelSelector: readonly string[] | undefined;
}

/** The value at a path, or undefined. */
export function readPath(object: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, key)
        ? (value as Record<string, unknown>)[key]
        : undefined,
    object,
  );
}

/** A copy of the object with a value at the path. */
export function withPath<T>(object: T, path: readonly string[], value: unknown): T {
  const [key, ...rest] = path;
  if (key === undefined) return value as T;
  const fields = (object ?? {}) as Record<string, unknown>;
  return { ...fields, [key]: rest.length === 0 ? value : withPath(fields[key], rest, value) } as T;
}

/** `.spec.replicas` as a path. */
export function parseFieldPath(text: string): string[] {
  return text.split('.').filter((part) => part !== '');
}
