// Equality of values as JSON, without writing them out: the cheap question before every write.

function sameObjects(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  let members = 0;
  for (const key in a) {
    const value = a[key];
    if (value === undefined || value === null) continue;
    members += 1;
    if (!sameJson(value, b[key])) return false;
  }
  for (const key in b) {
    const value = b[key];
    if (value !== undefined && value !== null) members -= 1;
  }
  return members === 0;
}

/** Whether two values mean the same in JSON: order of members is no matter, and an absent member is as good as null. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) {
    return (a === undefined || a === null) && (b === undefined || b === null);
  }
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, index) => sameJson(item, b[index]));
  }
  return sameObjects(a as Record<string, unknown>, b as Record<string, unknown>);
}
