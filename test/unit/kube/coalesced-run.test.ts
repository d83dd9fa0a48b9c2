import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createCoalescedRun } from '#kube/queue/coalesced-run.ts';

/** Work that ends when told to. */
function createWork() {
  const begun: PromiseWithResolvers<void>[] = [];
  const failures: unknown[] = [];
  const run = createCoalescedRun(
    () => {
      const one = Promise.withResolvers<void>();
      begun.push(one);
      return one.promise;
    },
    (error) => failures.push(error),
  );
  return { run, begun, failures };
}

describe('a coalesced run', () => {
  it('is one for all that is asked for in a turn', async () => {
    const { run, begun } = createWork();
    for (let ask = 0; ask < 5; ask += 1) run.soon();
    assert.equal(begun.length, 0);
    await turn();
    assert.equal(begun.length, 1);
  });

  it('is made once more for all that is asked for while it runs, never two at a time', async () => {
    const { run, begun } = createWork();
    const ended = run.now();
    for (let ask = 0; ask < 3; ask += 1) run.soon();
    void run.now();
    await turn();
    assert.equal(begun.length, 1);
    begun[0]?.resolve();
    await turn();
    assert.equal(begun.length, 2);
    begun[1]?.resolve();
    await ended;
    assert.equal(begun.length, 2);
  });

  it('goes on after a failure, and not after its end', async () => {
    const { run, begun, failures } = createWork();
    const first = run.now();
    begun[0]?.reject(new Error('no'));
    await first;
    assert.match(String(failures[0]), /no/);
    const second = run.now();
    run.soon();
    run.stop();
    begun[1]?.resolve();
    await second;
    await turn();
    assert.equal(begun.length, 2);
  });
});
