// Records what concurrent clients did to one object and looks for answers that no order of the operations explains. Each
// write carries a value of its own and each answer its revision, so that the order is known and need not be searched for.

export interface Operation {
  kind: 'read' | 'write';
  /** The value written, or the one that was read. */
  value: string;
  /** Of the object in the answer. */
  revision: number;
  /** On one clock: before the request was sent, after the answer had come. */
  startedMs: number;
  endedMs: number;
}

/** What is wrong with a history; undefined when it is linearizable. */
export function findViolation(history: readonly Operation[]): string | undefined {
  const values = new Map<number, string>();
  for (const { kind, value, revision } of history) {
    if (kind !== 'write') continue;
    if (values.has(revision)) return `two writes have revision ${revision}`;
    values.set(revision, value);
  }
  for (const { kind, value, revision } of history) {
    const written = values.get(revision);
    if (kind === 'read' && written !== undefined && written !== value)
      return `revision ${revision} was read as ${value} and written as ${written}`;
  }
  // What had ended before an operation began may not be newer than what it saw; a write is newer than all of it.
  const byEnd = history.toSorted((a, b) => a.endedMs - b.endedMs);
  let ended = 0;
  let newest: Operation | undefined;
  for (const operation of history.toSorted((a, b) => a.startedMs - b.startedMs)) {
    for (let next = byEnd[ended]; next !== undefined && next.endedMs < operation.startedMs; next = byEnd[ended]) {
      if (newest === undefined || next.revision > newest.revision) newest = next;
      ended += 1;
    }
    if (newest === undefined) continue;
    const isOld =
      operation.kind === 'read' ? operation.revision < newest.revision : operation.revision <= newest.revision;
    if (isOld) {
      const before = `a ${newest.kind} of revision ${newest.revision} had ended`;
      return `a ${operation.kind} of revision ${operation.revision} began after ${before}`;
    }
  }
  return undefined;
}
