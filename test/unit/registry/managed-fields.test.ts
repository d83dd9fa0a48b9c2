// Sets of fields and the pure steps of server-side apply.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { appliedSet } from '../../../control-plane-lite/registry/managed-fields/applied-set.ts';
import { compareObjects } from '../../../control-plane-lite/registry/managed-fields/compare.ts';
import {
  difference,
  type FieldsV1,
  fromFieldsV1,
  intersection,
  paths,
  printPath,
  toFieldsV1,
  union,
} from '../../../control-plane-lite/registry/managed-fields/field-set.ts';
import { mergeValues, removePaths } from '../../../control-plane-lite/registry/managed-fields/merge.ts';
import { loadSchema } from '../../../control-plane-lite/registry/schema.ts';

const schema = loadSchema();
const service = schema.typeOf({ group: '', version: 'v1', kind: 'Service' });
const pod = schema.typeOf({ group: '', version: 'v1', kind: 'Pod' });

describe('field sets', () => {
  const a: FieldsV1 = { 'f:metadata': { 'f:labels': { '.': {}, 'f:x': {}, 'f:y': {} } } };
  const b: FieldsV1 = { 'f:metadata': { 'f:labels': { 'f:y': {}, 'f:z': {} } } };

  it('come back from the form of managedFields unchanged', () => {
    assert.deepEqual(toFieldsV1(fromFieldsV1(a)), a);
  });

  it('add up, intersect and subtract member by member', () => {
    const [left, right] = [fromFieldsV1(a), fromFieldsV1(b)];
    assert.deepEqual(toFieldsV1(union(left, right)), {
      'f:metadata': { 'f:labels': { '.': {}, 'f:x': {}, 'f:y': {}, 'f:z': {} } },
    });
    assert.deepEqual(toFieldsV1(intersection(left, right)), { 'f:metadata': { 'f:labels': { 'f:y': {} } } });
    assert.deepEqual(toFieldsV1(difference(left, right)), { 'f:metadata': { 'f:labels': { '.': {}, 'f:x': {} } } });
  });

  it('print paths as messages show them', () => {
    const set = fromFieldsV1({
      'f:spec': { 'f:ports': { 'k:{"port":80,"protocol":"TCP"}': { 'f:name': {} } }, 'f:x': { 'v:"q"': {} } },
    });
    assert.deepEqual([...paths(set)].map(printPath), ['.spec.ports[port=80,protocol="TCP"].name', '.spec.x[="q"]']);
  });
});

describe('comparing objects', () => {
  it('follows list keys, and takes atomic values as one', () => {
    const before = {
      spec: {
        selector: { a: '1' },
        ports: [
          { port: 80, name: 'a' },
          { port: 81, name: 'b' },
        ],
      },
    };
    const after = {
      spec: {
        selector: { a: '1', b: '2' },
        ports: [
          { port: 81, name: 'c' },
          { port: 82, name: 'd' },
        ],
      },
    };
    const { added, modified, removed } = compareObjects(before, after, service);
    assert.deepEqual([...paths(modified)].map(printPath), [
      '.spec.selector',
      '.spec.ports[port=81,protocol="TCP"].name',
    ]);
    assert.ok([...paths(added)].map(printPath).includes('.spec.ports[port=82,protocol="TCP"].name'));
    assert.ok([...paths(removed)].map(printPath).includes('.spec.ports[port=80,protocol="TCP"]'));
  });
});

describe('applied configurations', () => {
  it('own leaves, keys of maps and items of lists', () => {
    const configuration = {
      metadata: { labels: { a: 'b' } },
      spec: { containers: [{ name: 'c', image: 'i' }], securityContext: {} },
    };
    assert.deepEqual(toFieldsV1(appliedSet(configuration, pod)), {
      'f:metadata': { 'f:labels': { 'f:a': {} } },
      'f:spec': {
        'f:containers': { 'k:{"name":"c"}': { '.': {}, 'f:image': {}, 'f:name': {} } },
        'f:securityContext': {},
      },
    });
  });

  it('are laid over the live object without touching what they do not name', () => {
    const live = { spec: { containers: [{ name: 'a', image: '1', tty: true }], nodeName: 'n' } };
    const applied = {
      spec: {
        containers: [
          { name: 'a', image: '2' },
          { name: 'b', image: '3' },
        ],
      },
    };
    assert.deepEqual(mergeValues(live, applied, pod), {
      spec: {
        containers: [
          { name: 'a', image: '2', tty: true },
          { name: 'b', image: '3' },
        ],
        nodeName: 'n',
      },
    });
  });

  it('lose the fields and items that nobody wants any more', () => {
    const live = { metadata: { labels: { a: '1', b: '2' } }, spec: { containers: [{ name: 'a' }, { name: 'b' }] } };
    const unwanted = fromFieldsV1({
      'f:metadata': { 'f:labels': { 'f:a': {} } },
      'f:spec': { 'f:containers': { 'k:{"name":"b"}': { '.': {}, 'f:name': {} } } },
    });
    assert.deepEqual(removePaths(live, pod, unwanted, undefined), {
      metadata: { labels: { b: '2' } },
      spec: { containers: [{ name: 'a' }] },
    });
  });
});
