import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createLimiter } from '../../../agent/cri/limit-calls.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

describe('createLimiter', () => {
  it('runs no more than the limit at once, in order, those that go first before the others', async () => {
    const bounded = createLimiter(2);
    const began: string[] = [];
    const gates = new Map<string, PromiseWithResolvers<void>>();
    const call = (name: string, first?: boolean) =>
      bounded(async () => {
        began.push(name);
        const gate = Promise.withResolvers<void>();
        gates.set(name, gate);
        await gate.promise;
      }, first);
    const end = async (name: string) => {
      gates.get(name)?.resolve();
      await new Promise(setImmediate);
    };
    const calls = [call('a'), call('b'), call('c'), call('d'), call('e', true)];
    assert.deepEqual(began, ['a', 'b']);
    await end('a');
    assert.deepEqual(began, ['a', 'b', 'e']);
    await end('b');
    await end('e');
    assert.deepEqual(began, ['a', 'b', 'e', 'c', 'd']);
    await end('c');
    await end('d');
    await Promise.all(calls);
  });
});

describe('createLimiter with patience', () => {
  it('gives the place of a call that hangs to another, once', async () => {
    const clock = createFakeClock();
    const bounded = createLimiter(1, { clock, ms: 5000 });
    const began: string[] = [];
    const gate = Promise.withResolvers<void>();
    const hanging = bounded(async () => {
      began.push('hanging');
      await gate.promise;
    });
    const second = Promise.withResolvers<void>();
    const others = [
      bounded(async () => {
        began.push('second');
        await second.promise;
      }),
      bounded(async () => void began.push('third')),
    ];
    await clock.advance(4999);
    assert.deepEqual(began, ['hanging']);
    await clock.advance(1);
    assert.deepEqual(began, ['hanging', 'second']);
    gate.resolve();
    await hanging;
    assert.deepEqual(began, ['hanging', 'second']);
    second.resolve();
    await Promise.all(others);
    assert.deepEqual(began, ['hanging', 'second', 'third']);
  });
});
