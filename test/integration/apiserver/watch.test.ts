// Watches: order, resuming, selection, bookmarks, initial lists, expiry.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startApiServer, type TestServer } from './start-api-server.ts';

interface WatchLine {
  type: string;
  object: {
    kind: string;
    code?: number;
    metadata: { name: string; resourceVersion: string; annotations?: Record<string, string>; labels?: object };
    data?: Record<string, string>;
    columnDefinitions?: unknown[];
    rows?: { cells: unknown[] }[];
  };
}

const maps = '/api/v1/namespaces/default/configmaps';
const parse = (line: string): WatchLine => JSON.parse(line) as WatchLine;
const short = ({ type, object }: WatchLine) => `${type} ${object.metadata.name}`;

describe('watches', () => {
  let server: TestServer;
  const create = async (name: string, labels: Record<string, string> = {}) =>
    (await server.call<WatchLine['object']>('POST', maps, { body: { metadata: { name, labels } } })).body;
  const patch = (name: string, change: object) =>
    server.call('PATCH', `${maps}/${name}`, { body: change, contentType: 'application/merge-patch+json' });

  before(async () => {
    server = await startApiServer();
  });
  after(() => server.close());

  it('repeats what happened since a revision, in order, and goes on', async () => {
    const first = await create('first');
    await patch('first', { data: { a: '1' } });
    await server.call('DELETE', `${maps}/first`);
    const path = `${maps}?watch=1&resourceVersion=${first.metadata.resourceVersion}`;
    const stream = server.stream(path, (line) => line.includes('"last"'));
    await create('last');
    assert.deepEqual((await stream).map(parse).map(short), ['MODIFIED first', 'DELETED first', 'ADDED last']);
  });

  it('turns changes into and out of a selection into additions and deletions', async () => {
    const start = await create('marker');
    const path = `${maps}?watch=1&labelSelector=in%3Dyes&resourceVersion=${start.metadata.resourceVersion}`;
    const stream = server.stream(path, (line) => line.includes('"end"'));
    await create('moving');
    await patch('moving', { metadata: { labels: { in: 'yes' } } });
    await patch('moving', { data: { a: '1' } });
    const left = await patch('moving', { data: { a: '2' }, metadata: { labels: { in: 'no' } } });
    await create('end', { in: 'yes' });
    const lines = (await stream).map(parse);
    // What left is shown as it was when it belonged to the selection, at the revision at which it left.
    const gone = lines[2]?.object;
    assert.deepEqual([gone?.data, gone?.metadata.labels], [{ a: '1' }, { in: 'yes' }]);
    const { metadata } = left.body as WatchLine['object'];
    assert.equal(gone?.metadata.resourceVersion, metadata.resourceVersion);
    assert.deepEqual(lines.map(short), ['ADDED moving', 'MODIFIED moving', 'DELETED moving', 'ADDED end']);
  });

  it('watches one object by its path', async () => {
    const start = await create('single');
    const path = `${maps}/single?watch=1&resourceVersion=${start.metadata.resourceVersion}`;
    const stream = server.stream(path, (line) => line.includes('"done"'));
    await create('another');
    await patch('single', { data: { a: 'done' } });
    assert.deepEqual((await stream).map(parse).map(short), ['MODIFIED single']);
  });

  it('streams the initial list and ends it with a bookmark', async () => {
    const query = 'watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
    const lines = (await server.stream(`${maps}?${query}`, (line) => line.includes('BOOKMARK'))).map(parse);
    assert.ok(lines.slice(0, -1).every(({ type }) => type === 'ADDED'));
    assert.equal(lines.at(-1)?.object.metadata.annotations?.['k8s.io/initial-events-end'], 'true');
  });

  it('shows rows of a table, with columns in the first event only', async () => {
    const headers = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' };
    const lines = (await server.stream(`${maps}?watch=1`, (line) => line.includes('"end"'), { headers })).map(parse);
    assert.equal(lines[0]?.object.kind, 'Table');
    assert.ok((lines[0]?.object.columnDefinitions ?? []).length > 0);
    assert.equal(lines[1]?.object.columnDefinitions?.length, 0);
  });

  it('ends after the time that the client asked for', async () => {
    const lines = await server.stream(`${maps}?watch=1&timeoutSeconds=1&labelSelector=none%3Dsuch`, () => false);
    assert.deepEqual(lines, []);
  });

  it('refuses a revision that has not happened yet', async () => {
    const path = `${maps}?watch=1&resourceVersion=999999999`;
    const answer = await server.call<{ reason: string; message: string }>('GET', path);
    assert.equal(answer.status, 504);
    assert.match(answer.body.message, /^Timeout: Too large resource version: 999999999, current: \d+$/);
    assert.equal(answer.body.reason, 'Timeout');
  });

  it('cuts off a reader that is far behind with an error, and lets it go on from there', {
    timeout: 60_000,
  }, async () => {
    const start = await create('flood');
    const since = (revision: string) =>
      `${maps}?watch=1&resourceVersion=${revision}&fieldSelector=metadata.name%3Dflood`;
    const stuck = await server.open('GET', since(start.metadata.resourceVersion));
    let latest = '';
    for (let round = 0; round < 60; round += 1) {
      const { body } = await patch('flood', { data: { round: `${round}`, pad: `${round}`.padEnd(600_000, 'x') } });
      latest = (body as unknown as WatchLine['object']).metadata.resourceVersion;
    }
    const text = Buffer.concat((await stuck.toArray()) as Buffer[]).toString();
    const lines = text.trimEnd().split('\n').map(parse);
    const error = lines.pop();
    assert.deepEqual([error?.type, error?.object.code], ['ERROR', 429]);
    const rounds = (events: WatchLine[]) => events.map(({ object }) => Number(object.data?.['round']));
    assert.deepEqual(
      rounds(lines),
      Array.from({ length: lines.length }, (_, index) => index),
    );
    const read = lines.at(-1)?.object.metadata.resourceVersion ?? '';
    assert.ok(lines.length > 0 && lines.length < 60, `${lines.length} events were read`);
    const rest = await server.stream(since(read), (line) => line.includes(`"resourceVersion":"${latest}"`));
    assert.deepEqual(
      rounds(rest.map(parse)),
      Array.from({ length: 60 - lines.length }, (_, index) => lines.length + index),
    );
  });

  it('gives many watchers of one selection the same events', async () => {
    const start = await create('crowd');
    const path = `${maps}?watch=1&resourceVersion=${start.metadata.resourceVersion}`;
    const streams = Array.from({ length: 8 }, () => server.stream(path, (line) => line.includes('"crowd-19"')));
    for (let index = 0; index < 20; index += 1) await create(`crowd-${index}`);
    const seen = await Promise.all(streams);
    for (const lines of seen) assert.deepEqual(lines, seen[0]);
    assert.equal(seen[0]?.length, 20);
  });
});
