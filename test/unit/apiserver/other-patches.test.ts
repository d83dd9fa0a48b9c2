// JSON patch and JSON merge patch.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { applyJsonPatch } from '../../../control-plane-lite/patch/json-patch.ts';
import { applyMergePatch } from '../../../control-plane-lite/patch/merge-patch.ts';

describe('JSON merge patch', () => {
  it('merges objects, deletes by null, and replaces everything else', () => {
    const target = { a: { b: 1, c: [1, 2] }, d: 'x' };
    assert.deepEqual(applyMergePatch(target, { a: { b: null, c: [3] }, e: { f: null, g: 1 } }), {
      a: { c: [3] },
      d: 'x',
      e: { g: 1 },
    });
    assert.deepEqual(target.a.c, [1, 2]);
  });
});

describe('JSON patch', () => {
  it('applies operations in order to a copy', () => {
    const target = { list: ['a'] };
    const patch = [
      { op: 'test', path: '/list/0', value: 'a' },
      { op: 'add', path: '/list/-', value: 'b' },
      { op: 'remove', path: '/list/0' },
    ];
    assert.deepEqual(applyJsonPatch(target, patch), { list: ['b'] });
    assert.deepEqual(target, { list: ['a'] });
  });

  it('answers 422 to a test that fails and to a path that is not there, 400 to what is no patch', () => {
    const code = (patch: unknown) => {
      try {
        applyJsonPatch({ a: 1 }, patch);
        return 200;
      } catch (error) {
        return (error as { httpCode: number }).httpCode;
      }
    };
    assert.equal(code([{ op: 'test', path: '/a', value: 2 }]), 422);
    assert.equal(code([{ op: 'replace', path: '/b/c', value: 2 }]), 422);
    assert.equal(code({ a: 2 }), 400);
  });
});
