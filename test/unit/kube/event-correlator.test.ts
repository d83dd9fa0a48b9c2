import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventCorrelator, type EventFacts } from '#kube/events/correlator.ts';

const object = { kind: 'Pod', namespace: 'n', name: 'p', uid: 'u' };

function facts(message: string, of = object): EventFacts {
  return { object: of, type: 'Warning', reason: 'BackOff', message };
}

function stored(name: string, count: number) {
  return { metadata: { name }, involvedObject: object, count, firstTimestamp: '2026-01-01T00:00:00Z' };
}

test('counts on the earlier event when the same is said again', () => {
  const correlator = createEventCorrelator();
  const first = correlator.correlate(facts('x'), 0);
  assert.equal(first?.earlier, undefined);
  correlator.sent(first?.key ?? '', { apiVersion: 'v1', kind: 'Event', ...stored('p.1', 1) });
  const second = correlator.correlate(facts('x'), 1000);
  assert.equal(second?.count, 2);
  assert.equal(second?.earlier?.name, 'p.1');
});

test('makes a new event when the earlier one is gone', () => {
  const correlator = createEventCorrelator();
  const first = correlator.correlate(facts('x'), 0);
  correlator.sent(first?.key ?? '', { apiVersion: 'v1', kind: 'Event', ...stored('p.1', 1) });
  correlator.lost(first?.key ?? '');
  assert.equal(correlator.correlate(facts('x'), 1)?.earlier, undefined);
});

test('combines similar events from the tenth on', () => {
  const correlator = createEventCorrelator();
  const messages = Array.from({ length: 11 }, (_, index) => correlator.correlate(facts(`m${index}`), index)?.message);
  assert.equal(messages[8], 'm8');
  assert.equal(messages[9], '(combined from similar events): m9');
  assert.equal(messages[10], '(combined from similar events): m10');
});

test('does not combine events that are ten minutes apart', () => {
  const correlator = createEventCorrelator();
  for (let index = 0; index < 9; index += 1) correlator.correlate(facts(`m${index}`), 0);
  assert.equal(correlator.correlate(facts('later'), 600_001)?.message, 'later');
});

test('drops what one object says after 25 at once, and lets one through every five minutes', () => {
  const correlator = createEventCorrelator();
  const passed = Array.from({ length: 30 }, () => correlator.correlate(facts('x'), 0)).filter((entry) => entry);
  assert.equal(passed.length, 25);
  assert.notEqual(correlator.correlate(facts('x', { ...object, name: 'q', uid: 'v' }), 0), undefined);
  assert.equal(correlator.correlate(facts('x'), 299_000), undefined);
  assert.notEqual(correlator.correlate(facts('x'), 301_000), undefined);
});
