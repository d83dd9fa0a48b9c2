// Status counters as Kubernetes writes them: a zero is left out.

/** The object without the named members that are zero or absent. */
export function omitZeros<T extends object>(object: T, names: readonly (keyof T)[]): T {
  const copy = { ...object };
  for (const name of names) {
    if (copy[name] === 0 || copy[name] === undefined) delete copy[name];
  }
  return copy;
}
