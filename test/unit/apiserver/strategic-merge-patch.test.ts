// Strategic merge patch on the types of the API.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { applyStrategicMergePatch } from '../../../control-plane-lite/patch/strategic-merge-patch.ts';
import { loadSchema } from '../../../control-plane-lite/registry/schema.ts';

const pod = loadSchema().typeOf({ group: '', version: 'v1', kind: 'Pod' });
const patch = (original: object, change: object) => applyStrategicMergePatch(original, change, pod);
const spec = (containers: object[]) => ({ spec: { containers } });

const cases: { name: string; original: object; change: object; wanted: object }[] = [
  {
    name: 'merges items of a list by their merge key',
    original: spec([
      { name: 'a', image: '1' },
      { name: 'b', image: '2' },
    ]),
    change: spec([{ name: 'b', image: '3' }]),
    wanted: spec([
      { name: 'a', image: '1' },
      { name: 'b', image: '3' },
    ]),
  },
  {
    name: 'deletes an item by directive',
    original: spec([{ name: 'a' }, { name: 'b' }]),
    change: spec([{ name: 'a', $patch: 'delete' }]),
    wanted: spec([{ name: 'b' }]),
  },
  {
    name: 'replaces a list by directive',
    original: spec([{ name: 'a' }, { name: 'b' }]),
    change: spec([{ name: 'c' }, { $patch: 'replace' }]),
    wanted: spec([{ name: 'c' }]),
  },
  {
    name: 'replaces a map by directive',
    original: { metadata: { labels: { a: '1', b: '2' } } },
    change: { metadata: { labels: { c: '3', $patch: 'replace' } } },
    wanted: { metadata: { labels: { c: '3' } } },
  },
  {
    name: 'deletes a field that is null',
    original: { metadata: { labels: { a: '1', b: '2' } } },
    change: { metadata: { labels: { a: null } } },
    wanted: { metadata: { labels: { b: '2' } } },
  },
  {
    name: 'adds to a list of plain values without repeating them',
    original: { metadata: { finalizers: ['a', 'b'] } },
    change: { metadata: { finalizers: ['b', 'c'] } },
    wanted: { metadata: { finalizers: ['a', 'b', 'c'] } },
  },
  {
    name: 'takes values out of a list of plain values',
    original: { metadata: { finalizers: ['a', 'b'] } },
    change: { metadata: { '$deleteFromPrimitiveList/finalizers': ['a'] } },
    wanted: { metadata: { finalizers: ['b'] } },
  },
  {
    name: 'puts items into the order that the patch gives',
    original: spec([{ name: 'a' }, { name: 'b' }]),
    change: {
      spec: {
        '$setElementOrder/containers': [{ name: 'c' }, { name: 'b' }, { name: 'a' }],
        containers: [{ name: 'c' }],
      },
    },
    wanted: spec([{ name: 'c' }, { name: 'b' }, { name: 'a' }]),
  },
  {
    name: 'keeps only the named keys of a union',
    original: { spec: { volumes: [{ name: 'v', emptyDir: {} }] } },
    change: { spec: { volumes: [{ name: 'v', $retainKeys: ['name', 'hostPath'], hostPath: { path: '/x' } }] } },
    wanted: { spec: { volumes: [{ name: 'v', hostPath: { path: '/x' } }] } },
  },
  {
    name: 'replaces a list that has no merge key',
    original: { spec: { containers: [{ name: 'a', args: ['1', '2'] }] } },
    change: { spec: { containers: [{ name: 'a', args: ['3'] }] } },
    wanted: { spec: { containers: [{ name: 'a', args: ['3'] }] } },
  },
];

describe('strategic merge patch', () => {
  for (const { name, original, change, wanted } of cases) {
    it(name, () => {
      const before = structuredClone(original);
      assert.deepEqual(patch(original, change), wanted);
      assert.deepEqual(original, before);
    });
  }

  it('refuses an item without its merge key', () => {
    assert.throws(
      () => patch(spec([]), spec([{ image: 'x' }])),
      /^StatusError: map: map\[image:x\] does not contain declared merge key: name$/,
    );
  });
});
