import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHeap } from '../../../control-plane-lite/scheduler/framework/heap.ts';
import { createPodInfo, type PodInfo } from '../../../control-plane-lite/scheduler/framework/pod-info.ts';
import { createSchedulingQueue } from '../../../control-plane-lite/scheduler/queue/scheduling-queue.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { pod } from '../../support/objects.ts';

function info(name: string, priority = 0): PodInfo {
  return createPodInfo(pod(name, { spec: { priority } }));
}

test('a heap gives its items in order', () => {
  const heap = createHeap<number>((a, b) => a < b);
  for (const value of [5, 3, 8, 1, 9, 2, 7, 3]) heap.push(value);
  const taken = Array.from({ length: 8 }, () => heap.pop());
  assert.deepEqual(taken, [1, 2, 3, 3, 5, 7, 8, 9]);
  assert.equal(heap.pop(), undefined);
});

test('pods come by priority, then in order of arrival', () => {
  const queue = createSchedulingQueue(createFakeClock(), () => undefined);
  for (const entry of [info('a'), info('b', 10), info('c'), info('d', 10)]) queue.set(entry);
  const names = Array.from({ length: 4 }, () => queue.next()?.pod.metadata.name);
  assert.deepEqual(names, ['b', 'd', 'a', 'c']);
});

test('a pod that fits nowhere waits for a change, and for its backoff while others wait', async () => {
  const clock = createFakeClock();
  const queue = createSchedulingQueue(clock, () => undefined);
  const entry = info('a');
  queue.set(entry);
  queue.next();
  queue.failed(entry.uid, 'unschedulable');
  await clock.advance(10_000);
  assert.equal(queue.next(), undefined);
  queue.clusterChanged('NodeAdd');
  assert.equal(queue.next()?.uid, entry.uid);
  queue.failed(entry.uid, 'unschedulable');
  queue.clusterChanged('NodeAdd');
  const other = info('b', -1);
  queue.set(other);
  assert.equal(queue.next()?.uid, other.uid);
  assert.equal(queue.next()?.uid, entry.uid);
  queue.failed(entry.uid, 'unschedulable');
  queue.clusterChanged('NodeAdd');
  await clock.advance(4_000);
  queue.set(info('c', -1));
  assert.equal(queue.next()?.uid, entry.uid);
});

test('a pod that fits nowhere is looked at again after five minutes in any case', async () => {
  const clock = createFakeClock();
  const queue = createSchedulingQueue(clock, () => undefined);
  const entry = info('a');
  queue.set(entry);
  queue.next();
  queue.failed(entry.uid, 'unschedulable');
  await clock.advance(299_999);
  assert.equal(queue.next(), undefined);
  await clock.advance(1);
  assert.equal(queue.next()?.uid, entry.uid);
});

test('a change can wake only the pods that it helps', () => {
  const queue = createSchedulingQueue(createFakeClock(), () => undefined);
  const entry = info('a');
  queue.set(entry);
  queue.next();
  queue.failed(entry.uid, 'unschedulable', new Set(['NodeResourcesFit']));
  queue.clusterChanged('AssignedPodAdd', (_, rejectors) => rejectors.has('InterPodAffinity'));
  assert.deepEqual(queue.counts(), { active: 0, backoff: 0, unschedulable: 1 });
});

test('an error is retried after the backoff alone', async () => {
  const clock = createFakeClock();
  const queue = createSchedulingQueue(clock, () => undefined);
  const entry = info('a');
  queue.set(entry);
  queue.next();
  queue.failed(entry.uid, 'retry');
  await clock.advance(1_000);
  assert.equal(queue.next()?.uid, entry.uid);
});

test('a deleted pod is not given out any more, and leaves no timer', async () => {
  const clock = createFakeClock();
  const queue = createSchedulingQueue(clock, () => undefined);
  const [a, b] = [info('a'), info('b')];
  queue.set(a);
  queue.set(b);
  queue.delete(a.uid);
  assert.equal(queue.next()?.uid, b.uid);
  queue.failed(b.uid, 'unschedulable');
  queue.delete(b.uid);
  assert.equal(clock.pending, 0);
});
