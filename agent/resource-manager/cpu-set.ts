// Sets of processors as the kernel writes them: 0-3,8. Pure.

/** Reads a list. Throws RangeError for what is none. */
export function parseCpuSet(text: string): Set<number> {
  const cpus = new Set<number>();
  for (const part of text.trim().split(',')) {
    if (part === '') continue;
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    if (match === null) throw new RangeError(`not a list of processors: ${JSON.stringify(text)}`);
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (last < first || last > 65_535) throw new RangeError(`not a list of processors: ${JSON.stringify(text)}`);
    for (let cpu = first; cpu <= last; cpu += 1) cpus.add(cpu);
  }
  return cpus;
}

/** Writes the set, in order, with ranges. */
export function formatCpuSet(cpus: Iterable<number>): string {
  const sorted = [...cpus].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let index = 0; index < sorted.length; ) {
    const first = sorted[index];
    let last = first;
    while (index + 1 < sorted.length && sorted[index + 1] === (last ?? 0) + 1) {
      index += 1;
      last = sorted[index];
    }
    parts.push(first === last ? `${first}` : `${first}-${last}`);
    index += 1;
  }
  return parts.join(',');
}

export function without(cpus: ReadonlySet<number>, taken: ReadonlySet<number>): Set<number> {
  return new Set([...cpus].filter((cpu) => !taken.has(cpu)));
}
