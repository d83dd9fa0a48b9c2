import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { pods } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { failure } from '#kube/errors/status-error.ts';
import { createEventRecorder, referenceTo } from '#kube/events/event-recorder.ts';
import { fakeApiClient } from '../../support/fake-api-client.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { pod } from '../../support/objects.ts';

interface Sent {
  verb: 'create' | 'patch';
  name: string;
  body: Record<string, unknown>;
}

function recorderWith(fail: (sent: Sent[]) => Error | undefined = () => undefined) {
  const sent: Sent[] = [];
  const clock = createFakeClock();
  const answer = (entry: Sent) => {
    sent.push(entry);
    const error = fail(sent);
    if (error !== undefined) throw error;
    return { ...entry.body, metadata: { name: entry.name, resourceVersion: `${sent.length}` } };
  };
  const client = fakeApiClient({
    create: (async (_, __, object) =>
      answer({ verb: 'create', name: object.metadata.name ?? '', body: { ...object } })) as ApiClient['create'],
    patch: (async (_, key, __, patch) =>
      answer({ verb: 'patch', name: key.name, body: patch as Record<string, unknown> })) as ApiClient['patch'],
  });
  const logger = pino({ enabled: false });
  return { sent, clock, recorder: createEventRecorder({ client, component: 'kubelet', host: 'n1', clock, logger }) };
}

const target = pod('p');

test('writes an event with its source and both times', async () => {
  const { sent, recorder } = recorderWith();
  recorder.event(referenceTo(pods, target, 'spec.containers{app}'), 'Warning', 'BackOff', 'Back-off restarting');
  await recorder.flushed();
  const body = sent[0]?.body ?? {};
  assert.match(sent[0]?.name ?? '', /^p\.[0-9a-f]+$/);
  assert.deepEqual(
    [
      body['type'],
      body['reason'],
      body['message'],
      body['count'],
      body['source'],
      body['firstTimestamp'],
      body['reportingComponent'],
    ],
    [
      'Warning',
      'BackOff',
      'Back-off restarting',
      1,
      { component: 'kubelet', host: 'n1' },
      '2026-01-01T00:00:00Z',
      'kubelet',
    ],
  );
  assert.deepEqual(body['involvedObject'], {
    apiVersion: 'v1',
    kind: 'Pod',
    namespace: 'default',
    name: 'p',
    uid: target.metadata.uid,
    resourceVersion: '1',
    fieldPath: 'spec.containers{app}',
  });
});

test('says the same again by a count', async () => {
  const { sent, clock, recorder } = recorderWith();
  recorder.event(referenceTo(pods, target), 'Normal', 'Pulled', 'x');
  await recorder.flushed();
  await clock.advance(5_000);
  recorder.event(referenceTo(pods, target), 'Normal', 'Pulled', 'x');
  await recorder.flushed();
  assert.deepEqual(sent[1], {
    verb: 'patch',
    name: sent[0]?.name,
    body: { count: 2, lastTimestamp: '2026-01-01T00:00:05Z', message: 'x' },
  });
});

test('makes a new event when the earlier one has expired', async () => {
  const { sent, recorder } = recorderWith((all) =>
    all.at(-1)?.verb === 'patch' ? failure(404, 'NotFound', 'gone') : undefined,
  );
  recorder.event(referenceTo(pods, target), 'Normal', 'Pulled', 'x');
  recorder.event(referenceTo(pods, target), 'Normal', 'Pulled', 'x');
  await recorder.flushed();
  assert.deepEqual(
    sent.map(({ verb }) => verb),
    ['create', 'patch', 'create'],
  );
  assert.equal(sent[2]?.body['count'], 2);
});

test('drops what the server refuses, and waits for a server that cannot be reached', async () => {
  const refused = recorderWith(() => failure(403, 'Forbidden', 'no'));
  refused.recorder.event(referenceTo(pods, target), 'Normal', 'Pulled', 'x');
  await refused.recorder.flushed();
  assert.equal(refused.sent.length, 1);
  const down = recorderWith((all) => (all.length < 3 ? new Error('connect ECONNREFUSED') : undefined));
  down.recorder.event(referenceTo(pods, target), 'Normal', 'Pulled', 'x');
  await down.clock.advance(25_000);
  await down.recorder.flushed();
  assert.equal(down.sent.length, 3);
});

test('cuts messages at a kilobyte', async () => {
  const { sent, recorder } = recorderWith();
  recorder.event(referenceTo(pods, target), 'Normal', 'Pulled', 'y'.repeat(3000));
  await recorder.flushed();
  assert.equal(String(sent[0]?.body['message']).length, 1024);
});
