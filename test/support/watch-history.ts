// What one writer did to some objects, and whether somebody who watched a selection of them saw each change that it must
// see once and in order. Pure.
import assert from 'node:assert/strict';

export interface SeenState {
  labels: Record<string, string>;
  /** Which change made it so; no two changes have the same. */
  number: string;
}

/** One write. A deletion is answered without its revision. */
export interface Change {
  name: string;
  revision: number | undefined;
  before: SeenState | undefined;
  after: SeenState | undefined;
}

export interface SeenEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  name: string;
  revision: number;
  number: string;
}

/** A list, and the events after it until the watcher had to list again. */
export interface Segment {
  revision: number;
  /** name -> number */
  listed: ReadonlyMap<string, string>;
  events: SeenEvent[];
}

export type Selects = (name: string, state: SeenState) => boolean;

/** A deletion is known by its place in the order: it has no number of its own. */
const describe = ({ type, name, number }: Omit<SeenEvent, 'revision'>): string =>
  type === 'DELETED' ? `${type} ${name}` : `${type} ${name} ${number}`;

/** The changes that touch a selection, and what a watcher of it is told of each. */
function selected(history: readonly Change[], selects: Selects): { change: Change; event: string }[] {
  return history.flatMap((change) => {
    const { name, before, after } = change;
    const from = before !== undefined && selects(name, before) ? before : undefined;
    const to = after !== undefined && selects(name, after) ? after : undefined;
    if (to !== undefined)
      return [{ change, event: describe({ type: from ? 'MODIFIED' : 'ADDED', name, number: to.number }) }];
    return from === undefined ? [] : [{ change, event: describe({ type: 'DELETED', name, number: from.number }) }];
  });
}

/** How many of the changes a list shows: its revision tells, and what it holds tells of deletions. */
function positionOf(changes: readonly { change: Change }[], { revision, listed }: Segment): number {
  const later = changes.findIndex(({ change }) => change.revision !== undefined && change.revision > revision);
  let position = later < 0 ? changes.length : later;
  for (; position > 0; position -= 1) {
    const change = changes[position - 1]?.change;
    if (change === undefined || change.after !== undefined || !listed.has(change.name)) break;
  }
  return position;
}

/**
 * Throws unless each segment begins with the store as it was and goes on with the changes that follow, none missing and
 * none twice, the last one to the end of the history.
 */
export function checkSegments(
  who: string,
  history: readonly Change[],
  selects: Selects,
  seen: readonly Segment[],
): void {
  const changes = selected(history, selects);
  assert.ok(seen.length > 0, `${who} has seen nothing`);
  for (const [index, segment] of seen.entries()) {
    const position = positionOf(changes, segment);
    const state = new Map<string, string>();
    for (const { change } of changes.slice(0, position)) {
      const { name, after } = change;
      if (after !== undefined && selects(name, after)) state.set(name, after.number);
      else state.delete(name);
    }
    const sorted = (map: ReadonlyMap<string, string>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
    assert.deepEqual(sorted(segment.listed), sorted(state), `${who}, list ${index} at ${segment.revision}`);
    const isLast = index === seen.length - 1;
    const until = isLast ? undefined : position + segment.events.length;
    const expected = changes.slice(position, until).map(({ event }) => event);
    assert.deepEqual(segment.events.map(describe), expected, `${who}, after list ${index} at ${segment.revision}`);
    let last = segment.revision;
    for (const [offset, { revision }] of segment.events.entries()) {
      assert.ok(revision > last, `${who}: revision ${revision} came after ${last}`);
      const known = changes[position + offset]?.change.revision;
      assert.equal(revision, known ?? revision, `${who}: the revision of ${changes[position + offset]?.event}`);
      last = revision;
    }
  }
}
