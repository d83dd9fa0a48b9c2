// Which watchers a change concerns.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createWatchers } from '../../../control-plane-lite/storage/cache/watchers.ts';

interface Change {
  node: string;
  before?: string;
}

const states = ({ node, before }: Change) =>
  (before === undefined ? [node] : [node, before]).map((name) => ({ labels: undefined, fields: { node: name } }));

describe('the watchers of a resource', () => {
  const concerned = (watchers: ReturnType<typeof createWatchers<string, Change>>, ...events: Change[]) =>
    [...watchers.concerned(events, states)].map(([watcher, theirs]) => `${watcher}:${theirs.length}`).sort();

  it('asks those who want one value about changes to and from it', () => {
    const watchers = createWatchers<string, Change>();
    watchers.add('all', undefined);
    watchers.add('a', { field: 'node', value: 'a' });
    watchers.add('b', { field: 'node', value: 'b' });
    assert.deepEqual(concerned(watchers, { node: 'a' }), ['a:1', 'all:1']);
    assert.deepEqual(concerned(watchers, { node: 'a' }, { node: 'b', before: 'a' }), ['a:2', 'all:2', 'b:1']);
    assert.deepEqual(concerned(watchers, { node: 'c', before: 'c' }), ['all:1']);
  });

  it('forgets those who leave', () => {
    const watchers = createWatchers<string, Change>();
    const exact = { field: 'node', value: 'a' };
    watchers.add('one', exact);
    watchers.add('two', exact);
    assert.equal(watchers.size, 2);
    watchers.delete('one', exact);
    assert.deepEqual(concerned(watchers, { node: 'a' }), ['two:1']);
    watchers.delete('two', exact);
    watchers.delete('two', exact);
    assert.deepEqual([watchers.size, concerned(watchers, { node: 'a' })], [0, []]);
  });
});
