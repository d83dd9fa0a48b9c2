// A detector of gaps and duplicates: one writer makes numbered changes while watchers, cut again and again, and informers
// follow, the server is stopped and started again on its data, and history is forgotten.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import type { ConfigMap } from '#kube/api/generated/core-v1.ts';
import { configmaps } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { createClient } from '#kube/client/create-client.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isGone, isNotFound, StatusError } from '#kube/errors/status-error.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Informer } from '#kube/informer/types.ts';
import { type Clock, systemClock } from '#kube/process/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { type Change, checkSegments, type SeenState, type Segment, type Selects } from '../../support/watch-history.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

type Stored = ConfigMap & KubeObject;

interface Selection {
  labelSelector?: string;
  fieldSelector?: string;
  namespace?: string;
  selects: Selects;
}

interface Follower {
  who: string;
  selection: Selection;
  segments: Segment[];
  /** How many watches were begun, and how many of them were refused because history was gone. */
  watches: number;
  gone: number;
  /** Waits here before a watch, until it may go on. */
  gate: () => Promise<unknown>;
}

const namespace = 'default';
const isMade = (name: string) => name.startsWith('object-') || name === 'the-end';
const all: Selection = { selects: isMade };
const even: Selection = {
  labelSelector: 'parity=even',
  selects: (name, { labels }) => isMade(name) && labels['parity'] === 'even',
};
const bright: Selection = {
  labelSelector: 'colour in (red, yellow)',
  selects: (name, { labels }) => isMade(name) && ['red', 'yellow'].includes(labels['colour'] ?? ''),
};
const others: Selection = {
  namespace,
  fieldSelector: 'metadata.name!=object-3',
  selects: (name) => isMade(name) && name !== 'object-3',
};
const numberOf = (object: Stored) => object.data?.['number'] ?? '';
const revisionOf = (object: KubeObject) => Number(object.metadata.resourceVersion);
const stateOf = (object: Stored): SeenState => ({ labels: object.metadata.labels ?? {}, number: numberOf(object) });

/** Waits a tenth of the time before trying again. */
const hasty: Clock = { ...systemClock, sleep: (delayMs, signal) => systemClock.sleep(delayMs / 10, signal) };

/** Numbers in [0, 1), the same ones every time. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Makes changes until told to end, through whatever happens to the server, and then a last one that all selections see. */
async function write(client: ApiClient, history: Change[], random: () => number, signal: AbortSignal): Promise<void> {
  const current = new Map<string, Stored>();
  const colours = ['red', 'yellow', 'blue', 'grey'];
  const change = async (name: string, number: string, labels: Record<string, string>, isEnd: boolean) => {
    const held = current.get(name);
    const isDeletion = !isEnd && held !== undefined && random() < 0.2;
    const object = { metadata: { name, labels }, data: { number } };
    for (let attempt = 0; attempt < 20; attempt += 1) {
      let now: Stored | undefined;
      try {
        if (isDeletion) await client.delete(configmaps, { namespace, name });
        else if (held === undefined) now = await client.create(configmaps, namespace, object);
        else now = await client.update(configmaps, { ...held, ...object, metadata: { ...held.metadata, labels } });
      } catch {
        // The answer may be lost and the change made; one writer alone can tell.
        now = await eventually('an answer', async () => readBack(client, name)).then(({ found }) => found);
        const isMadeNow = isDeletion ? now === undefined : now !== undefined && numberOf(now) === number;
        if (!isMadeNow) continue;
      }
      history.push({
        name,
        revision: now === undefined ? undefined : revisionOf(now),
        before: held === undefined ? undefined : stateOf(held),
        after: now === undefined ? undefined : stateOf(now),
      });
      if (now === undefined) current.delete(name);
      else current.set(name, now);
      return;
    }
    throw new Error(`cannot make change ${number} of ${name}`);
  };
  for (let number = 0; !signal.aborted; number += 1) {
    const colour = colours[Math.floor(random() * colours.length)] ?? 'red';
    const parity = random() < 0.5 ? 'even' : 'odd';
    await change(`object-${Math.floor(random() * 8)}`, String(number), { parity, colour }, false);
  }
  await change('the-end', 'last', { parity: 'even', colour: 'red' }, true);
}

async function readBack(client: ApiClient, name: string): Promise<{ found: Stored | undefined }> {
  try {
    return { found: await client.get(configmaps, { namespace, name }, { timeoutMs: 5000 }) };
  } catch (error) {
    if (isNotFound(error)) return { found: undefined };
    throw error;
  }
}

