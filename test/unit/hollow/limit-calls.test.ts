// Calls take turns.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createTurns } from '../../../cli/hollow/limit-calls.ts';

it('runs so many at most, in order, also after failures', async () => {
  const inTurn = createTurns(2);
  const started: number[] = [];
  const ends: PromiseWithResolvers<void>[] = [];
  const results = Array.from({ length: 5 }, (_, index) =>
    inTurn(async () => {
      started.push(index);
      const end = Promise.withResolvers<void>();
      ends.push(end);
      await end.promise;
      return index;
    }),
  );
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  await settle();
  assert.deepEqual(started, [0, 1]);
  ends[1]?.reject(new Error('failed'));
  await assert.rejects(results[1] ?? Promise.resolve(), /failed/);
  await settle();
  assert.deepEqual(started, [0, 1, 2]);
  for (let round = 0; round < 5; round += 1) {
    for (const end of ends) end.resolve();
    await settle();
  }
  assert.deepEqual(started, [0, 1, 2, 3, 4]);
  assert.equal(await results[4], 4);
  assert.equal(await inTurn(async () => 'later'), 'later');
});
