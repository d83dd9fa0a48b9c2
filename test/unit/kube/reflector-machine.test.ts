import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '#kube/api/resource.ts';
import type { WatchEvent } from '#kube/client/types.ts';
import {
  initialReflectorState,
  type ReflectorInput,
  type ReflectorState,
  type ReflectorStep,
  stepReflector,
} from '#kube/informer/reflector-machine.ts';

function object(name: string, resourceVersion: string, annotations?: Record<string, string>): KubeObject {
  return { metadata: { name, resourceVersion, ...(annotations === undefined ? {} : { annotations }) } };
}

function event(type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK', value: KubeObject) {
  return { type: 'event' as const, event: { type, object: value } };
}

const expired: { type: 'event'; event: WatchEvent<KubeObject> } = {
  type: 'event',
  event: { type: 'ERROR', object: { apiVersion: 'v1', kind: 'Status', metadata: {}, code: 410, reason: 'Expired' } },
};

const watching: ReflectorState<KubeObject> = {
  phase: 'watch',
  resourceVersion: '7',
  quiet: false,
  failures: 0,
  streaming: false,
};

test('collects a streaming list and stores it at the bookmark that ends it', () => {
  const first = stepReflector(initialReflectorState<KubeObject>(true), event('ADDED', object('a', '1')));
  const gone = stepReflector(first.state, event('ADDED', object('b', '2')));
  const deleted = stepReflector(gone.state, event('DELETED', object('b', '3')));
  const end = object('', '9', { 'k8s.io/initial-events-end': 'true' });
  const done = stepReflector(deleted.state, event('BOOKMARK', end));
  assert.equal(done.restart, false);
  assert.equal(done.state.phase, 'watch');
  assert.deepEqual(done.effect, { type: 'replace', items: [object('a', '1')], resourceVersion: '9' });
});

test('falls back to ordinary lists for good when the server refuses streaming ones', () => {
  const refused = stepReflector(initialReflectorState<KubeObject>(true), { type: 'failed', why: 'refused' });
  assert.equal(refused.state.phase, 'list');
  assert.equal(refused.state.failures, 0);
  const page = { type: 'page' as const, items: [], resourceVersion: '5', continueToken: undefined };
  const listed = stepReflector(refused.state, page);
  const again = stepReflector(listed.state, { type: 'failed', why: 'gone' });
  assert.equal(again.state.phase, 'list');
});

test('reads all pages before it stores anything', () => {
  const list = initialReflectorState<KubeObject>(false);
  const first = stepReflector(list, {
    type: 'page',
    items: [object('a', '1')],
    resourceVersion: '5',
    continueToken: 'more',
  });
  assert.equal(first.effect, undefined);
  assert.equal(first.state.phase === 'list' && first.state.continueToken, 'more');
  const last = stepReflector(first.state, {
    type: 'page',
    items: [object('b', '2')],
    resourceVersion: '5',
    continueToken: undefined,
  });
  assert.equal(last.effect?.type === 'replace' && last.effect.items.length, 2);
  assert.equal(last.state.phase === 'watch' && last.state.resourceVersion, '5');
});

test('lists from the start, at the newest state, when a page token expired', () => {
  const first = stepReflector(initialReflectorState<KubeObject>(false), {
    type: 'page',
    items: [object('a', '1')],
    resourceVersion: '5',
    continueToken: 'more',
  });
  const { state } = stepReflector(first.state, { type: 'failed', why: 'gone' });
  assert.deepEqual(state.phase === 'list' && [state.resourceVersion, state.continueToken, state.items.length], [
    '',
    undefined,
    0,
  ]);
});

test('remembers the newest revision of events and bookmarks, and resumes there', () => {
  const changed = stepReflector(watching, event('MODIFIED', object('a', '8')));
  assert.equal(changed.effect?.type, 'set');
  const marked = stepReflector(changed.state, event('BOOKMARK', object('', '12')));
  assert.deepEqual(marked.effect, { type: 'advance', resourceVersion: '12' });
  const resumed = stepReflector(marked.state, { type: 'ended' });
  assert.equal(resumed.restart, true);
  assert.equal(resumed.state.phase === 'watch' && resumed.state.resourceVersion, '12');
  assert.equal(resumed.state.failures, 0);
});

test('lists again after 410, as an event or as an answer', () => {
  const inputs: ReflectorInput<KubeObject>[] = [expired, { type: 'failed', why: 'gone' }];
  for (const input of inputs) {
    const step: ReflectorStep<KubeObject> = stepReflector(watching, input);
    assert.equal(step.restart, true);
    assert.equal(step.state.phase === 'list' && step.state.resourceVersion, '');
  }
});

test('keeps its revision and waits longer each time a watch fails', () => {
  const once = stepReflector(watching, { type: 'failed', why: 'other' });
  const twice = stepReflector(once.state, { type: 'failed', why: 'other' });
  assert.equal(twice.state.failures, 2);
  assert.equal(twice.state.phase === 'watch' && twice.state.resourceVersion, '7');
});

test('waits before it reopens a watch that closed without a word', () => {
  const opened: ReflectorState<KubeObject> = { ...watching, quiet: true };
  const { state } = stepReflector(opened, { type: 'ended' });
  assert.equal(state.failures, 1);
});

test('an event clears the failures counted before', () => {
  const { state } = stepReflector({ ...watching, failures: 3 }, event('ADDED', object('a', '8')));
  assert.equal(state.failures, 0);
});

test('waits before it lists again when the server forgets a revision it has just given', () => {
  const opened: ReflectorState<KubeObject> = { ...watching, quiet: true };
  const step: ReflectorStep<KubeObject> = stepReflector(opened, { type: 'failed', why: 'gone' });
  assert.deepEqual([step.state.phase, step.state.failures], ['list', 1]);
});

test('a watch that is refused is a failure like others', () => {
  const step: ReflectorStep<KubeObject> = stepReflector(watching, { type: 'failed', why: 'refused' });
  assert.deepEqual([step.state.phase, step.state.failures], ['watch', 1]);
});
