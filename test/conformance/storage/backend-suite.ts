// What every store must do, run against each implementation by the tests beside this file.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type Backend,
  CompactedError,
  FutureRevisionError,
  type StoreEvent,
} from '../../../control-plane-lite/storage/backend.ts';
import { serialiseAround } from '../../../control-plane-lite/storage/object-bytes.ts';

/** A store under test; `reopen` gives the same data again, as after a restart. */
export interface BackendUnderTest {
  backend: Backend;
  reopen(): Promise<Backend>;
  dispose(): Promise<void>;
}

const put = (value: string) => ({
  type: 'put' as const,
  ...serialiseAround({ apiVersion: 'v1', kind: 'Thing', metadata: { name: 'x' }, ...{ value } }),
});

const read = (value: Buffer) =>
  JSON.parse(value.toString()) as { value: string; metadata: { resourceVersion: string } };

async function write(backend: Backend, key: string, value: string): Promise<number> {
  const entry = await backend.transact(key, () => put(value));
  assert.ok(entry);
  return entry.revision;
}

/** Declares the suite for one implementation. */
export function describeBackend(name: string, open: () => Promise<BackendUnderTest>): void {
  const on = async (body: (backend: Backend, test: BackendUnderTest) => Promise<void>) => {
    const test = await open();
    try {
      await body(test.backend, test);
    } finally {
      await test.dispose();
    }
  };

  describe(`store on ${name}`, () => {
    it('puts the revision of the write into the object', () =>
      on(async (backend) => {
        const revision = await write(backend, '/a/1', 'one');
        const entry = await backend.get('/a/1');
        assert.equal(entry?.revision, revision);
        assert.equal(read(entry?.value ?? Buffer.alloc(0)).metadata.resourceVersion, String(revision));
        assert.equal(backend.revision, revision);
      }));

    it('hands the current state to the decision and writes nothing when it throws', () =>
      on(async (backend) => {
        await write(backend, '/a/1', 'one');
        const before = backend.revision;
        await assert.rejects(
          backend.transact('/a/1', (current) => {
            throw new Error(`saw ${read(current?.value ?? Buffer.alloc(0)).value}`);
          }),
          /saw one/,
        );
        assert.equal(backend.revision, before);
      }));

    it('never loses one of many concurrent updates of a key', () =>
      on(async (backend) => {
        await write(backend, '/a/n', '0');
        const increments = Array.from({ length: 50 }, () =>
          backend.transact('/a/n', (current) => put(String(Number(read(current?.value ?? Buffer.alloc(0)).value) + 1))),
        );
        await Promise.all(increments);
        assert.equal(read((await backend.get('/a/n'))?.value ?? Buffer.alloc(0)).value, '50');
      }));

    it('lists by key, in pages that add up to one revision', () =>
      on(async (backend) => {
        for (const key of ['/a/3', '/a/1', '/b/1', '/a/2']) await write(backend, key, key);
        const first = await backend.range('/a/', { limit: 2 });
        assert.deepEqual(
          first.entries.map(({ key }) => key),
          ['/a/1', '/a/2'],
        );
        assert.equal(first.more, true);
        await write(backend, '/a/4', 'late');
        await backend.transact('/a/3', () => ({ type: 'delete' }));
        const second = await backend.range('/a/', { revision: first.revision, startAfter: '/a/2' });
        assert.deepEqual(
          second.entries.map(({ key }) => key),
          ['/a/3'],
        );
        assert.equal(second.more, false);
      }));

    it('tells every change to subscribers in order, with the state before it', () =>
      on(async (backend) => {
        const seen: StoreEvent[] = [];
        const stop = backend.subscribe((events) => seen.push(...events));
        await write(backend, '/a/1', 'one');
        await write(backend, '/a/2', 'two');
        await write(backend, '/a/1', 'uno');
        await backend.transact('/a/1', () => ({ type: 'delete' }));
        stop();
        await write(backend, '/a/3', 'unseen');
        assert.deepEqual(
          seen.map(({ type, entry, previous }) => [type, entry.key, previous && read(previous.value).value]),
          [
            ['put', '/a/1', undefined],
            ['put', '/a/2', undefined],
            ['put', '/a/1', 'one'],
            ['delete', '/a/1', 'uno'],
          ],
        );
        const last = seen.at(-1);
        assert.equal(last && read(last.entry.value).metadata.resourceVersion, String(last?.revision));
      }));

    it('repeats history from any revision that is not compacted', () =>
      on(async (backend) => {
        const first = await write(backend, '/a/1', 'one');
        await write(backend, '/b/1', 'other');
        await write(backend, '/a/1', 'two');
        await backend.transact('/a/1', () => ({ type: 'delete' }));
        const events = await backend.history(first, '/a/');
        assert.deepEqual(
          events.map(({ type, previous }) => [type, previous && read(previous.value).value]),
          [
            ['put', 'one'],
            ['delete', 'two'],
          ],
        );
        await assert.rejects(backend.history(backend.revision + 10), FutureRevisionError);
      }));

    it('forgets history but no current value when compacted', () =>
      on(async (backend) => {
        await write(backend, '/a/1', 'one');
        const middle = await write(backend, '/a/1', 'two');
        await write(backend, '/a/2', 'two');
        await backend.transact('/a/2', () => ({ type: 'delete' }));
        const kept = await write(backend, '/a/1', 'three');
        await backend.compact(backend.revision - 1);
        await assert.rejects(backend.history(middle), CompactedError);
        await assert.rejects(backend.range('/a/', { revision: middle }), CompactedError);
        const [event] = await backend.history(kept - 1);
        assert.equal(event?.previous && read(event.previous.value).value, 'two');
        assert.deepEqual(
          (await backend.range('/a/')).entries.map(({ value }) => read(value).value),
          ['three'],
        );
      }));

    it('has everything acknowledged after a restart, and goes on counting', () =>
      on(async (backend, test) => {
        await write(backend, '/a/1', 'one');
        await write(backend, '/a/2', 'two');
        await backend.transact('/a/2', () => ({ type: 'delete' }));
        const last = backend.revision;
        await backend.compact(last);
        const again = await test.reopen();
        assert.equal(again.revision, last);
        assert.deepEqual(
          (await again.range('')).entries.map(({ key, value }) => [key, read(value).value]),
          [['/a/1', 'one']],
        );
        assert.ok((await write(again, '/a/3', 'three')) > last);
      }));
  });
}
