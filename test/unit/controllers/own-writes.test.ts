import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { createOwnedPods } from '../../../control-plane-lite/controllers/owned-pods.ts';
import { createUnseenWrites } from '../../../control-plane-lite/controllers/unseen-writes.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createHandFedInformer } from '../../support/hand-fed-informer.ts';
import { pod } from '../../support/objects.ts';

const handFed = () => createHandFedInformer<Pod>({ controller: (object) => [controllerOf(object)?.uid ?? ''] });

function owned(name: string, resourceVersion = '1'): Pod {
  const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'rs', uid: 'rs', controller: true }];
  return pod(name, { metadata: { uid: name, resourceVersion, ownerReferences } });
}

test('a created pod counts before the informer shows it, and once after', () => {
  const fed = handFed();
  const pods = createOwnedPods(fed.informer, createFakeClock());
  pods.created(owned('a'));
  assert.equal(pods.list('rs').length, 1);
  fed.show(owned('a'));
  assert.equal(pods.list('rs').length, 1);
  fed.remove(owned('a'));
  assert.equal(pods.list('rs').length, 0);
});

test('a pod that the informer showed before the answer came counts once', () => {
  const fed = handFed();
  const pods = createOwnedPods(fed.informer, createFakeClock());
  fed.show(owned('a'));
  pods.created(owned('a'));
  assert.equal(pods.list('rs').length, 1);
});

test('a deleted pod is leaving before the informer shows it', () => {
  const fed = handFed();
  const pods = createOwnedPods(fed.informer, createFakeClock());
  fed.show(owned('a'));
  pods.deleted(owned('a'));
  assert.notEqual(pods.list('rs')[0]?.metadata.deletionTimestamp, undefined);
});

test('a created pod that never shows is forgotten after five minutes', async () => {
  const clock = createFakeClock();
  const pods = createOwnedPods(handFed().informer, clock);
  pods.created(owned('a'));
  await clock.advance(300_001);
  assert.equal(pods.list('rs').length, 0);
});

test('knows whether the informer is behind a write', async () => {
  const clock = createFakeClock();
  const fed = handFed();
  const writes = createUnseenWrites(fed.informer, clock);
  assert.equal(writes.isBehind('key'), false);
  fed.show(owned('a', '5'));
  writes.wrote('key', owned('a', '7'));
  assert.equal(writes.isBehind('key'), true);
  fed.show(owned('a', '8'));
  assert.equal(writes.isBehind('key'), false);
  writes.wrote('key', owned('a', '8'), true);
  assert.equal(writes.isBehind('key'), true);
  await clock.advance(10_001);
  assert.equal(writes.isBehind('key'), false);
});
