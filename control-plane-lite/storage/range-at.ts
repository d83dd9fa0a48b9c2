// A range of keys as it was at an earlier revision: the present with later changes undone. Pure.
import type { RangeOptions, RangeResult, StoredEntry, StoreEvent } from './backend.ts';

/** `undo` holds every change of the prefix after `revision`, oldest first. */
export function rangeAt(
  present: Iterable<StoredEntry>,
  undo: readonly StoreEvent[],
  prefix: string,
  revision: number,
  options: RangeOptions,
): RangeResult {
  const past = new Map<string, StoredEntry | undefined>();
  for (const event of undo) {
    if (!past.has(event.entry.key)) past.set(event.entry.key, event.previous);
  }
  const after = options.startAfter ?? '';
  const isWanted = (key: string) => key.startsWith(prefix) && key > after;
  const entries: StoredEntry[] = [];
  for (const entry of present) {
    if (isWanted(entry.key) && !past.has(entry.key)) entries.push(entry);
  }
  for (const [key, entry] of past) {
    if (entry !== undefined && isWanted(key)) entries.push(entry);
  }
  entries.sort((a, b) => (a.key < b.key ? -1 : 1));
  const limit = options.limit ?? 0;
  const more = limit > 0 && entries.length > limit;
  return { revision, entries: more ? entries.slice(0, limit) : entries, more };
}