/** One request of a follower: events go into the last segment. Returns when the watch is over, by whomever. */
async function watchOnce(
  client: ApiClient,
  follower: Follower,
  from: string | undefined,
  random: () => number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { selects: _, ...scope } = follower.selection;
  const cut = new AbortController();
  let left = 1 + Math.floor(random() * 25);
  const timer = setTimeout(() => cut.abort(), 100 + random() * 300);
  let at = from;
  /** What a streamed list has brought so far. */
  const listed = new Map<string, string>();
  follower.watches += 1;
  try {
    const events = client.watch(configmaps, {
      ...scope,
      signal: AbortSignal.any([signal, cut.signal]),
      allowWatchBookmarks: true,
      ...(from === undefined
        ? { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' as const }
        : { resourceVersion: from }),
    });
    for await (const event of events) {
      if (event.type === 'ERROR') throw new StatusError(event.object);
      const { metadata } = event.object;
      const { name, resourceVersion = '' } = metadata;
      if (event.type === 'BOOKMARK') {
        const isEndOfList = metadata.annotations?.['k8s.io/initial-events-end'] === 'true';
        if (at === undefined) {
          assert.ok(isEndOfList, `${follower.who}: a bookmark before the end of the list`);
          follower.segments.push({ revision: Number(resourceVersion), listed: new Map(listed), events: [] });
        }
        at = resourceVersion;
      } else if (!isMade(name)) {
        if (at !== undefined) at = resourceVersion;
      } else if (at === undefined) {
        assert.equal(event.type, 'ADDED');
        assert.ok(!listed.has(name), `${follower.who}: ${name} twice in a list`);
        listed.set(name, numberOf(event.object));
      } else {
        const number = numberOf(event.object);
        follower.segments.at(-1)?.events.push({ type: event.type, name, revision: Number(resourceVersion), number });
        at = resourceVersion;
        left -= 1;
        if (left === 0) cut.abort();
      }
      // What has arrived after the cut is lost with the connection.
      if (cut.signal.aborted) break;
    }
  } catch (error) {
    if (isGone(error)) {
      follower.gone += 1;
      return undefined;
    }
    if (error instanceof assert.AssertionError) throw error;
    // Cut, or the server is away for a moment.
    if (!cut.signal.aborted && !signal.aborted) await sleep(20);
  } finally {
    clearTimeout(timer);
    cut.abort();
  }
  return at;
}

const hasSeenEnd = ({ segments }: Follower) => {
  const last = segments.at(-1);
  return last !== undefined && (last.listed.has('the-end') || last.events.some(({ name }) => name === 'the-end'));
};

/** Lists and watches, as a client without a library would, until the end has been seen. */
async function follow(
  client: ApiClient,
  follower: Follower,
  how: 'list' | 'stream',
  random: () => number,
  signal: AbortSignal,
): Promise<void> {
  const { selects: _, ...scope } = follower.selection;
  let at: string | undefined;
  while (!signal.aborted && !hasSeenEnd(follower)) {
    if (at === undefined && how === 'list') {
      try {
        const { items, metadata } = await client.list(configmaps, { ...scope, signal });
        const listed = new Map(
          items.filter(({ metadata: { name } }) => isMade(name)).map((each) => [each.metadata.name, numberOf(each)]),
        );
        at = metadata.resourceVersion;
        follower.segments.push({ revision: Number(at), listed, events: [] });
      } catch {
        await sleep(20);
      }
      continue;
    }
    await follower.gate();
    at = await watchOnce(client, follower, at, random, signal);
  }
}

/** What an informer tells its subscribers, checked as it comes: nothing is added twice or changed before it is there. */
function mirrorOf(informer: Informer<Stored>): Map<string, string> {
  const mirror = new Map<string, string>();
  const faults: string[] = [];
  informer.subscribe({
    added: (object) => {
      if (mirror.has(object.metadata.name)) faults.push(`added twice: ${object.metadata.name}`);
      mirror.set(object.metadata.name, object.metadata.resourceVersion ?? '');
    },
    updated: (previous, object) => {
      if (mirror.get(previous.metadata.name) !== previous.metadata.resourceVersion)
        faults.push(`updated from another state: ${previous.metadata.name}`);
      mirror.set(object.metadata.name, object.metadata.resourceVersion ?? '');
    },
    deleted: (object) => {
      if (!mirror.delete(object.metadata.name)) faults.push(`deleted twice: ${object.metadata.name}`);
      if (faults.length > 0) mirror.set('faults', faults.join(', '));
    },
  });
  return mirror;
}

describe('watches across restarts and compactions', () => {
  let server: TestServer;
  let client: ApiClient;
  before(async () => {
    server = await startApiServer();
    const { certPem, keyPem } = server.pki.admin;
    client = createClient({
      servers: [`https://127.0.0.1:${server.port}`],
      caPem: server.pki.ca.certPem,
      credentials: { current: async () => ({ certificate: { certPem, keyPem } }) },
    });
  });
  after(async () => {
    await client?.close();
    await server?.close();
  });

  it('show each change once and in order, or say that history is gone', { timeout: 120_000 }, async () => {
    const stop = new AbortController();
    const over = AbortSignal.any([stop.signal, AbortSignal.timeout(100_000)]);
    const stopWriting = new AbortController();
    const history: Change[] = [];
    const compacted = Promise.withResolvers<void>();
    let isNight = false;
    let asleep = 0;
    const sleepThrough = async () => {
      if (!isNight) return;
      asleep += 1;
      await compacted.promise;
    };
    const kinds: [string, Selection, 'list' | 'stream', (() => Promise<unknown>)?][] = [
      ['a plain watcher', all, 'list'],
      ['a watcher of labels', even, 'list'],
      ['a watcher of sets of labels', bright, 'list'],
      ['a watcher of fields', others, 'list'],
      ['a streaming watcher', all, 'stream'],
      ['a streaming watcher of labels', even, 'stream'],
      ['a watcher that sleeps', all, 'list', sleepThrough],
      ['a streaming watcher that sleeps', bright, 'stream', sleepThrough],
    ];
    const followers = kinds.map(([who, selection, how, gate = async () => undefined], index) => {
      const follower: Follower = { who, selection, segments: [], watches: 0, gone: 0, gate };
      return { follower, done: follow(client, follower, how, createRandom(index + 1), over) };
    });
    const following = Promise.all(followers.map(({ done }) => done));
    const informers = [all, even].map(({ labelSelector }, index) => {
      const streaming = index === 0;
      const logger = pino({ level: 'silent' });
      return createInformer({
        client,
        resource: configmaps,
        namespace,
        labelSelector,
        clock: hasty,
        logger,
        streaming,
      });
    });
    const mirrors = informers.map(mirrorOf);
    const informing = Promise.all(informers.map((informer) => informer.run(over)));
    const writing = write(client, history, createRandom(99), AbortSignal.any([stopWriting.signal, over]));
    const written = async (count: number) => {
      const goal = history.length + count;
      await eventually(`${goal} changes`, async () => history.length >= goal, 60_000, 5);
    };
    try {
      await written(60);
      await server.restart();
      await written(50);
      const begun = async () => followers.every(({ follower }) => follower.segments.length > 0);
      await eventually('every follower to have a list', begun);
      isNight = true;
      await eventually('two followers to sleep', async () => asleep === 2);
      await written(60);
      await server.compact();
      await written(10);
      isNight = false;
      compacted.resolve();
      await written(50);
      await server.restart();
      await server.compact();
      await written(50);
      stopWriting.abort();
      await writing;
      await following;
      for (const { follower } of followers) {
        const { who, selection, segments, watches, gone } = follower;
        checkSegments(who, history, selection.selects, segments);
        assert.equal(segments.length, gone + 1, `${who} listed again without being told to`);
        assert.ok(watches > 2, `${who} was hardly ever cut`);
      }
      const sleepers = followers.filter(({ follower }) => follower.who.endsWith('sleeps'));
      for (const { follower } of sleepers)
        assert.ok(follower.gone > 0, `${follower.who} was not told that history is gone`);
      assert.ok(
        history.some(({ after: state }) => state === undefined),
        'nothing was deleted',
      );

      for (const [index, informer] of informers.entries()) {
        const { labelSelector } = [all, even][index] ?? {};
        const stored = async () =>
          (await client.list(configmaps, { namespace, labelSelector })).items
            .map(
              ({ metadata, data }) =>
                `${metadata.name} ${metadata.uid} ${metadata.resourceVersion} ${data?.['number']}`,
            )
            .sort();
        const copy = () =>
          informer
            .list()
            .map(
              ({ metadata, data }) =>
                `${metadata.name} ${metadata.uid} ${metadata.resourceVersion} ${data?.['number']}`,
            )
            .sort();
        const expected = await stored();
        await eventually('the informer to catch up', async () => copy().some((line) => line.startsWith('the-end ')));
        assert.deepEqual(copy(), expected);
        const told = [...(mirrors[index] ?? [])].sort();
        const held = informer.list().map(({ metadata }) => [metadata.name, metadata.resourceVersion]);
        assert.deepEqual(told, held.sort());
      }
    } finally {
      stop.abort();
      compacted.resolve();
      await Promise.allSettled([writing, following, informing]);
    }
  });
});
