// Sets of completion indexes in their written form: `0-3,5`. Pure.

/** More than any job has; what is written beyond must not keep anybody busy. */
const maxIndex = 1_000_000;

/** Reads `1,3-5`; anything that is not such a list counts as empty. */
export function parseIndexes(text: string | undefined): Set<number> {
  const indexes = new Set<number>();
  for (const part of (text ?? '').split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (match === null) continue;
    const last = Math.min(Number(match[2] ?? match[1]), maxIndex);
    for (let index = Number(match[1]); index <= last; index += 1) indexes.add(index);
  }
  return indexes;
}

/** Writes runs of two as `1,2`, longer ones as `1-3`. */
export function formatIndexes(indexes: Iterable<number>): string {
  const sorted = [...new Set(indexes)].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let at = 0; at < sorted.length; ) {
    let end = at;
    while (sorted[end + 1] === (sorted[end] ?? 0) + 1) end += 1;
    const [first, last] = [sorted[at], sorted[end]];
    if (end === at) parts.push(`${first}`);
    else if (end === at + 1) parts.push(`${first},${last}`);
    else parts.push(`${first}-${last}`);
    at = end + 1;
  }
  return parts.join(',');
}
