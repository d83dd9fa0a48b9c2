import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '#kube/api/resource.ts';
import { createStore } from '#kube/informer/store.ts';

function object(name: string, resourceVersion: string, node: string): KubeObject {
  return { metadata: { name, namespace: 'n', uid: name, resourceVersion, labels: { node } } };
}

const byNode = (value: KubeObject) => [value.metadata.labels?.['node'] ?? ''];

test('an index follows its objects', () => {
  const store = createStore<KubeObject>({ node: byNode });
  store.set(object('a', '1', 'x'));
  store.set(object('b', '1', 'x'));
  store.set(object('a', '2', 'y'));
  assert.deepEqual(
    store.byIndex('node', 'x').map((value) => value.metadata.name),
    ['b'],
  );
  store.delete('n/b');
  assert.deepEqual(store.byIndex('node', 'x'), []);
  assert.equal(store.byNamespace('n').length, 1);
});

test('an index that was not declared is an error', () => {
  assert.throws(() => createStore<KubeObject>().byIndex('node', 'x'), /not declared/);
});

test('replacing tells exactly what differs', () => {
  const store = createStore<KubeObject>();
  store.replace([object('a', '1', 'x'), object('b', '1', 'x'), object('c', '1', 'x')]);
  const changes = store.replace([object('a', '1', 'x'), object('b', '2', 'x'), object('d', '1', 'x')]);
  assert.deepEqual(
    changes.map(({ previous, current }) => [previous?.metadata.name, current?.metadata.name]),
    [
      ['c', undefined],
      ['b', 'b'],
      [undefined, 'd'],
    ],
  );
  assert.equal(store.size, 3);
});
