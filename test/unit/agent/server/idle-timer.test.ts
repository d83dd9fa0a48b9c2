import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createIdleTimer } from '../../../../agent/server/websocket/idle-timer.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

it('expires once nothing has happened for so long, and not before', async () => {
  const clock = createFakeClock(0);
  let expired = 0;
  const timer = createIdleTimer(clock, 1000, () => {
    expired += 1;
  });
  for (let touched = 0; touched < 3; touched += 1) {
    await clock.advance(900);
    timer.touch();
  }
  assert.equal(expired, 0);
  await clock.advance(999);
  assert.equal(expired, 0);
  await clock.advance(1);
  assert.equal(expired, 1);
  await clock.advance(5000);
  assert.equal(expired, 1);
});

it('never expires when stopped or without a limit', async () => {
  const clock = createFakeClock(0);
  const fail = () => assert.fail('expired');
  createIdleTimer(clock, 1000, fail).stop();
  createIdleTimer(clock, 0, fail);
  await clock.advance(10_000);
});
