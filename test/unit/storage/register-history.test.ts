import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findViolation, type Operation } from '../../support/register-history.ts';

const at = (
  kind: Operation['kind'],
  value: string,
  revision: number,
  startedMs: number,
  endedMs: number,
): Operation => ({ kind, value, revision, startedMs, endedMs });

describe('findViolation', () => {
  const cases: [string, Operation[], RegExp | undefined][] = [
    ['one after the other', [at('write', 'a', 1, 0, 1), at('read', 'a', 1, 2, 3)], undefined],
    ['a read beside a write sees either', [at('write', 'b', 2, 0, 9), at('read', 'a', 1, 1, 2)], undefined],
    ['a stale read', [at('write', 'a', 1, 0, 1), at('write', 'b', 2, 2, 3), at('read', 'a', 1, 4, 5)], /began after/],
    ['a read that goes back', [at('read', 'b', 2, 0, 1), at('read', 'a', 1, 2, 3)], /began after a read/],
    ['a write below one that had ended', [at('write', 'b', 2, 0, 1), at('write', 'a', 1, 2, 3)], /began after a write/],
    ['a revision given twice', [at('write', 'a', 1, 0, 1), at('write', 'b', 1, 0, 1)], /two writes/],
    ['another value than was written', [at('write', 'a', 1, 0, 1), at('read', 'b', 1, 2, 3)], /read as b/],
  ];
  for (const [name, history, wanted] of cases) {
    it(name, () => {
      if (wanted === undefined) assert.equal(findViolation(history), undefined);
      else assert.match(findViolation(history) ?? '', wanted);
    });
  }
});
