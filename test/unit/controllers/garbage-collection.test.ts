import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OwnerReference } from '#kube/api/generated/meta-v1.ts';
import { deployments, pods, replicasets } from '#kube/api/generated/resources.ts';
import { createObjectGraph } from '../../../control-plane-lite/controllers/garbage-collector/object-graph.ts';
import {
  type OwnerState,
  planCollection,
  planForeground,
} from '../../../control-plane-lite/controllers/garbage-collector/plan-collection.ts';

function owner(uid: string, blockOwnerDeletion = true): OwnerReference {
  return { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: uid, uid, blockOwnerDeletion };
}

function graph() {
  return createObjectGraph(() => replicasets);
}

test('an owner known only by reference is judged, and so are its dependents when it turns out to be gone', () => {
  const objects = graph();
  const seen = objects.observe(pods, { namespace: 'n', name: 'p', uid: 'p', ownerReferences: [owner('rs')] });
  assert.deepEqual(seen.judge, ['rs']);
  assert.equal(objects.get('rs')?.observed, false);
  assert.deepEqual(objects.remove('rs').judge, ['p']);
});

test('the deletion of an owner leads to its dependents', () => {
  const objects = graph();
  objects.observe(replicasets, { namespace: 'n', name: 'rs', uid: 'rs' });
  objects.observe(pods, { namespace: 'n', name: 'p', uid: 'p', ownerReferences: [owner('rs')] });
  assert.deepEqual(objects.remove('rs'), { judge: ['p'], orphan: [] });
});

test('a foreground deletion is judged with all its dependents, and again when one of them goes', () => {
  const objects = graph();
  objects.observe(replicasets, { namespace: 'n', name: 'rs', uid: 'rs' });
  objects.observe(pods, { namespace: 'n', name: 'p', uid: 'p', ownerReferences: [owner('rs')] });
  const deletion = { deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['foregroundDeletion'] };
  assert.deepEqual(objects.observe(replicasets, { namespace: 'n', name: 'rs', uid: 'rs', ...deletion }).judge, [
    'rs',
    'p',
  ]);
  assert.deepEqual(objects.remove('p').judge, ['rs']);
});

test('an orphaning owner is asked to free its dependents, once', () => {
  const objects = graph();
  const metadata = { name: 'rs', uid: 'rs', deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['orphan'] };
  assert.deepEqual(objects.observe(replicasets, metadata).orphan, ['rs']);
  assert.deepEqual(objects.observe(replicasets, metadata).orphan, []);
});

test('a reference that was dropped no longer counts', () => {
  const objects = graph();
  objects.observe(deployments, { name: 'd', uid: 'd' });
  objects.observe(replicasets, { name: 'rs', uid: 'rs', ownerReferences: [owner('d')] });
  objects.observe(replicasets, { name: 'rs', uid: 'rs' });
  assert.equal(objects.get('d')?.dependents.size, 0);
  assert.deepEqual(objects.remove('d').judge, []);
});

test('references are forgotten when nothing names them any more', () => {
  const objects = graph();
  objects.observe(pods, { name: 'p', uid: 'p', ownerReferences: [owner('rs')] });
  objects.remove('p');
  assert.equal(objects.size, 0);
});

const states = (map: Record<string, OwnerState>) => (reference: OwnerReference) => map[reference.uid] ?? 'absent';
const cases: [
  text: string,
  owners: string[],
  finalizers: string[],
  hasDependents: boolean,
  states: Record<string, OwnerState>,
  expected: object,
][] = [
  ['an object whose owner is there stays', ['a'], [], false, { a: 'solid' }, { action: 'keep' }],
  ['an object without owners stays', [], [], false, {}, { action: 'keep' }],
  ['an object whose owner is gone goes', ['a'], [], false, {}, { action: 'delete', propagationPolicy: 'Background' }],
  [
    'of two owners the one that is gone is dropped',
    ['a', 'b'],
    [],
    false,
    { b: 'solid' },
    { action: 'dropOwners', uids: ['a'] },
  ],
  [
    'a dependent of a foreground deletion goes',
    ['a'],
    [],
    false,
    { a: 'waiting' },
    { action: 'delete', propagationPolicy: 'Background' },
  ],
  [
    'and takes its own dependents with it first',
    ['a'],
    [],
    true,
    { a: 'waiting' },
    { action: 'delete', propagationPolicy: 'Foreground' },
  ],
  ['its own wish to orphan is kept', ['a'], ['orphan'], true, {}, { action: 'delete', propagationPolicy: 'Orphan' }],
  [
    'its own wish for the foreground is kept',
    ['a'],
    ['foregroundDeletion'],
    true,
    {},
    { action: 'delete', propagationPolicy: 'Foreground' },
  ],
];

for (const [text, owners, finalizers, hasDependents, known, expected] of cases) {
  test(text, () => {
    const object = { owners: owners.map((uid) => owner(uid)), finalizers, hasDependents };
    assert.deepEqual(planCollection(object, states(known)), expected);
  });
}

test('an owner in a circle stops waiting for what waits for it', () => {
  const object = { owners: [owner('a')], finalizers: [], hasDependents: true, hasWaitingDependents: true };
  assert.deepEqual(planCollection(object, states({ a: 'waiting' })), { action: 'unblockOwners' });
  assert.deepEqual(planCollection({ ...object, owners: [owner('a', false)] }, states({ a: 'waiting' })), {
    action: 'delete',
    propagationPolicy: 'Foreground',
  });
});

test('a foreground deletion waits for blocking dependents only', () => {
  const objects = graph();
  objects.observe(replicasets, { name: 'rs', uid: 'rs', deletionTimestamp: 'x', finalizers: ['foregroundDeletion'] });
  objects.observe(pods, { name: 'p', uid: 'p', ownerReferences: [owner('rs')] });
  objects.observe(pods, { name: 'q', uid: 'q', ownerReferences: [owner('rs', false)] });
  const node = objects.get('rs');
  const dependents = ['p', 'q'].flatMap((uid) => objects.get(uid) ?? []);
  assert.ok(node !== undefined);
  assert.deepEqual(planForeground(node, dependents), { action: 'judgeDependents', uids: ['p'] });
  assert.deepEqual(planForeground(node, dependents.slice(1)), {
    action: 'removeFinalizer',
    finalizer: 'foregroundDeletion',
  });
});
