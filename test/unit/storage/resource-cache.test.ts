// The watch cache: lists now and at a revision, watches that resume, selections.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type Backend,
  CompactedError,
  type StoredEntry,
  type StoreEvent,
} from '../../../control-plane-lite/storage/backend.ts';
import { ResourceCache, type WatchNotice } from '../../../control-plane-lite/storage/cache/resource-cache.ts';
import { SortedKeys } from '../../../control-plane-lite/storage/cache/sorted-keys.ts';
import { serialiseAround, withRevision } from '../../../control-plane-lite/storage/object-bytes.ts';

const entry = (name: string, revision: number, label = ''): StoredEntry => ({
  key: `/registry/things/a/${name}`,
  revision,
  value: Buffer.from(JSON.stringify({ metadata: { name, labels: { label } } })),
});

const put = (now: StoredEntry, previous?: StoredEntry): StoreEvent => ({
  type: 'put',
  revision: now.revision,
  entry: now,
  previous,
});

function createCache(): ResourceCache {
  const backend = {
    compactedRevision: 0,
    history: async (after: number) => {
      throw new CompactedError(after, 5);
    },
  } as unknown as Backend;
  const read = (object: Record<string, unknown>) => ({
    labels: (object['metadata'] as { labels: Record<string, string> }).labels,
    fields: {},
  });
  const cache = new ResourceCache('/registry/things/', read, backend);
  cache.load(entry('old', 3));
  cache.start(10);
  return cache;
}

const names = (entries: readonly StoredEntry[]) => entries.map(({ key }) => key.split('/').at(-1));
const labelled = (label: string) => (attributes: { labels: Readonly<Record<string, string>> | undefined }) =>
  attributes.labels?.['label'] === label;

describe('the cache of a resource', () => {
  it('lists in the order of keys, in pages, now and as it was', async () => {
    const cache = createCache();
    cache.apply([put(entry('b', 11)), put(entry('a', 12))], 12);
    const prefix = '/registry/things/';
    const page = await cache.list({ prefix, limit: 2 });
    assert.deepEqual([names(page.entries), page.more, page.remaining], [['a', 'b'], true, 1]);
    const past = await cache.list({ prefix, revision: 11 });
    assert.deepEqual(names(past.entries), ['b', 'old']);
  });

  it('tells those who resume what they missed, then what comes', async () => {
    const cache = createCache();
    const first = entry('x', 11, 'yes');
    cache.apply([put(first)], 11);
    const seen: WatchNotice[] = [];
    const selection = { prefix: '/registry/things/', match: labelled('yes') };
    await cache.resume(selection, 10, (missed) => {
      seen.push(...missed);
      cache.follow(selection, (notices) => seen.push(...notices));
    });
    const second = entry('x', 12, 'no');
    cache.apply([put(second, first)], 12);
    cache.apply([put(entry('x', 13, 'yes'), second)], 13);
    assert.deepEqual(
      seen.map(({ type }) => type),
      ['ADDED', 'DELETED', 'ADDED'],
    );
  });

  it('refuses to resume from what is forgotten', async () => {
    await assert.rejects(
      createCache().resume({ prefix: '/registry/things/', match: undefined }, 2, () => undefined),
      CompactedError,
    );
  });
});

describe('sorted keys', () => {
  it('stay sorted whatever the order of changes, and walk from any place', () => {
    const keys = new SortedKeys();
    for (const key of ['/b/2', '/a/1', '/c/1', '/b/1', '/b/2']) keys.add(key);
    keys.remove('/c/1');
    keys.remove('/x');
    assert.deepEqual([...keys.range('/')], ['/a/1', '/b/1', '/b/2']);
    assert.deepEqual([...keys.range('/b/')], ['/b/1', '/b/2']);
    assert.deepEqual([...keys.range('/b/', '/b/1')], ['/b/2']);
  });
});

describe('the bytes of an object', () => {
  it('take a revision in without being parsed, whatever the object contains', () => {
    const object = {
      kind: 'Thing',
      apiVersion: 'v1',
      metadata: { name: 'x', annotations: { a: '"resourceVersion":"7"' } },
    };
    const { head, tail } = serialiseAround(object);
    const bytes = Buffer.from(`${head}12${tail}`);
    assert.deepEqual(JSON.parse(bytes.toString()), {
      ...object,
      metadata: { resourceVersion: '12', ...object.metadata },
    });
    assert.equal(JSON.parse(withRevision(bytes, 345).toString()).metadata.resourceVersion, '345');
  });
});
